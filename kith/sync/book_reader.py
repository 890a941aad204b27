"""Reads contacts into a book of E.164 numbers that can be looked up.

One process does it: parsing numbers is a small part of the work (docs/client.md).
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from kith.contacts import Contact, Fault, NumberUnreadable, readings
from kith.contacts.contact import WrittenNumber, quoted
from kith.sync.book import Book, BookEntry

BATCH_SIZE = 1_000


def gather(
    contacts: Iterable[Contact | Fault],
    book: Book,
    *,
    region: str | None,
    own_number: str | None = None,
    keep_own: bool = False,
    on_fault: Callable[[Fault], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Add the contacts of `kith.contacts.read_contacts` to `book`.

    region: country of numbers without a country code. own_number: E.164, left out unless
    `keep_own`; numbers without area code are taken to be of its area. on_fault: called with each
    fault at once; the book records it as well. on_progress: called with the number of contacts read
    so far.
    """

    def report(fault: Fault) -> None:
        book.add_fault(fault)
        if on_fault is not None:
            on_fault(fault)

    def entries() -> Iterator[BookEntry]:
        column_faults = ColumnFaults()
        for contact in contacts:
            if isinstance(contact, Fault):
                report(contact)
                continue
            book.contacts += 1
            for number in contact.numbers:
                # A detected number is not completed: seven digits may be anything.
                area_of = None if number.column else own_number
                try:
                    found = readings(number.text, number.region or region, area_of)
                except NumberUnreadable as reason:
                    fault = _number_fault(contact, number, reason)
                    if number.column:
                        column_faults.add(number.column, fault)
                    else:
                        book.numbers += 1
                        report(fault)
                    continue
                book.numbers += 1
                if number.column:
                    column_faults.add_number(number.column)
                if keep_own or own_number not in found:
                    yield from _entries(contact, number, found)
        for fault in column_faults.faults():
            report(fault)

    readable = entries()
    while batch := list(itertools.islice(readable, BATCH_SIZE)):
        book.add(batch)
        if on_progress is not None:
            on_progress(book.contacts)


def _entries(
    contact: Contact, number: WrittenNumber, found: tuple[str, ...]
) -> Iterator[BookEntry]:
    for e164 in found:
        yield BookEntry(int(e164), contact.name, number.text, number.line)


MAX_FAULTS = 20  # of one column that are yielded


def _number_fault(contact: Contact, number: WrittenNumber, reason: NumberUnreadable) -> Fault:
    """Return the fault of a number that cannot be read."""
    return Fault(number.line, f"{quoted(number.text)}: {reason}", contact.name)


@dataclass
class _ColumnCount:
    read: int = 0
    unread: int = 0
    first: list[Fault] = field(default_factory=list)


class ColumnFaults:
    """Counts the cells of each detected column that are numbers and that are not.

    Such a column may hold customer numbers; a million faults say no more than one.
    """

    def __init__(self) -> None:
        """Start without columns."""
        self._columns = dict[str, _ColumnCount]()

    def add_number(self, column: str) -> None:
        """Count a cell that is a number."""
        self._columns.setdefault(column, _ColumnCount()).read += 1

    def add(self, column: str, fault: Fault) -> None:
        """Count a cell that looks like a number and is none."""
        column_count = self._columns.setdefault(column, _ColumnCount())
        column_count.unread += 1
        if len(column_count.first) < MAX_FAULTS:
            column_count.first.append(fault)

    def faults(self) -> Iterator[Fault]:
        """Yield each fault of columns that mostly hold numbers, and one for each other column."""
        for name, column in self._columns.items():
            if not column.unread:
                continue
            if column.read >= column.unread:
                yield from column.first
                more = column.unread - len(column.first)
                if more:
                    yield Fault(
                        column.first[-1].line, f"column {quoted(name)}: {more} more are no numbers"
                    )
            elif column.unread == 1:
                yield column.first[0]
            else:
                yield Fault(
                    column.first[0].line,
                    f"column {quoted(name)}: {column.unread} cells look like phone numbers and are "
                    f"none; the first is {column.first[0].reason}",
                    column.first[0].name,
                )
