"""The numbers of one address book during a run: their contacts, hashes and accounts.

They are in a temporary database on disk, so that a million contacts take no more memory than a hundred.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kith.api.discovery import digest_number
from kith.contacts import Fault
from kith.storage import ClosesDatabase

_CREATE_TABLES = """
PRAGMA temp_store = FILE;
PRAGMA cache_size = -16384;
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE entries (
    position INTEGER PRIMARY KEY, number INTEGER, name TEXT, written TEXT, line INTEGER
);
CREATE TABLE faults (line INTEGER, reason TEXT, name TEXT);
CREATE TABLE hashed (
    digest BLOB PRIMARY KEY, number INTEGER, asked INTEGER DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE accounts (number INTEGER PRIMARY KEY, account_id TEXT);
BEGIN;
"""

# Sorted first, so that a million digests are appended to the tree.
_INSERT_HASHES = """
INSERT OR IGNORE INTO hashed (digest, number)
SELECT digest_of(number) AS digest, number FROM (SELECT DISTINCT number FROM entries) ORDER BY 1
"""
_SELECT_ENTRIES = "SELECT number, name, written, line FROM entries ORDER BY position"
_INSERT_ACCOUNT = """
INSERT OR REPLACE INTO accounts (number, account_id)
SELECT number, :account_id FROM hashed WHERE digest = :digest
"""
# With min(), SQLite returns the other columns of the row with the minimum.
_SELECT_MATCHES = """
SELECT min(position), name, written, number, account_id, line
FROM entries JOIN accounts USING (number) GROUP BY number, name ORDER BY 1
"""


@dataclass(frozen=True)
class Match:
    """A contact who has an account; `written` is the number as the book writes it, in line `line`."""

    name: str
    written: str
    phone_number: str
    account_id: str
    line: int


class BookEntry(NamedTuple):
    """A number of a contact as the book writes it; `number` is E.164 without the plus."""

    number: int
    name: str
    written: str
    line: int


class Book(ClosesDatabase):
    """The numbers of an address book with their contacts.

    contacts: cards or rows. numbers: numbers as written, with repetitions. unreadable: faults.
    Raise sqlite3.Error when the disk is full.
    """

    def __init__(self) -> None:
        """Create an empty book."""
        self.contacts = 0
        self.numbers = 0
        self.unreadable = 0
        self._last_unasked = b""
        # SQLite's name of a temporary database that nobody else can open.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_CREATE_TABLES)

    def add(self, entries: Iterable[BookEntry]) -> None:
        """Add numbers to look up."""
        self._database.executemany(
            "INSERT INTO entries (number, name, written, line) VALUES (?, ?, ?, ?)", entries
        )

    def entries(self) -> Iterator[BookEntry]:
        """Yield the numbers to look up, in the book's order."""
        for row in self._database.execute(_SELECT_ENTRIES):
            yield BookEntry(*row)

    def add_fault(self, fault: Fault) -> None:
        """Record a fault."""
        self.unreadable += 1
        self._database.execute(
            "INSERT INTO faults VALUES (?, ?, ?)", (fault.line, fault.reason, fault.name)
        )

    def faults(self) -> Iterator[Fault]:
        """Yield the faults in order."""
        for row in self._database.execute("SELECT line, reason, name FROM faults"):
            yield Fault(*row)

    def hash_numbers(self, salt: str) -> None:
        """Hash every distinct number; reset what was asked and found with another salt."""
        self._database.create_function(
            "digest_of", 1, lambda number: digest_number(str(number), salt), deterministic=True
        )
        self._database.execute("DELETE FROM hashed")
        self._database.execute("DELETE FROM accounts")
        self._database.execute(_INSERT_HASHES)
        self._last_unasked = b""

    def mark_asked(self, digests: Iterable[bytes]) -> int:
        """Mark digests as asked; return how many of them are of this book."""
        return self._mark(digests, asked=True)

    def unmark_asked(self, digests: Iterable[bytes]) -> None:
        """Mark digests as not asked."""
        self._mark(digests, asked=False)
        self._last_unasked = b""

    def count_unasked(self) -> int:
        """Return the number of distinct numbers that were not asked."""
        (count,) = self._database.execute("SELECT count(*) FROM hashed WHERE NOT asked").fetchone()
        return int(count)

    def next_unasked(self, most: int) -> Sequence[bytes]:
        """Return up to `most` digests that were not asked, in ascending order."""
        # Continues after the last page, or each page would scan all pages before it.
        rows = self._database.execute(
            "SELECT digest FROM hashed WHERE digest > ? AND NOT asked ORDER BY digest LIMIT ?",
            (self._last_unasked, most),
        )
        digests = [digest for (digest,) in rows]
        self._last_unasked = digests[-1] if digests else self._last_unasked
        return digests

    def add_accounts(self, accounts: Mapping[bytes, str]) -> None:
        """Record the accounts of digests; digests of other books are ignored."""
        self._database.executemany(
            _INSERT_ACCOUNT,
            (
                {"digest": digest, "account_id": account_id}
                for digest, account_id in accounts.items()
            ),
        )

    def matches(self) -> Iterator[Match]:
        """Yield the matches in the book's order; each name once for each number."""
        for _, name, written, number, account_id, line in self._database.execute(_SELECT_MATCHES):
            yield Match(name, written, f"+{number}", account_id, line)

    def account_ids(self) -> Iterator[str]:
        """Yield the accounts of all matches."""
        for (account_id,) in self._database.execute("SELECT DISTINCT account_id FROM accounts"):
            yield account_id

    def _mark(self, digests: Iterable[bytes], *, asked: bool) -> int:
        return self._database.executemany(
            "UPDATE hashed SET asked = ? WHERE digest = ?", ((asked, digest) for digest in digests)
        ).rowcount
