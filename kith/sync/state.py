"""Own the state file of `kith sync`: what of an address book was paid for, and who was shown.

One SQLite file, readable by its owner only, changed in transactions, so that a run killed at any
moment loses nothing that was answered. It holds hashes, the tokens that prove them paid and account
ids. Refuse to hold names, numbers and what else the book says, and to serve two runs at a time.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kith.databases import Marks, create, is_empty, marks_of, open_private
from kith.hashing import DIGEST_SIZE

MARKS = Marks(application_id=0x4B697468, version=1)  # "Kith"

_TABLES = """
CREATE TABLE epoch (id TEXT);
CREATE TABLE pages (
    number INTEGER PRIMARY KEY, token TEXT, known BLOB NOT NULL, asked BLOB NOT NULL
);
CREATE TABLE shown (account_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class StateBroken(Exception):
    """Report a state file that cannot be read or written; the message says what to do."""


class StateInUse(Exception):
    """Report a state file that another run is working with."""


@dataclass(frozen=True)
class Page:
    """A set of digests that one token proves paid for.

    known: what `token` covers; all of it is sent each time, as a token proves no part of its set.
    asked: what was sent with them and not answered yet; sent again exactly so, it costs once.
    """

    number: int
    token: str | None
    known: Sequence[bytes]
    asked: Sequence[bytes]

    @property
    def size(self) -> int:
        """How many digests it holds."""
        return len(self.known) + len(self.asked)


class State:
    """What one state file holds; no other run can open it before `close`."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; raise StateBroken or StateInUse."""
        self._path = path
        with self._explained():
            self._database = open_private(path, timeout=0)
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def enter(self, epoch: str) -> None:
        """Begin to work in `epoch`; pages of another one are forgotten, as their hashes lead
        nowhere now.
        """
        with self._transaction():
            row = self._database.execute("SELECT id FROM epoch").fetchone()
            if row != (epoch,):
                self._database.execute("DELETE FROM pages")
                self._database.execute("DELETE FROM epoch")
                self._database.execute("INSERT INTO epoch VALUES (?)", (epoch,))

    def page_numbers(self) -> Sequence[int]:
        """Return the numbers of all pages, those with something unanswered first."""
        with self._explained():
            rows = self._database.execute(
                "SELECT number FROM pages ORDER BY length(asked) = 0, number"
            ).fetchall()
        return [number for (number,) in rows]

    def page(self, number: int) -> Page:
        """Return one page."""
        with self._explained():
            token, known, asked = self._database.execute(
                "SELECT token, known, asked FROM pages WHERE number = ?", (number,)
            ).fetchone()
        return Page(number, token, _split(known), _split(asked))

    def begin_page(self, digests: Sequence[bytes]) -> Page:
        """Note, before they are sent, that `digests` are asked about in a new page; return it."""
        with self._transaction():
            number = self._database.execute(
                "INSERT INTO pages (known, asked) VALUES (x'', ?)", (b"".join(digests),)
            ).lastrowid
        assert number is not None
        return Page(number, None, (), digests)

    def ask(self, page: Page, digests: Sequence[bytes]) -> Page:
        """Note, before they are sent, that `digests` are asked about in a page; return it."""
        return self._replace(Page(page.number, page.token, page.known, digests))

    def answered(self, page: Page, token: str | None) -> None:
        """Note that all of a page was answered, and the token that proves it paid for."""
        self._replace(Page(page.number, token, sorted([*page.known, *page.asked]), ()))

    def forget(self, page: Page) -> None:
        """Forget a page: none of it counts as paid for any more."""
        with self._transaction():
            self._database.execute("DELETE FROM pages WHERE number = ?", (page.number,))

    def has_shown(self, account_id: str) -> bool:
        """Return whether an account was shown by the last run that showed all there was, or
        since.
        """
        with self._explained():
            found = self._database.execute(
                "SELECT 1 FROM shown WHERE account_id = ?", (account_id,)
            ).fetchone()
        return found is not None

    def show(self, account_ids: Iterable[str], *, everybody: bool) -> None:
        """Note that accounts were shown; with `everybody` no other counts as shown any more."""
        with self._transaction():
            if everybody:
                self._database.execute("DELETE FROM shown")
            self._database.executemany(
                "INSERT OR IGNORE INTO shown VALUES (?)", ((one,) for one in account_ids)
            )

    def close(self) -> None:
        """Let others open the file."""
        self._database.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let others open the file."""
        self.close()

    def _prepare(self) -> None:
        with self._explained():
            # Held from the first transaction to the end: the lock of this run.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("BEGIN EXCLUSIVE")
            if is_empty(self._database):
                create(self._database, _TABLES, MARKS)
            marks = marks_of(self._database)
            self._database.execute("COMMIT")
            if marks != MARKS:
                raise self._broken()
            self._database.execute("PRAGMA journal_mode = WAL")  # a third of the waits for the disk

    def _replace(self, page: Page) -> Page:
        with self._transaction():
            self._database.execute(
                "UPDATE pages SET token = ?, known = ?, asked = ? WHERE number = ?",
                (page.token, b"".join(page.known), b"".join(page.asked), page.number),
            )
        return page

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained(), contextlib.ExitStack() as undo:
            self._database.execute("BEGIN")
            undo.callback(self._database.execute, "ROLLBACK")
            yield
            self._database.execute("COMMIT")
            undo.pop_all()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StateBroken(f"{self._path} cannot be written: {error.strerror}.") from None
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise StateInUse(f"Another sync is working with {self._path}.") from None
            raise StateBroken(f"{self._path} cannot be used: {error}.") from None
        except sqlite3.DatabaseError:
            raise self._broken() from None

    def _broken(self) -> StateBroken:
        return StateBroken(
            f"{self._path} is not a readable state file of kith sync. Move it away; "
            "the next run then pays for every number again."
        )


def _split(digests: bytes) -> Sequence[bytes]:
    return [digests[i : i + DIGEST_SIZE] for i in range(0, len(digests), DIGEST_SIZE)]
