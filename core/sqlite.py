"""Connections to SQLite: a write-ahead log, and commits that do not block the event loop."""

import sqlite3
from pathlib import Path
from typing import Any, cast

import gevent.hub
from gevent import monkey
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from core.private_files import private_database, private_directory

BUSY_SECONDS = 30


class _Connection(sqlite3.Connection):
    """A connection that commits in a thread, so that waiting for the disk does not block gevent's loop."""

    def commit(self) -> None:
        if monkey.is_module_patched("threading"):
            gevent.hub.get_hub().threadpool.apply(super().commit)
        else:
            super().commit()


def make_engine(url: URL) -> Engine:
    """Return the engine of an SQLite database; create its file and directory."""
    if url.database:
        path = Path(url.database)
        if not path.parent.is_dir():
            private_directory(path.parent)
        private_database(path)
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args={
            "timeout": BUSY_SECONDS,
            "check_same_thread": False,
            "factory": _Connection,
        },
        pool_size=20,
        max_overflow=80,
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, _: Any) -> None:
    # isolation_level None: the driver begins no transactions; _begin does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    # 16 MB of log between checkpoints: pages that change often are then written back less often.
    cursor.execute("PRAGMA wal_autocheckpoint = 4000")
    cursor.close()


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("kith_read"):
        return
    try:
        # On the driver's connection: five times cheaper than a statement of SQLAlchemy's.
        cast(Any, connection.connection.dbapi_connection).execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        # SQLAlchemy does not wrap what an event handler raises.
        raise DBAPIError.instance(None, None, error, sqlite3.Error) from error
