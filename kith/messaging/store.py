"""The message store: keys, sessions and messages of a device in SQLite, with every value encrypted.

A session is read inside the transaction that writes it back, so that two `kith` commands never use one
ratchet twice. Not encrypted are the kind of a record, its expiry, and how many there are. Replacing the file
by an older copy cannot be detected.
"""

import contextlib
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag

from kith.messaging.store_encryption import (
    KEY_BYTES,
    StoreBroken,
    StoreCipher,
    UnlockMethod,
    WrappedKey,
)
from kith.storage import (
    ClosesDatabase,
    FileMarks,
    create_tables,
    is_empty_database,
    open_private,
    read_marks,
)

MARKS = FileMarks(application_id=0x4B69744D, version=1)  # "KitM"
LOCK_TIMEOUT_SECONDS = 30.0  # seconds to wait for another command's transaction

_CREATE_TABLES = """
CREATE TABLE opening (wrapped BLOB NOT NULL);
CREATE TABLE records (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL, expires_at INTEGER,
    UNIQUE (kind, name)
);
CREATE INDEX records_expire ON records (expires_at) WHERE expires_at IS NOT NULL;
"""
_UPSERT = """
INSERT INTO records (kind, name, value, expires_at) VALUES (?, ?, ?, ?)
ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
"""
_DELETE_OLDEST = """
DELETE FROM records WHERE kind = ?1 AND position <= (
    SELECT position FROM records WHERE kind = ?1 ORDER BY position DESC LIMIT 1 OFFSET ?2
)
"""


class Opaque(msgspec.Struct, frozen=True):
    """A struct whose repr shows only its class, because its members are secret."""

    def __repr__(self) -> str:
        """Return the name of the class."""
        return f"{type(self).__name__}(…)"


class Record(Opaque, frozen=True):
    """A record of the store; `kind` names its class in the file and never changes."""

    kind: ClassVar[str]


Model = TypeVar("Model", bound=Record)


class Store(ClosesDatabase):
    """The records of one device."""

    def __init__(self, path: Path, unlock: UnlockMethod) -> None:
        """Open or create the file; raise StoreBroken or StoreLocked."""
        self._path = path
        # Threads share the connection, one transaction at a time.
        self._lock = threading.RLock()
        with self._errors():
            self._database = open_private(path, timeout=LOCK_TIMEOUT_SECONDS)
        try:
            self._cipher = StoreCipher(self._open(unlock))
        except BaseException:
            self._database.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes inside atomic and durable; a nested block joins the outer one."""
        with self._lock:
            if self._database.in_transaction:
                yield
                return
            with self._errors():
                self._database.execute("BEGIN IMMEDIATE")
            with contextlib.ExitStack() as undo:
                undo.callback(self._database.execute, "ROLLBACK")
                yield
                with self._errors():
                    self._database.execute("COMMIT")
                undo.pop_all()

    def get(self, model: type[Model], name: str) -> Model | None:
        """Return the record with a name, or None."""
        key = self._name(model, name)
        with self._lock, self._errors():
            row = self._database.execute(
                "SELECT value FROM records WHERE kind = ? AND name = ?", (model.kind, key)
            ).fetchone()
        return None if row is None else self._decode_record(model, key, row[0])

    def put(self, name: str, record: Record, *, expires_at: int | None = None) -> None:
        """Save a record under a name; a new name comes after all others of its kind."""
        model = type(record)
        key = self._name(model, name)
        value = self._cipher.encrypt(msgspec.msgpack.encode(record), _context(model, key))
        with self.transaction(), self._errors():
            self._database.execute(_UPSERT, (model.kind, key, value, expires_at))

    def delete(self, model: type[Model], name: str) -> None:
        """Delete the record with a name, if there is one."""
        with self.transaction(), self._errors():
            self._database.execute(
                "DELETE FROM records WHERE kind = ? AND name = ?",
                (model.kind, self._name(model, name)),
            )

    def all(self, model: type[Model]) -> Iterator[Model]:
        """Yield the records of a kind in the order in which their names were added."""
        with self._lock, self._errors():
            rows = self._database.execute(
                "SELECT name, value FROM records WHERE kind = ? ORDER BY position", (model.kind,)
            ).fetchall()
        for key, value in rows:
            yield self._decode_record(model, key, value)

    def keep_newest(self, model: type[Model], most: int) -> None:
        """Delete all but the newest `most` records of a kind."""
        with self.transaction(), self._errors():
            self._database.execute(_DELETE_OLDEST, (model.kind, most))

    def expire_all(self, model: type[Model], expires_at: int) -> None:
        """Set the expiry, in Unix seconds, of all records of a kind that have none."""
        with self.transaction(), self._errors():
            self._database.execute(
                "UPDATE records SET expires_at = ? WHERE kind = ? AND expires_at IS NULL",
                (expires_at, model.kind),
            )

    def delete_expired(self, now: int) -> None:
        """Delete expired records; freed pages are overwritten."""
        with self.transaction(), self._errors():
            self._database.execute("DELETE FROM records WHERE expires_at <= ?", (now,))

    def change_unlock(self, unlock: UnlockMethod) -> None:
        """Change what unlocks the store."""
        with self.transaction(), self._errors():
            self._database.execute(
                "UPDATE opening SET wrapped = ?",
                (msgspec.msgpack.encode(unlock.wrap(self._key)),),
            )

    def _open(self, unlock: UnlockMethod) -> bytes:
        with self.transaction(), self._errors():
            if is_empty_database(self._database):
                self._create(unlock)
            if read_marks(self._database) != MARKS:
                raise self._broken()
            ((wrapped,),) = self._database.execute("SELECT wrapped FROM opening").fetchall()
        with self._errors():
            # Only now, so that another program's database is not changed.
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA secure_delete = ON")
            self._key = unlock.unwrap(msgspec.msgpack.decode(wrapped, type=WrappedKey))
        return self._key

    def _create(self, unlock: UnlockMethod) -> None:
        create_tables(self._database, _CREATE_TABLES, MARKS)
        wrapped = unlock.wrap(secrets.token_bytes(KEY_BYTES))
        self._database.execute("INSERT INTO opening VALUES (?)", (msgspec.msgpack.encode(wrapped),))

    def _name(self, model: type[Model], name: str) -> bytes:
        return self._cipher.hash_name(f"{model.kind}\0{name}")

    def _decode_record(self, model: type[Model], key: bytes, value: bytes) -> Model:
        with self._errors():
            return msgspec.msgpack.decode(
                self._cipher.decrypt(value, _context(model, key)), type=model
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreBroken(f"{self._path} cannot be written: {error.strerror}.") from None
        except sqlite3.OperationalError as error:
            raise StoreBroken(f"{self._path} cannot be used: {error}.") from None
        except (sqlite3.DatabaseError, InvalidTag, msgspec.MsgspecError) as error:
            raise self._broken() from error

    def _broken(self) -> StoreBroken:
        return StoreBroken(
            f"{self._path} is not a readable message store. Restore it from a backup, or move it "
            "away: this device then starts over, and what was stored here is lost."
        )


def _context(model: type[Model], key: bytes) -> bytes:
    return model.kind.encode("ascii") + b"\0" + key
