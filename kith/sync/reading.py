"""Own the way from contacts as read to a book of numbers that can be looked up.

One process does it: parsing numbers is a small part of the work (docs/client.md), and another
process would not be worth what it needs of whoever calls this.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator

from kith.contacts import Contact, Fault, NumberUnreadable, normalise
from kith.sync.book import Book, Entry

BATCH = 1_000


def gather(
    contacts: Iterable[Contact | Fault],
    book: Book,
    *,
    region: str | None,
    own_number: str | None = None,
    on_fault: Callable[[Fault], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Add what `kith.contacts.read_contacts` yields to `book`.

    region: country of numbers without a country code. own_number: E.164, left out. on_fault: called
    with each fault at once; the book notes them as well. on_progress: called now and then with how
    many contacts have been read.
    """

    def report(fault: Fault) -> None:
        book.add_fault(fault)
        if on_fault is not None:
            on_fault(fault)

    def entries() -> Iterator[Entry]:
        for contact in contacts:
            if isinstance(contact, Fault):
                report(contact)
                continue
            book.contacts += 1
            for number in contact.numbers:
                book.numbers += 1
                try:
                    e164 = normalise(number.text, region)
                except NumberUnreadable as reason:
                    report(Fault(number.line, f"{number.text!r}: {reason}"))
                    continue
                if e164 != own_number:
                    yield Entry(int(e164), contact.name, number.text, number.line)

    readable = entries()
    while batch := list(itertools.islice(readable, BATCH)):
        book.add(batch)
        if on_progress is not None:
            on_progress(book.contacts)
