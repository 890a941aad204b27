"""Own the reading of contact tables (CSV of Google, Outlook, Apple, or anyone): which numbers
belong to which name.

Refuse to guess more than needed: where a column is named after phones it is believed, elsewhere a
cell must look like a number.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from kith.contacts.found import Contact, Fault, WrittenNumber, one_line, written_numbers
from kith.contacts.headers import Columns, columns_of
from kith.contacts.lines import Line
from kith.contacts.rows import Row, read_rows

FEWEST_DIGITS = 7
MOST_DIGITS = 20
LONGEST_NUMBER = 100

_NUMBER = re.compile(
    r"(?:tel:|')?\s*\+?[\d\s()./*#\u2010-\u2015-]+(?:(?:;?\s*ext[.=]?|x)\s*\d+)?", re.IGNORECASE
)
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{2}|\d{4})")
_DECIMAL = re.compile(r"-?\d+\.\d+")


def read_table(lines: Iterable[Line]) -> Iterator[Contact | Fault]:
    """Yield a contact for each row, in order; the first row may be a header or not."""
    columns: Columns | None = None
    for row in read_rows(lines):
        if isinstance(row, Fault):
            yield row
            continue
        if columns is None:
            columns = Columns()
            if not any(looks_like_number(cell) for cell in row.cells):
                columns = columns_of(row.cells)
                continue
        yield _contact(row, columns)


def looks_like_number(cell: str) -> bool:
    """Return whether a cell of an unnamed column is written as phone numbers are, and not as a date
    or a decimal.
    """
    parts = written_numbers(cell, 0)
    return bool(parts) and all(_looks_like_one(part.text) for part in parts)


def _looks_like_one(text: str) -> bool:
    if len(text) > LONGEST_NUMBER:
        return False
    digits = sum(character.isdigit() for character in text)
    return (
        FEWEST_DIGITS <= digits <= MOST_DIGITS
        and _NUMBER.fullmatch(text) is not None
        and _DATE.fullmatch(text) is None
        and _DECIMAL.fullmatch(text) is None
    )


def _contact(row: Row, columns: Columns) -> Contact:
    cells = row.cells
    numbers = _from(columns.phones, row)
    if columns.perhaps:
        numbers += _from([i for i in columns.perhaps if _looks(cells, i)], row)
    elif not columns.phones:
        numbers = _from([i for i in range(len(cells)) if _looks(cells, i)], row)
    name = columns.name(cells) or _first_word(cells, columns)
    return Contact(name, tuple(numbers), row.line)


def _from(indexes: Sequence[int], row: Row) -> list[WrittenNumber]:
    return [
        number
        for index in indexes
        if index < len(row.cells)
        for number in written_numbers(row.cells[index], row.line)
    ]


def _looks(cells: Sequence[str], index: int) -> bool:
    return index < len(cells) and looks_like_number(cells[index])


def _first_word(cells: Sequence[str], columns: Columns) -> str:
    for index, cell in enumerate(cells):
        if index not in columns.phones and cell.strip() and not looks_like_number(cell):
            return one_line(cell)
    return ""
