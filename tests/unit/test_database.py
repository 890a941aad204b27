"""Transactions: writers of a process queue for SQLite, and its commits hold up nobody."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as DatabaseBusy

from core import database as module
from core.database import Database
from core.database_errors import problem_of
from core.problems import ServiceUnavailable
from tests.databases import ROOT

INSERT = text("INSERT INTO maintenance_leases (name, until) VALUES (:name, '2026-01-01')")


def test_writers_come_one_after_the_other(database: Database) -> None:
    """Two that write at once both succeed, whoever is first."""
    begun = threading.Event()

    def second() -> None:
        begun.set()
        with database.write() as connection:
            connection.execute(INSERT, {"name": "second"})

    with database.write() as connection:
        connection.execute(INSERT, {"name": "first"})
        thread = threading.Thread(target=second)
        thread.start()
        begun.wait()
    thread.join()
    with database.read() as connection:
        names = connection.scalars(text("SELECT name FROM maintenance_leases")).all()
    assert sorted(names) == ["first", "second"]


def test_a_writer_that_waits_too_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It gives up, as a pool without connections does, and whoever comes later is served."""
    monkeypatch.setattr(module, "SQLITE_BUSY_SECONDS", 0.01)
    database = Database(f"sqlite:///{tmp_path / 'kith.db'}")
    with database.write(), pytest.raises(DatabaseBusy), database.write():
        pass
    with database.write() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    database.close()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_database_that_another_process_holds_is_away(database: Database) -> None:
    """The wait for SQLite's lock ends as every error of the database does, and is told as one."""
    with contextlib.closing(sqlite3.connect(str(database.url.database))) as other:
        other.execute("BEGIN IMMEDIATE")
        with database.engine.connect() as connection:
            connection.connection.cursor().execute("PRAGMA busy_timeout = 10")
        with pytest.raises(OperationalError) as failed, database.write():
            pass
    assert isinstance(problem_of(failed.value), ServiceUnavailable)


def test_a_failed_transaction_lets_others_write(database: Database) -> None:
    """A raise inside the block rolls back and frees the place."""
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(INSERT, {"name": "gone"})
        raise ZeroDivisionError
    with database.write() as connection:
        assert connection.scalar(text("SELECT count(*) FROM maintenance_leases")) == 0


UNDER_GEVENT = """
from gevent import monkey
monkey.patch_all()
import sys, threading
from sqlalchemy import text
from core.database import Database
from core.database_errors import problem_of
from core.problems import ServiceUnavailable
native = monkey.get_original("_thread", "get_ident")
database = Database("sqlite:///" + sys.argv[1])
seen = {}
with database.write() as connection:
    driver = connection.connection.dbapi_connection
    driver.set_trace_callback(lambda statement: seen.setdefault(statement, native()))
    connection.execute(text("CREATE TABLE kept (n INTEGER)"))
print(seen["CREATE TABLE kept (n INTEGER)"] == native(), seen["COMMIT"] == native())
"""


def test_a_commit_waits_for_the_disk_in_a_thread(tmp_path: Path) -> None:
    """Under gevent a statement runs in the thread of the loop, and the commit in another."""
    done = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT, str(tmp_path / "kith.db")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.split(), done.stderr) == (["True", "False"], "")


def test_what_is_called_afterwards(database: Database) -> None:
    """It sees what was committed, and is not called for what was rolled back."""
    seen: list[list[str]] = []

    def look() -> None:
        with database.read() as connection:
            seen.append(list(connection.scalars(text("SELECT name FROM maintenance_leases"))))

    with database.write() as connection:
        database.after_commit(connection, look)
        connection.execute(INSERT, {"name": "kept"})
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        database.after_commit(connection, look)
        connection.execute(INSERT, {"name": "lost"})
        1 / 0  # noqa: B018
    assert seen == [["kept"]]
