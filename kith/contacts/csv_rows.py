"""Rows of a CSV file: delimiter, quotation marks, and rows over several lines.

With an unclosed quotation mark the csv module would take the rest of the file for one cell. Such a line is
read by itself, without its marks, and the lines after it are read again.
"""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kith.contacts.contact import Fault
from kith.contacts.lines import MAX_LINE_BYTES, Line, decode

SAMPLE_LINES = 20
MAX_ROW_LINES = 1000
MAX_ROW_BYTES = 4 * MAX_LINE_BYTES

_DELIMITERS = "\t;|,"
_EXCEL_HINT = re.compile(r"sep=(.)", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """The cells of a row, and its first line."""

    line: int
    cells: list[str]


def read_rows(lines: Iterable[Line]) -> Iterator[Row | Fault]:
    """Yield the rows that are not blank, and a Fault for each line that needs another reading."""
    source = _LineSource(lines)
    delimiter = source.take_delimiter()
    while (first := source.next()) is not None:
        text = decode(first.content)
        if first.cut:
            yield Fault(first.number, "the line is too long; only its beginning is read")
        if not text.strip():
            continue
        taken: list[Line] = []
        try:
            cells = next(csv.reader(source.feed(text, taken), delimiter=delimiter, strict=True))
        except (csv.Error, StopIteration):
            source.put_back(taken)
            if text.count('"') % 2:
                yield Fault(first.number, "a quotation mark is never closed; read without it")
            cells = _split_leniently(text, delimiter)
        yield Row(first.number, cells)


class _LineSource:
    """Lines that can be put back."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self._waiting: deque[Line] = deque()

    def next(self) -> Line | None:
        return self._waiting.popleft() if self._waiting else next(self._lines, None)

    def put_back(self, lines: list[Line]) -> None:
        self._waiting.extendleft(reversed(lines))

    def feed(self, first: str, taken: list[Line]) -> Iterator[str]:
        """Yield a row line by line; append the lines after the first to `taken`."""
        yield first + "\n"
        size = len(first)
        while len(taken) < MAX_ROW_LINES and size < MAX_ROW_BYTES:
            line = self.next()
            if line is None:
                return
            taken.append(line)
            size += len(line.content)
            yield decode(line.content) + "\n"

    def take_delimiter(self) -> str:
        """Return the delimiter, detected from the first lines, or given by Excel's "sep=;" line."""
        sample: list[Line] = []
        while len(sample) < SAMPLE_LINES and (line := self.next()) is not None:
            sample.append(line)
        hint = _EXCEL_HINT.fullmatch(decode(sample[0].content).strip()) if sample else None
        if hint and hint[1] not in '"\r\n':
            self.put_back(sample[1:])
            return hint[1]
        self.put_back(sample)
        texts = [text for text in (decode(line.content) for line in sample) if text.strip()]
        return max(_DELIMITERS, key=lambda delimiter: _delimiter_score(texts, delimiter))


def _delimiter_score(texts: list[str], delimiter: str) -> tuple[int, int]:
    """Return how many lines have the most common number of cells, and that number; 0 for single
    cells.
    """
    counts = [len(_split_leniently(text, delimiter)) for text in texts]
    several = [count for count in counts if count > 1]
    if not several:
        return 0, 0
    commonest = max(several, key=lambda count: (several.count(count), count == counts[0], count))
    return several.count(commonest), commonest


def _split_leniently(text: str, delimiter: str) -> list[str]:
    if text.count('"') % 2 == 0:
        try:
            return next(csv.reader([text], delimiter=delimiter))
        except csv.Error:
            pass  # a cell above the csv module's limit
    return [cell.strip('" ') for cell in text.split(delimiter)]
