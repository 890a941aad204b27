"""Own the matching of an address book against a server, which tells who of it is here.

Refuse to keep anything: the book is read, hashed, asked about and forgotten. Every distinct number
of the book is held in memory while it runs, some hundred bytes each; photos and notes never are.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kith.client import Kith
from kith.contacts import Contact, Fault, NumberUnreadable, normalise
from kith.hashing import hash_number
from kith.models import DiscoveryParameters
from kith.problems import EpochUnknown

MOST_EPOCHS = 3  # changes of parameters in one run; more of them is a fault of the server


@dataclass(frozen=True)
class Match:
    """A contact that is here: `written` is the number as the book writes it, in line `line`."""

    name: str
    written: str
    phone_number: str
    account_id: str
    line: int


@dataclass(frozen=True)
class _Entry:
    name: str
    written: str
    line: int


@dataclass
class Book:
    """The distinct numbers of an address book with everybody who has them, and what could not be
    read.

    contacts: cards or rows. numbers: numbers as written, equal ones counted each time.
    """

    contacts: int = 0
    numbers: int = 0
    faults: list[Fault] = field(default_factory=list)
    entries: dict[str, dict[str, _Entry]] = field(default_factory=dict, repr=False)

    @property
    def distinct(self) -> int:
        """How many different numbers can be looked up."""
        return len(self.entries)


def gather(
    contacts: Iterable[Contact | Fault],
    *,
    region: str | None,
    own_number: str | None = None,
    on_fault: Callable[[Fault], None] | None = None,
) -> Book:
    """Return the numbers of what `kith.contacts.read_contacts` yields.

    region: country of numbers without a country code. own_number: E.164, left out. on_fault: called
    with each fault at once; they are gathered in the book when it is not given.
    """
    book = Book()
    report = on_fault or book.faults.append
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
                entry = _Entry(contact.name, number.text, number.line)
                book.entries.setdefault(e164, {}).setdefault(contact.name, entry)
    return book


def match(
    client: Kith, book: Book, *, on_progress: Callable[[int], None] | None = None
) -> list[Match]:
    """Return who of the book is here, in the book's order; each name once for each number.

    on_progress: called with how many distinct numbers have been asked about so far. When the
    hashing parameters change in mid-run they are fetched anew, and what was not yet answered is
    hashed anew. Raise KithError.
    """
    numbers = list(book.entries)
    accounts: dict[str, str] = {}
    parameters: DiscoveryParameters | None = None
    asked, epochs = 0, 0
    while asked < len(numbers):
        if parameters is None:
            parameters, epochs = client.discovery_parameters(), epochs + 1
        page = numbers[asked : asked + max(1, parameters.max_hashes)]
        hashes = {hash_number(number, parameters.salt): number for number in page}
        try:
            found = client.look_up(parameters.epoch, list(hashes))
        except EpochUnknown:
            if epochs >= MOST_EPOCHS:
                raise
            parameters = None
            continue
        accounts.update(
            (hashes[digest], account_id) for digest, account_id in found.items() if digest in hashes
        )
        asked += len(page)
        if on_progress is not None:
            on_progress(asked)
    return [
        Match(entry.name, entry.written, number, accounts[number], entry.line)
        for number in numbers
        if number in accounts
        for entry in book.entries[number].values()
    ]
