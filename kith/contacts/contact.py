"""What the readers yield, contacts and faults, and the phone numbers in a text: their separation, and their
detection where no column says that there are any.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kith.contacts import repairs
from kith.contacts.numbering_plans import is_valid, split_calling_code

MIN_DIGITS_AFTER_SEMICOLON = 5
MAX_QUOTE_CHARACTERS = 80  # characters of a text in a fault

# Google joins the numbers of one label with " ::: ".
_VALUE_SEPARATOR = re.compile(r":::|[\r\n]+")
_SEPARATOR = re.compile(r"[;,/|&]|\s[^\W\d_]{1,4}\.?\s")
#: Two runs of digits with something between them that is not part of a number.
_MAY_BE_SEVERAL = re.compile(r"[;,/|&:\r\n]|\d\s*[^\s\d().-][^\d]*\d|\d\s*\([^\d]+\d")
#: Extensions and pauses, which belong to the number, and codes.
_BELONGS_TO_NUMBER = re.compile(
    r"\s*(?:[pwx,;*#](?!:)|ext\b|extension\b|dw\b|durchwahl\b|pin\b|code\b)", re.IGNORECASE
)
_EXTENSION = re.compile(r"\s(?:x|ext|dw|pin)\b", re.IGNORECASE)
_OTHER_NUMBER_LABEL = re.compile(
    r"(?:nr|no|id|iban|bic|konto|account|kunden\w*|kd|customer|ref|seit|since|am|on|vom|plz|zip)\W*\Z",
    re.IGNORECASE,
)
_NEAR = 40  # characters to look at on each side of a separator


MAX_DIGITS = 20
MAX_CELL_CHARACTERS = 400
MAX_NUMBER_CHARACTERS = 100
MAX_SUFFIX_CHARACTERS = 40

#: The least digits of a cell; this alone rules out most cells of a book.
_ENOUGH_DIGITS = re.compile(r"(?:\D*\d){7}")
_START = re.compile(r"[+(\d*#]|[^\W\d_]{1,12}[.:]*\s?\d?\s*:\s*[+(\d]|tel:", re.IGNORECASE)
_DECIMAL = re.compile(r"-?\d+\.\d*[1-9]\d*|-\d.*")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


@dataclass(frozen=True, slots=True)
class WrittenNumber:
    """A number as the file writes it, and its line (from 1).

    column: the name of a column that is not named after phones, where the number was detected;
    otherwise "". region: ISO 3166 country that the file gives beside it.
    """

    text: str
    line: int
    column: str = ""
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """A card or row: its name ("" without one), its numbers, and its first line."""

    name: str
    numbers: tuple[WrittenNumber, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that could not be read: its line (from 1), the reason, and its contact ("" if
    unknown).
    """

    line: int
    reason: str
    name: str = ""


def written_numbers(
    text: str, line: int, column: str = "", *, dialled: bool = False
) -> list[WrittenNumber]:
    """Return the numbers in one value or cell, in order.

    dialled: the text is as phones write it: "," and ";" are pauses, and what follows is dialled
    later.
    """
    if _MAY_BE_SEVERAL.search(text) is None:
        text = text.strip()
        return [WrittenNumber(text, line, column)] if text else []
    return [
        WrittenNumber(part, line, column)
        for value in _VALUE_SEPARATOR.split(text)
        for part in (part.strip() for part in _parts(value, dialled))
        if part
    ]


def one_line(text: str) -> str:
    """Return `text` with every run of white space as one space."""
    return " ".join(text.split())


def quoted(text: str) -> str:
    """Return a text as a fault quotes it."""
    return repr(text if len(text) <= MAX_QUOTE_CHARACTERS else text[:MAX_QUOTE_CHARACTERS] + "…")


def _parts(value: str, dialled: bool) -> Iterator[str]:
    start = 0
    if not repairs.is_uri(value.lstrip()):
        for found in _SEPARATOR.finditer(value):
            before = value[max(start, found.start() - _NEAR) : found.start()]
            after = value[found.end() : found.end() + _NEAR]
            if _separates(found[0], before, after, dialled):
                yield from _split_on_words(value[start : found.start()], dialled)
                start = found.end()
    yield from _split_on_words(value[start:], dialled)


def _split_on_words(part: str, dialled: bool) -> Iterator[str]:
    """Yield the numbers of a text without separators, each with the words after it.

    A second whole number after words is a number of its own: "415 555 0101 (home) 415 555 0102".
    """
    while not repairs.is_uri(part.lstrip()):
        number, tail = repairs.first_number(part)
        following, _ = repairs.first_number(tail)
        if min(
            repairs.count_digits(number), repairs.count_digits(following)
        ) < repairs.MIN_DIGITS or repairs.is_date(following):
            break
        if repairs.has_country_code(number.strip()) and _continues_number(number, tail):
            break
        words = tail[: tail.index(following)]
        if (
            _BELONGS_TO_NUMBER.match(tail)
            or _OTHER_NUMBER_LABEL.search(words)
            or (dialled and not words)
        ):
            break
        yield part[: len(part) - len(tail)]
        part = tail
    yield part


def _separates(mark: str, before: str, after: str, dialled: bool) -> bool:
    """Return whether a mark separates two numbers, and is not part of one."""
    if after.lstrip().startswith("+"):
        return len(mark) == 1 or repairs.count_digits(before) >= repairs.MIN_DIGITS
    following = repairs.first_number(after)[0]
    if repairs.is_date(following) or _EXTENSION.match(mark):
        return False
    suffix = repairs.count_digits(following)
    if (
        mark in "/|,"
        and repairs.has_country_code(before.strip())
        and _continues_number(before, after)
    ):
        return False
    if mark == ";" and not dialled:
        return suffix >= MIN_DIGITS_AFTER_SEMICOLON
    if dialled and mark in ",;" and not after[:1].isspace():
        return False
    return suffix >= repairs.MIN_DIGITS and repairs.count_digits(before) >= repairs.MIN_DIGITS


def _continues_number(before: str, after: str) -> bool:
    """Return whether a number with a country code continues after a mark, as 0043664/1234567 does."""
    following = repairs.first_number(after)[0]
    if _is_valid_number(before + following):
        return True
    return not _is_valid_number(before) and after.lstrip()[:1] not in ("+", "0", "(")


def _is_valid_number(text: str) -> bool:
    digits = repairs.extract_digits(text)
    parts = split_calling_code(digits.removeprefix("00"))
    return parts is not None and (is_valid(*parts) or is_valid(parts[0], parts[1].lstrip("0")))


def looks_like_number(cell: str) -> bool:
    """Return whether a cell of an unknown column looks like phone numbers, and not like a date, a
    decimal or an IP address; words and pauses may follow a number.
    """
    if len(cell) > MAX_CELL_CHARACTERS or _ENOUGH_DIGITS.match(cell) is None:
        return False
    parts = written_numbers(cell, 0)
    return bool(parts) and all(_looks_like_one(part.text) for part in parts)


def numbers_in_name(name: str, line: int) -> list[WrittenNumber]:
    """Return the numbers in a name: contacts without a name are saved under their number."""
    return written_numbers(name, line, "name") if looks_like_number(name) else []


def _looks_like_one(text: str) -> bool:
    text = repairs.normalize_text(text)
    if len(text) > MAX_NUMBER_CHARACTERS or _START.match(text) is None:
        return False
    if repairs.SHORTENED.fullmatch(text):
        return True
    if repairs.is_uri(text):
        return repairs.MIN_DIGITS <= repairs.count_digits(repairs.uri_number(text)) <= MAX_DIGITS
    number, tail = repairs.first_number(text)
    return (
        repairs.MIN_DIGITS <= repairs.count_digits(number) <= MAX_DIGITS
        and len(tail) <= MAX_SUFFIX_CHARACTERS
        and not repairs.is_date(number)
        and _DECIMAL.fullmatch(number.strip()) is None
        and _ADDRESS.fullmatch(number.strip()) is None
    )
