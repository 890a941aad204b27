"""State files of the time when each book had its own."""

import sqlite3
from pathlib import Path

from kith.sync.state import MARKS


def as_version_1(path: Path) -> None:
    """Convert a state file to its first version."""
    database = sqlite3.connect(path, isolation_level=None)
    accounts = database.execute("SELECT account_id FROM shown").fetchall()
    database.execute("DROP TABLE shown")
    database.execute("CREATE TABLE shown (account_id TEXT PRIMARY KEY) WITHOUT ROWID")
    database.executemany("INSERT INTO shown VALUES (?)", accounts)
    database.execute(f"PRAGMA user_version = {MARKS.version - 1}")
    database.close()
