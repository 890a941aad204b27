"""The state file of `kith sync`: what an account has paid for, and which matches each book has shown.

One private SQLite file, changed in transactions, so that a run that is killed loses no answer. It has
hashes, the sync tokens that prove them paid, and account ids; no names and no numbers. One run uses it at a
time: two that fill the same page would each lose what the other has paid for.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kith.api.discovery import DIGEST_BYTES
from kith.storage import (
    ClosesDatabase,
    FileMarks,
    create_tables,
    is_empty_database,
    open_private,
    read_marks,
)

MARKS = FileMarks(application_id=0x4B697468, version=2)  # "Kith"
RETRY_SECONDS = 1.0  # between attempts to open a file that another run uses

_CREATE_TABLES = """
CREATE TABLE epoch (id TEXT);
CREATE TABLE pages (
    number INTEGER PRIMARY KEY, token TEXT, known BLOB NOT NULL, asked BLOB NOT NULL
);
CREATE TABLE shown (book TEXT, account_id TEXT, PRIMARY KEY (book, account_id)) WITHOUT ROWID
"""
#: Version 1 had one file for each book.
_UPGRADE_FROM_1 = (
    "ALTER TABLE shown RENAME TO shown_before",
    "CREATE TABLE shown (book TEXT, account_id TEXT, PRIMARY KEY (book, account_id)) WITHOUT ROWID",
    "INSERT INTO shown SELECT :book, account_id FROM shown_before",
    "DROP TABLE shown_before",
    f"PRAGMA user_version = {MARKS.version}",
)


class StateBroken(Exception):
    """A state file cannot be read or written; the message says what to do."""


class StateInUse(Exception):
    """Another run uses the state file."""


@dataclass(frozen=True)
class Page:
    """A set of digests that one sync token proves paid.

    known: covered by `token`; all of it is sent each time, as a token proves no part of its set.
    asked: sent with them and not answered yet; the same request again costs once.
    """

    number: int
    token: str | None
    known: Sequence[bytes]
    asked: Sequence[bytes]

    @property
    def size(self) -> int:
        """The number of digests."""
        return len(self.known) + len(self.asked)


class State(ClosesDatabase):
    """An open state file; no other run can open it before `close`."""

    def __init__(
        self,
        path: Path,
        book: str = "",
        *,
        wait: float = 0,
        sleep: Callable[[float], None] = time.sleep,
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        """Open or create the file; raise StateBroken or StateInUse.

        book: a digest of the book's path. wait: seconds to wait for another run to end. on_wait:
        called once if there is one.
        """
        self._path = path
        self._book = book
        waited = 0.0
        while True:
            try:
                self._open()
            except StateInUse:
                if waited >= wait:
                    raise
                if not waited and on_wait is not None:
                    on_wait()
                sleep(RETRY_SECONDS)
                waited += RETRY_SECONDS
            else:
                return

    def import_file(self, path: Path) -> None:
        """Import and delete the file of an older version, which had one file for each book.

        Raise StateInUse while an older version uses it, or StateBroken.
        """
        with State(path, self._book) as former:
            with self._errors():
                (theirs,), (ours,) = (
                    one._database.execute("SELECT max(id) FROM epoch").fetchone()
                    for one in (former, self)
                )
                pages = former._database.execute("SELECT token, known, asked FROM pages")
                shown = former._database.execute("SELECT account_id FROM shown")
            with self._transaction():
                if ours is None and theirs is not None:
                    self._database.execute("INSERT INTO epoch VALUES (?)", (theirs,))
                if ours in (None, theirs):
                    self._database.executemany(
                        "INSERT INTO pages (token, known, asked) VALUES (?, ?, ?)", pages
                    )
                self._database.executemany(
                    "INSERT OR IGNORE INTO shown VALUES (?, ?)",
                    ((self._book, account_id) for (account_id,) in shown),
                )
        with self._errors():
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)

    def start_epoch(self, epoch: str) -> None:
        """Start working in `epoch`; pages of another epoch are deleted, as their hashes are useless
        now.
        """
        with self._transaction():
            row = self._database.execute("SELECT id FROM epoch").fetchone()
            if row != (epoch,):
                self._database.execute("DELETE FROM pages")
                self._database.execute("DELETE FROM epoch")
                self._database.execute("INSERT INTO epoch VALUES (?)", (epoch,))

    def page_numbers(self) -> Sequence[int]:
        """Return the numbers of all pages, those with unanswered digests first."""
        with self._errors():
            rows = self._database.execute(
                "SELECT number FROM pages ORDER BY length(asked) = 0, number"
            ).fetchall()
        return [number for (number,) in rows]

    def page(self, number: int) -> Page:
        """Return a page."""
        with self._errors():
            token, known, asked = self._database.execute(
                "SELECT token, known, asked FROM pages WHERE number = ?", (number,)
            ).fetchone()
        return Page(number, token, _split(known), _split(asked))

    def create_page(self, digests: Sequence[bytes]) -> Page:
        """Record, before they are sent, that `digests` are asked in a new page; return it."""
        with self._transaction():
            number = self._database.execute(
                "INSERT INTO pages (known, asked) VALUES (x'', ?)", (b"".join(digests),)
            ).lastrowid
        assert number is not None
        return Page(number, None, (), digests)

    def set_pending(self, page: Page, digests: Sequence[bytes]) -> Page:
        """Record, before they are sent, that `digests` are asked in a page; return it."""
        return self._replace(Page(page.number, page.token, page.known, digests))

    def record_answer(self, page: Page, token: str | None) -> None:
        """Record that all of a page was answered, and the token that proves it paid."""
        self._replace(Page(page.number, token, sorted([*page.known, *page.asked]), ()))

    def delete_page(self, page: Page) -> None:
        """Delete a page, whose digests no longer count as paid."""
        with self._transaction():
            self._database.execute("DELETE FROM pages WHERE number = ?", (page.number,))

    def was_shown(self, account_id: str) -> bool:
        """Return whether an account was shown by the last complete run over this book, or since."""
        with self._errors():
            found = self._database.execute(
                "SELECT 1 FROM shown WHERE book = ? AND account_id = ?", (self._book, account_id)
            ).fetchone()
        return found is not None

    def mark_shown(self, account_ids: Iterable[str], *, everybody: bool) -> None:
        """Record that accounts were shown; with `everybody`, no other account counts as shown."""
        with self._transaction():
            if everybody:
                self._database.execute("DELETE FROM shown WHERE book = ?", (self._book,))
            self._database.executemany(
                "INSERT OR IGNORE INTO shown VALUES (?, ?)",
                ((self._book, one) for one in account_ids),
            )

    def _open(self) -> None:
        with self._errors():
            self._database = open_private(self._path, timeout=0)
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        with self._errors():
            # Held from the first transaction to the end: it locks out other runs.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("BEGIN EXCLUSIVE")
            if is_empty_database(self._database):
                create_tables(self._database, _CREATE_TABLES, MARKS)
            marks = read_marks(self._database)
            if marks == MARKS._replace(version=1):
                for statement in _UPGRADE_FROM_1:
                    self._database.execute(statement, {"book": self._book})
                marks = read_marks(self._database)
            self._database.execute("COMMIT")
            if marks != MARKS:
                raise self._broken()
            self._database.execute("PRAGMA journal_mode = WAL")  # a third of the disk syncs

    def _replace(self, page: Page) -> Page:
        with self._transaction():
            self._database.execute(
                "UPDATE pages SET token = ?, known = ?, asked = ? WHERE number = ?",
                (page.token, b"".join(page.known), b"".join(page.asked), page.number),
            )
        return page

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors(), contextlib.ExitStack() as undo:
            self._database.execute("BEGIN")
            undo.callback(self._database.execute, "ROLLBACK")
            yield
            self._database.execute("COMMIT")
            undo.pop_all()

    @contextmanager
    def _errors(self) -> Iterator[None]:
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
    return [digests[i : i + DIGEST_BYTES] for i in range(0, len(digests), DIGEST_BYTES)]
