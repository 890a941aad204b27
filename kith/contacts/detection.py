"""Detects text that is written like a phone number, in cells whose column says nothing about it."""

import re

from kith.contacts import repairs
from kith.contacts.contact import WrittenNumber, written_numbers

MIN_DIGITS = repairs.MIN_DIGITS
MAX_DIGITS = 20
MAX_CELL_CHARACTERS = 400
MAX_NUMBER_CHARACTERS = 100
MAX_SUFFIX_CHARACTERS = 40

#: The least digits of a cell; this alone rules out most cells of a book.
_ENOUGH_DIGITS = re.compile(r"(?:\D*\d){7}")
_START = re.compile(r"[+(\d*#]|[^\W\d_]{1,12}[.:]*\s?\d?\s*:\s*[+(\d]|tel:", re.IGNORECASE)
_DECIMAL = re.compile(r"-?\d+\.\d*[1-9]\d*|-\d.*")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


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
        return MIN_DIGITS <= repairs.count_digits(repairs.uri_number(text)) <= MAX_DIGITS
    number, tail = repairs.first_number(text)
    return (
        MIN_DIGITS <= repairs.count_digits(number) <= MAX_DIGITS
        and len(tail) <= MAX_SUFFIX_CHARACTERS
        and not repairs.is_date(number)
        and _DECIMAL.fullmatch(number.strip()) is None
        and _ADDRESS.fullmatch(number.strip()) is None
    )
