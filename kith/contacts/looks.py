"""Whether a cell is written as phone numbers are, where nothing says what is in it."""

import re

from kith.contacts import repairs
from kith.contacts.found import WrittenNumber, written_numbers

FEWEST_DIGITS = repairs.FEWEST_DIGITS
MOST_DIGITS = 20
LONGEST_CELL = 400
LONGEST_NUMBER = 100
LONGEST_TAIL = 40

#: So many digits a cell must hold; most cells of a book are told apart by this alone.
_ENOUGH_DIGITS = re.compile(r"(?:\D*\d){7}")
_START = re.compile(r"[+(\d*#]|[^\W\d_]{1,12}[.:]*\s?\d?\s*:\s*[+(\d]|tel:", re.IGNORECASE)
_DECIMAL = re.compile(r"-?\d+\.\d*[1-9]\d*|-\d.*")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


def looks_like_number(cell: str) -> bool:
    """Return whether a cell of an unnamed column holds phone numbers by its look, and not a date, a
    decimal or an address of the Internet; words and pauses may stand behind one.
    """
    if len(cell) > LONGEST_CELL or _ENOUGH_DIGITS.match(cell) is None:
        return False
    parts = written_numbers(cell, 0)
    return bool(parts) and all(_looks_like_one(part.text) for part in parts)


def numbers_in_name(name: str, line: int) -> list[WrittenNumber]:
    """Return the numbers that stand where a name should: who has no other is saved under one."""
    return written_numbers(name, line, "name") if looks_like_number(name) else []


def _looks_like_one(text: str) -> bool:
    text = repairs.tidy(text)
    if len(text) > LONGEST_NUMBER or _START.match(text) is None:
        return False
    if repairs.SHORTENED.fullmatch(text):
        return True
    if repairs.is_uri(text):
        return FEWEST_DIGITS <= repairs.digits_in(repairs.of_uri(text)) <= MOST_DIGITS
    number, tail = repairs.body(text)
    return (
        FEWEST_DIGITS <= repairs.digits_in(number) <= MOST_DIGITS
        and len(tail) <= LONGEST_TAIL
        and not repairs.is_date(number)
        and _DECIMAL.fullmatch(number.strip()) is None
        and _ADDRESS.fullmatch(number.strip()) is None
    )
