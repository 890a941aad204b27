"""Own what the readers yield: contacts with their numbers as written, and faults with a place."""

import re
from dataclasses import dataclass

# Google joins the numbers of one label with " ::: "; hand-made lists use ";", a line break, or
# a comma before a plus.
_BETWEEN_NUMBERS = re.compile(
    r":::|[\r\n]+|;(?!\s*(?:ext|isub|phone-context)\s*=)|[,/|]\s*(?=\+)", re.IGNORECASE
)


@dataclass(frozen=True)
class WrittenNumber:
    """A number as the file writes it, and its line (from 1)."""

    text: str
    line: int


@dataclass(frozen=True)
class Contact:
    """One card or row: its name ("" when it has none), its numbers, the line where it begins."""

    name: str
    numbers: tuple[WrittenNumber, ...]
    line: int


@dataclass(frozen=True)
class Fault:
    """Something that could not be read: its line (from 1) and why."""

    line: int
    reason: str


def written_numbers(text: str, line: int) -> list[WrittenNumber]:
    """Return the numbers that one value or cell holds, in order, without empty ones."""
    return [
        WrittenNumber(part, line)
        for part in (part.strip() for part in _BETWEEN_NUMBERS.split(text))
        if part
    ]


def one_line(text: str) -> str:
    """Return `text` with every run of white space made one space."""
    return " ".join(text.split())
