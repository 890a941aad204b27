"""Contact tables (CSV of Google, Outlook, Apple or others).

The first rows decide which row is the header, and what its names and the cells below say about a column.
Both count: a column that is named after phones is believed, and in every other column a cell that looks
like a number is one.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import mode

from kith.contacts.columns import Columns, parse_country, parse_header
from kith.contacts.contact import (
    MAX_CELL_CHARACTERS,
    Contact,
    Fault,
    WrittenNumber,
    looks_like_number,
    numbers_in_name,
    one_line,
    quoted,
    written_numbers,
)
from kith.contacts.csv_rows import Row, read_rows
from kith.contacts.lines import Line
from kith.contacts.repairs import count_digits, has_country_code, is_international

SAMPLE_ROWS = 50
MAX_SAMPLE_CHARACTERS = 1024 * 1024  # characters
MAX_HEADER_ROWS = 20
MAX_COLUMNS = 1000  # that are classified; a cell beyond is read by itself
MAX_HEADING_CHARACTERS = 80
MIN_NON_HEADING_DIGITS = 3  # "Phone 2" is a heading, "1-800-FLOWERS" is none
MIN_FLAG_CELLS = 3
MIN_VALUE_DIGITS = 4

MIN_NUMBER_DIGITS = 7
MIN_DIGITS_WITH_AREA = 9  # "12 10115 Berlin" is an address

_BEFORE_A_NUMBER = re.compile(r"\s*[:\u2013-]\s+(?=[+(\d])|\s+(?=[+(\d])")
_AREA = re.compile(r"\(?\d{1,6}\)?")
_NOT_DIGITS = re.compile(r"\D")


def read_table(lines: Iterable[Line]) -> Iterator[Contact | Fault]:
    """Yield a contact for each row, in order; there may be a header, and a title above it."""
    rows = read_rows(lines)
    sample, size = list[Row](), 0
    for row in rows:
        if isinstance(row, Fault):
            yield row
            continue
        sample.append(row)
        size += sum(map(len, row.cells))
        if len(sample) >= SAMPLE_ROWS or size > MAX_SAMPLE_CHARACTERS:
            break
    header, skipped = _header_of(sample)
    reader = _TableReader(parse_header(header.cells) if header else Columns(), sample[skipped:])
    for row in chain(sample[skipped:], rows):
        if isinstance(row, Fault):
            yield row
        else:
            yield from reader.read(row)


def _header_of(sample: Sequence[Row]) -> tuple[Row | None, int]:
    """Return the header row, None without one, and the number of rows up to it."""
    width = mode(len(row.cells) for row in sample) if sample else 0
    for place, row in enumerate(sample[:MAX_HEADER_ROWS]):
        if any(looks_like_number(cell) for cell in row.cells):
            break
        known = parse_header(row.cells).known if _may_be_header(row) else 0
        # A title has fewer cells than the rows below it.
        if known > 1 or (known and len(_filled(row)) >= width):
            return row, place + 1
    first = sample[0] if sample else None
    return (first, 1) if first and _is_unknown_header(first, sample[1:]) else (None, 0)


def _may_be_header(row: Row) -> bool:
    return len(row.cells) <= MAX_COLUMNS and all(
        len(cell) <= MAX_HEADING_CHARACTERS and count_digits(cell) < MIN_NON_HEADING_DIGITS
        for cell in row.cells
    )


def _is_unknown_header(first: Row, below: Sequence[Row]) -> bool:
    """Return whether a row without a known name is a header: above each column of numbers it has
    another text.
    """
    if len(first.cells) > MAX_COLUMNS or any(map(looks_like_number, first.cells)):
        return False
    if any(count_digits(cell) >= MIN_NUMBER_DIGITS for cell in first.cells):
        return False
    numbers = {
        index for row in below for index, cell in enumerate(row.cells) if looks_like_number(cell)
    }
    cells = [first.cells[index] if index < len(first.cells) else "" for index in numbers]
    return all(cell.strip() and count_digits(cell) < MIN_NON_HEADING_DIGITS for cell in cells)


def _filled(row: Row) -> list[str]:
    return [cell for cell in row.cells if cell.strip()]


@dataclass(frozen=True)
class _ColumnPlan:
    """How to read a column: `named` after phones, or under `title` in faults."""

    title: str
    named: bool = False
    trusted: bool = False
    international_only: bool = False


class _TableReader:
    """Reads rows with what the first rows say about the columns."""

    def __init__(self, columns: Columns, sample: Sequence[Row]) -> None:
        self._columns = columns
        width = max((len(row.cells) for row in sample), default=0)
        self._phoneless = set[int]()
        self._width = min(max(width, len(columns.names)), MAX_COLUMNS)
        self._helper_columns = {
            index
            for index in (*columns.countries, *columns.areas)
            if not _hold_numbers(sample, index)
        }
        self._names = {*columns.full_name, *columns.name_parts, *columns.organization}
        # Names come last: a number in a name is mostly in a phone column as well.
        places = sorted(
            set(range(self._width)) - self._helper_columns, key=lambda one: one in self._names
        )
        self._places = {index: self._place(index, sample) for index in places}
        # The country and area code columns of each phone column.
        self._beside = {
            index: (
                self._helper_column(columns.country_of(index)),
                self._helper_column(columns.area_of(index)),
            )
            for index in self._places
        }
        self._phones = {index for index, place in self._places.items() if place.named}

    def read(self, row: Row) -> Iterator[Contact | Fault]:
        """Yield the contact of a row, and before it a fault for each column that turns out to have
        no numbers.
        """
        cells = row.cells
        if self._phoneless:
            yield from self._report_odd_columns(row)
        numbers, unknown = list[WrittenNumber](), set[int]()
        for index, place in self._places.items():
            if index < len(cells) and (cell := cells[index]):
                found = _numbers(cell, row.line, place)
                if found and index in self._names:
                    known = {number.text for number in numbers}
                    found = [number for number in found if number.text not in known]
                country, area = self._beside[index]
                if found and place.named and area is not None and area < len(cells):
                    found = [_with_area(number, cells[area].strip()) for number in found]
                if found and country is not None and country < len(cells):
                    found = self._with_region(found, country, cells[country], unknown)
                numbers += found
        for index, cell in enumerate(cells[self._width :], start=self._width):
            if cell:
                numbers += _numbers(cell, row.line, _ColumnPlan(_title(index)))
        name = self._columns.name(cells) or self._first_word(cells)
        for country in sorted(unknown):
            cell, title = quoted(cells[country]), quoted(self._columns.names[country])
            reason = f"{cell} in {title} is no country that is known here"
            yield Fault(row.line, f"{reason}; the number beside it is not read", name)
        if not numbers and not unknown and (parts := _name_and_number(row)):
            name, number = parts
            numbers += written_numbers(number, row.line, _title(0))
        if not unknown:
            numbers = numbers or numbers_in_name(name, row.line)
        yield Contact(name, tuple(numbers), row.line)

    def _place(self, index: int, sample: Sequence[Row]) -> _ColumnPlan:
        columns = self._columns
        title = columns.names[index] if index < len(columns.names) else ""
        title = title or _title(index)
        cells = [row.cells[index] for row in sample if index < len(row.cells)]
        cells = [cell for cell in cells if cell.strip()]
        looking = sum(map(looks_like_number, cells))
        if index in columns.phones and not _are_flags(cells):
            return _ColumnPlan(title, named=True)
        if index in columns.about and looking and looking * 2 >= len(cells):
            return _ColumnPlan(title, named=True)
        if index in (*columns.phones, *columns.about):
            self._phoneless.add(index)
        return _ColumnPlan(
            title,
            trusted=looking >= 2 and looking * 2 >= len(cells),
            international_only=index in columns.other,
        )

    def _report_odd_columns(self, row: Row) -> Iterator[Fault]:
        for index in sorted(self._phoneless):
            cell = row.cells[index].strip() if index < len(row.cells) else ""
            if cell and not looks_like_number(cell):
                self._phoneless.discard(index)
                title = self._places[index].title
                reason = f"column {quoted(title)} holds no phone numbers, such as {quoted(cell)}"
                yield Fault(row.line, f"{reason}; it is not read")

    def _helper_column(self, column: int | None) -> int | None:
        return column if column in self._helper_columns else None

    @staticmethod
    def _with_region(
        numbers: Sequence[WrittenNumber], column: int, cell: str, unknown: set[int]
    ) -> list[WrittenNumber]:
        """Return numbers with the country beside them. Numbers that need a country and have an
        unknown one are left out, and the column is added to `unknown`.
        """
        region = parse_country(cell)
        known = region is not None or not cell.strip()
        if not known and not all(has_country_code(number.text) for number in numbers):
            unknown.add(column)
        return [
            number if has_country_code(number.text) else replace(number, region=region)
            for number in numbers
            if known or has_country_code(number.text)
        ]

    def _first_word(self, cells: Sequence[str]) -> str:
        for index, cell in enumerate(cells):
            if index not in self._phones and cell.strip() and not looks_like_number(cell):
                return one_line(cell)
        return ""


def _name_and_number(row: Row) -> tuple[str, str] | None:
    """Return the name and number of a row that is one text; None without."""
    filled = _filled(row)
    if len(filled) != 1 or len(filled[0]) > MAX_CELL_CHARACTERS:
        return None
    text = filled[0].strip()
    places = list(_BEFORE_A_NUMBER.finditer(text))
    # The 1 of "Bob 1 0664 …" is no digit of the number: a trunk prefix or a plus follows.
    for begin, fewest in (("+(0", MIN_NUMBER_DIGITS), ("123456789", MIN_DIGITS_WITH_AREA)):
        for found in places:
            name, number = text[: found.start()], text[found.end() :]
            if number[0] in begin and count_digits(number) >= fewest and looks_like_number(number):
                return one_line(name), number
    return None


def _hold_numbers(sample: Sequence[Row], index: int) -> bool:
    """Return whether most cells of a column look like numbers."""
    cells = [row.cells[index] for row in sample if index < len(row.cells)]
    cells = [cell for cell in cells if cell.strip()]
    return sum(map(looks_like_number, cells)) * 2 > len(cells)


def _with_area(number: WrittenNumber, area: str) -> WrittenNumber:
    """Return a number after its area code, unless it has one."""
    text, digits = number.text, _NOT_DIGITS.sub("", area)
    if not _AREA.fullmatch(area) or text[:1] in "+0(" or text.startswith(digits.lstrip("0")):
        return number
    return replace(number, text=f"{area} {text}")


def _title(index: int) -> str:
    return f"column {index + 1}"


def _numbers(cell: str, line: int, place: _ColumnPlan) -> list[WrittenNumber]:
    if place.named:
        return written_numbers(cell, line)
    if looks_like_number(cell):
        if place.international_only and not is_international(cell.strip()):
            return []
        return written_numbers(cell, line, place.title)
    if place.trusted and count_digits(cell) >= MIN_VALUE_DIGITS:
        return written_numbers(cell, line, place.title)
    return []


def _are_flags(cells: Sequence[str]) -> bool:
    """Return whether the cells of a column are flags, kinds or codes, and no numbers."""
    return len(cells) >= MIN_FLAG_CELLS and all(
        count_digits(cell) < MIN_VALUE_DIGITS for cell in cells
    )
