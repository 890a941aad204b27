"""From contacts as read to a book of numbers that can be looked up.

One process does it: parsing numbers is a small part of the work (docs/client.md), and another
process would not be worth what it needs of whoever calls this.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator

from kith.contacts import Contact, Fault, NumberUnreadable, readings
from kith.contacts.found import WrittenNumber
from kith.sync.book import Book, Entry
from kith.sync.doubts import Doubts, unreadable

BATCH = 1_000


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

    def entries() -> Iterator[Entry]:
        doubts = Doubts()
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
    while batch := list(itertools.islice(readable, BATCH)):
        book.add(batch)
        if on_progress is not None:
            on_progress(book.contacts)


def _entries(contact: Contact, number: WrittenNumber, found: tuple[str, ...]) -> Iterator[Entry]:
    for e164 in found:
        yield Entry(int(e164), contact.name, number.text, number.line)
