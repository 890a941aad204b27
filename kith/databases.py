"""Own SQLite files that the client keeps for itself: for their owner only, and known by their marks.

Refuse to make a file of another program one of Kith's.
"""

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple


class Marks(NamedTuple):
    """What a file says it is: SQLite's application id and user version."""

    application_id: int
    version: int


def open_private(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Open or create a file, readable by its owner only, with transactions left to the caller.

    timeout: seconds to wait for another process's transaction. Threads may share the connection
    one at a time. Raise OSError or sqlite3.Error.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    return sqlite3.connect(path, isolation_level=None, timeout=timeout, check_same_thread=False)


def is_empty(database: sqlite3.Connection) -> bool:
    """Return whether there is nothing in a file yet."""
    (count,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return int(count) == 0


def create(database: sqlite3.Connection, tables: str, marks: Marks) -> None:
    """Make the tables of an empty file, in the caller's transaction, and mark it."""
    for statement in tables.split(";"):
        database.execute(statement)
    # Two whole numbers, which a pragma takes in no other way.
    database.execute(f"PRAGMA application_id = {marks.application_id}")
    database.execute(f"PRAGMA user_version = {marks.version}")


def marks_of(database: sqlite3.Connection) -> Marks:
    """Return what a file says it is."""
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return Marks(application_id, version)
