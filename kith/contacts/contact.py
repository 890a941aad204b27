"""What the readers yield: contacts with their numbers as written, and faults with a line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kith.contacts.numbering_plans import is_valid, split
from kith.contacts.repairs import (
    MIN_DIGITS,
    body,
    digits_in,
    digits_of,
    is_date,
    is_uri,
    starts_abroad,
)

MIN_DIGITS_AFTER_SEMICOLON = 5
MAX_QUOTE_CHARACTERS = 80  # characters of a text in a fault

# Google joins the numbers of one label with " ::: ".
_BETWEEN_VALUES = re.compile(r":::|[\r\n]+")
_PERHAPS_BETWEEN = re.compile(r"[;,/|&]|\s[^\W\d_]{1,4}\.?\s")
#: Two runs of digits with something between them that does not stand inside a number.
_MAY_HOLD_SEVERAL = re.compile(r"[;,/|&:\r\n]|\d\s*[^\s\d().-][^\d]*\d|\d\s*\([^\d]+\d")
#: What is dialled behind a number and belongs to it, or is some other number.
_OF_THE_NUMBER = re.compile(
    r"\s*(?:[pwx,;*#](?!:)|ext\b|extension\b|dw\b|durchwahl\b|pin\b|code\b)", re.IGNORECASE
)
_EXTENSION = re.compile(r"\s(?:x|ext|dw|pin)\b", re.IGNORECASE)
_OF_OTHER_THINGS = re.compile(
    r"(?:nr|no|id|iban|bic|konto|account|kunden\w*|kd|customer|ref|seit|since|am|on|vom|plz|zip)\W*\Z",
    re.IGNORECASE,
)
_NEAR = 40  # characters beside a separator that are looked at


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """A number as the file writes it, and its line (from 1).

    column: name of the column that the file does not say to hold phone numbers, and that does by its
    look only; "" where the file says so. region: ISO 3166 country that the file names beside it.
    """

    text: str
    line: int
    column: str = ""
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """One card or row: its name ("" when it has none), its numbers, the line where it begins."""

    name: str
    numbers: tuple[WrittenNumber, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that could not be read: its line (from 1), why, and whose it is ("" if unknown)."""

    line: int
    reason: str
    name: str = ""


def written_numbers(
    text: str, line: int, column: str = "", *, dialled: bool = False
) -> list[WrittenNumber]:
    """Return the numbers that one value or cell holds, in order, without empty ones.

    dialled: as phones write it, where "," and ";" are pauses, and what follows one is dialled later.
    """
    if _MAY_HOLD_SEVERAL.search(text) is None:
        text = text.strip()
        return [WrittenNumber(text, line, column)] if text else []
    return [
        WrittenNumber(part, line, column)
        for value in _BETWEEN_VALUES.split(text)
        for part in (part.strip() for part in _parts(value, dialled))
        if part
    ]


def one_line(text: str) -> str:
    """Return `text` with every run of white space made one space."""
    return " ".join(text.split())


def quoted(text: str) -> str:
    """Return a text as a fault shows it."""
    return repr(text if len(text) <= MAX_QUOTE_CHARACTERS else text[:MAX_QUOTE_CHARACTERS] + "…")


def _parts(value: str, dialled: bool) -> Iterator[str]:
    start = 0
    if not is_uri(value.lstrip()):
        for found in _PERHAPS_BETWEEN.finditer(value):
            before = value[max(start, found.start() - _NEAR) : found.start()]
            after = value[found.end() : found.end() + _NEAR]
            if _divides(found[0], before, after, dialled):
                yield from _bodies(value[start : found.start()], dialled)
                start = found.end()
    yield from _bodies(value[start:], dialled)


def _bodies(part: str, dialled: bool) -> Iterator[str]:
    """Yield the numbers of a text that no separator divides, each with the words behind it.

    A second whole number behind words is one of its own: "415 555 0101 (home) 415 555 0102".
    """
    while not is_uri(part.lstrip()):
        number, tail = body(part)
        following, _ = body(tail)
        if min(digits_in(number), digits_in(following)) < MIN_DIGITS or is_date(following):
            break
        if starts_abroad(number.strip()) and _is_one(number, tail):
            break
        words = tail[: tail.index(following)]
        if _OF_THE_NUMBER.match(tail) or _OF_OTHER_THINGS.search(words) or (dialled and not words):
            break
        yield part[: len(part) - len(tail)]
        part = tail
    yield part


def _divides(mark: str, before: str, after: str, dialled: bool) -> bool:
    """Return whether two numbers stand beside a mark, and not one with something in or behind it."""
    if after.lstrip().startswith("+"):
        return len(mark) == 1 or digits_in(before) >= MIN_DIGITS
    following = body(after)[0]
    if is_date(following) or _EXTENSION.match(mark):
        return False
    behind = digits_in(following)
    if mark in "/|," and starts_abroad(before.strip()) and _is_one(before, after):
        return False
    if mark == ";" and not dialled:
        return behind >= MIN_DIGITS_AFTER_SEMICOLON
    if dialled and mark in ",;" and not after[:1].isspace():
        return False
    return behind >= MIN_DIGITS and digits_in(before) >= MIN_DIGITS


def _is_one(before: str, after: str) -> bool:
    """Return whether a number that names its country goes on behind a mark, as 0043664/1234567 does."""
    following = body(after)[0]
    if _exists(before + following):
        return True
    return not _exists(before) and after.lstrip()[:1] not in ("+", "0", "(")


def _exists(text: str) -> bool:
    digits = digits_of(text)
    parts = split(digits.removeprefix("00"))
    return parts is not None and (is_valid(*parts) or is_valid(parts[0], parts[1].lstrip("0")))
