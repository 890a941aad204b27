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
    """Add what `kith.contacts.read_contacts` yields to `book`.

    region: country of numbers without a country code. own_number: E.164, left out unless `keep_own`;
    numbers without area code are taken to be of its area. on_fault: called with each fault at once;
    the book notes them as well. on_progress: called now and then with how many contacts have been read.
    """

    def report(fault: Fault) -> None:
        book.add_fault(fault)
        if on_fault is not None:
            on_fault(fault)

    def entries() -> Iterator[BookEntry]:
        doubts = ColumnFaults()
        for contact in contacts:
            if isinstance(contact, Fault):
                report(contact)
                continue
            book.contacts += 1
            for number in contact.numbers:
                # What only looks like a number is not completed: seven digits are many things.
                area_of = None if number.column else own_number
                try:
                    found = readings(number.text, number.region or region, area_of)
                except NumberUnreadable as reason:
                    fault = unreadable(contact, number, reason)
                    if number.column:
                        doubts.add(number.column, fault)
                    else:
                        book.numbers += 1
                        report(fault)
                    continue
                book.numbers += 1
                if number.column:
                    doubts.confirm(number.column)
                if keep_own or own_number not in found:
                    yield from _entries(contact, number, found)
        for fault in doubts.faults():
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


MAX_FAULTS = 20  # of one column that are told one by one


def unreadable(contact: Contact, number: WrittenNumber, reason: NumberUnreadable) -> Fault:
    """Return the fault that a number which cannot be read is."""
    return Fault(number.line, f"{quoted(number.text)}: {reason}", contact.name)


@dataclass
class _Column:
    read: int = 0
    unread: int = 0
    first: list[Fault] = field(default_factory=list)


class ColumnFaults:
    """Counts, column by column, what was read and what was not."""

    def __init__(self) -> None:
        """Know of no column."""
        self._columns = dict[str, _Column]()

    def confirm(self, column: str) -> None:
        """Note that a cell of a column is a number."""
        self._columns.setdefault(column, _Column()).read += 1

    def add(self, column: str, fault: Fault) -> None:
        """Note a cell that looks like a number and is none."""
        doubt = self._columns.setdefault(column, _Column())
        doubt.unread += 1
        if len(doubt.first) < MAX_FAULTS:
            doubt.first.append(fault)

    def faults(self) -> Iterator[Fault]:
        """Yield the faults of columns that hold numbers one by one, and one for each other column."""
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
