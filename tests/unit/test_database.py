"""Transactions: what a commit waits for, and that it is as before after one that did not."""

import pytest
from sqlalchemy import text

from core.database import Database


def durability(database: Database, *, soon: bool) -> str:
    """Ask a transaction how its commit will be."""
    asked = "PRAGMA synchronous" if database.dialect == "sqlite" else "SHOW synchronous_commit"
    with (database.write_soon if soon else database.write)() as connection:
        return str(connection.execute(text(asked)).scalar_one())


def test_only_what_may_be_lost_does_not_wait_for_the_disk(database: Database) -> None:
    """On one and the same connection the next transaction waits again."""
    full, relaxed = {"sqlite": ("2", "1"), "postgresql": ("on", "off")}[database.dialect]
    assert durability(database, soon=False) == full
    assert durability(database, soon=True) == relaxed
    assert durability(database, soon=False) == full


def test_a_transaction_that_does_not_wait_is_rolled_back_like_any(database: Database) -> None:
    """A raise leaves nothing behind, and the connection as it was."""
    with database.write() as connection:
        connection.execute(text("CREATE TABLE kept (n INTEGER)"))
    try:
        with pytest.raises(RuntimeError), database.write_soon() as connection:
            connection.execute(text("INSERT INTO kept VALUES (1)"))
            raise RuntimeError
        with database.write_soon() as connection:
            connection.execute(text("INSERT INTO kept VALUES (2)"))
        with database.read() as connection:
            assert connection.execute(text("SELECT n FROM kept")).scalars().all() == [2]
        assert durability(database, soon=False) in ("2", "on")
    finally:
        with database.write() as connection:
            connection.execute(text("DROP TABLE kept"))
