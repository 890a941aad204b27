"""Private files on this machine: the credentials of the command, and SQLite databases.

An unreadable file is never replaced, because a lost device token cannot be recovered.
"""

import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple, Self

import msgspec

from kith.models import Answer


class CredentialsMissing(Exception):
    """There is no credentials file: nobody is signed in."""


class CredentialsBroken(Exception):
    """A credentials file cannot be read or written; the message says what to do."""


class Credentials(Answer, frozen=True):
    """A device's server, ids and token."""

    secret = frozenset({"device_token"})
    server: str
    account_id: str
    device_id: str
    phone_number: str
    device_token: Annotated[str, msgspec.Meta(pattern=r"\A[!-~]+\Z")]


class CredentialsFile:
    """The credentials at one path."""

    def __init__(self, path: Path) -> None:
        """Take the path; nothing is opened yet."""
        self.path = path

    def load(self) -> Credentials:
        """Return the credentials; raise CredentialsMissing or CredentialsBroken."""
        try:
            with self._errors("read"):
                return msgspec.json.decode(self.path.read_bytes(), type=Credentials)
        except (msgspec.MsgspecError, RecursionError):
            raise CredentialsBroken(
                f"{self.path} is not a readable credentials file. Restore it from a backup, "
                "or move it away and register again."
            ) from None

    def save(self, credentials: Credentials) -> None:
        """Replace the file atomically; raise CredentialsBroken."""
        content = json.dumps(msgspec.to_builtins(credentials), indent=2) + "\n"
        with self._errors("written"):
            self._replace(content.encode("ascii"))

    def prepare(self) -> None:
        """Check that `save` will work; raise CredentialsBroken."""
        with self._errors("written"):
            temporary = self._temporary()
            os.close(_create(temporary))
            temporary.unlink()
        if self.path.is_dir():
            raise CredentialsBroken(f"{self.path} is a directory, not a credentials file.")

    def remove(self) -> None:
        """Delete the file, if there is one."""
        with self._errors("deleted"):
            self.path.unlink(missing_ok=True)

    def is_exposed(self) -> bool:
        """Return whether other people on this machine can read the file."""
        try:
            return os.name == "posix" and bool(self.path.stat().st_mode & 0o077)
        except OSError:
            return False

    def _replace(self, content: bytes) -> None:
        temporary = self._temporary()
        descriptor = _create(temporary)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path.resolve())
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _flush_directory(self.path.resolve().parent)

    def _temporary(self) -> Path:
        target = self.path.resolve()  # a link to the file stays a link
        for directory in reversed([target.parent, *target.parent.parents]):
            if not directory.exists():
                directory.mkdir(mode=0o700, exist_ok=True)
        return target.with_name(f".{target.name}.{secrets.token_hex(8)}")

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if action == "read" and isinstance(error, FileNotFoundError):
                raise CredentialsMissing from None
            raise CredentialsBroken(f"{self.path} cannot be {action}: {error.strerror}.") from None


def default_directory() -> Path:
    """Return the directory of credentials: "kith" in the XDG configuration directory."""
    return _directory("XDG_CONFIG_HOME", ".config")


def default_state_directory() -> Path:
    """Return the directory of state: "kith" in the XDG state directory."""
    return _directory("XDG_STATE_HOME", ".local/state")


def _directory(variable: str, default: str) -> Path:
    configured = os.environ.get(variable, "")
    base = Path(configured) if configured.startswith("/") else Path.home() / default
    return base / "kith"


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _flush_directory(directory: Path) -> None:
    """Sync the rename itself to disk, if the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FileMarks(NamedTuple):
    """SQLite's application id and user version of a file."""

    application_id: int
    version: int


class ClosesDatabase:
    """Mixin of a context manager that closes its SQLite connection."""

    _database: sqlite3.Connection

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __enter__(self) -> Self:
        """Return the object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the database."""
        self.close()


def open_private(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Open or create a file, readable by its owner only, with explicit transactions.

    timeout: seconds to wait for another process's transaction. Threads may share the connection one
    at a time. Raise OSError or sqlite3.Error.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    return sqlite3.connect(path, isolation_level=None, timeout=timeout, check_same_thread=False)


def is_empty_database(database: sqlite3.Connection) -> bool:
    """Return whether a file has no tables yet."""
    (count,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return int(count) == 0


def create_tables(database: sqlite3.Connection, tables: str, marks: FileMarks) -> None:
    """Create the tables of an empty file and mark it, in the caller's transaction."""
    for statement in tables.split(";"):
        database.execute(statement)
    # Two whole numbers, which a pragma takes in no other way.
    database.execute(f"PRAGMA application_id = {marks.application_id}")
    database.execute(f"PRAGMA user_version = {marks.version}")


def read_marks(database: sqlite3.Connection) -> FileMarks:
    """Return the marks of a file."""
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return FileMarks(application_id, version)
