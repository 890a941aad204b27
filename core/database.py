"""The database: engine, transactions and column types, the same on SQLite and PostgreSQL.

Owns how a transaction begins and what a commit guarantees. Refuses any other database.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

import gevent.hub
from gevent import monkey
from sqlalchemy import (
    Connection,
    DateTime,
    Dialect,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    TypeDecorator,
    Uuid,
    create_engine,
    delete,
    event,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import TimeoutError as DatabaseBusy
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.elements import ColumnElement

Model = TypeVar("Model", bound="Base")
SQLITE_BUSY_SECONDS = 30
PURGE_BATCH = 1000


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite keeps it as text that sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive datetimes, which would silently mean another time on another host."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back UTC whatever the connection's time zone is."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables; `info={"shard_by": column}` names what a table is distributed by."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: UtcDateTime(),
        UUID: Uuid(),
        bytes: LargeBinary(),
        str: String(),
    }


def table(model: type[Base]) -> Table:
    """Give the table of a model, typed."""
    return cast(Table, model.__table__)


def dialect_of(connection: Connection) -> str:
    """Name the dialect that a connection speaks."""
    return connection.dialect.name


def insert_into(dialect: str, model: type[Base]) -> postgresql.Insert:
    """Start an INSERT that knows ON CONFLICT; both dialects share its interface.

    It goes to the table, past the ORM's unit of work, which would cost more than the INSERT. A statement
    on a hot path is built once and kept: building it costs more than running it.
    """
    if dialect == "sqlite":
        return cast(postgresql.Insert, sqlite.insert(table(model)))
    return postgresql.insert(table(model))


def insert(connection: Connection, model: type[Base]) -> postgresql.Insert:
    """Start an INSERT in the dialect of a connection."""
    return insert_into(dialect_of(connection), model)


def find(
    connection: Connection, model: type[Model], *where: ColumnElement[bool], lock: bool = False
) -> Model | None:
    """Read one row, typed by its model; `lock` holds it to the end of the transaction.

    Rows are values: they are not tracked and cannot be changed.
    """
    statement = select(*table(model).columns).where(*where)
    row = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    return cast(Model | None, row)


def find_all(connection: Connection, model: type[Model], statement: Select[Any]) -> list[Model]:
    """Read the rows of a statement that selects all columns of a model, typed by it."""
    return cast(list[Model], list(connection.execute(statement)))


def purge(connection: Connection, model: type[Base], condition: ColumnElement[bool]) -> int:
    """Delete one batch of the rows that a condition names; give their number."""
    key = table(model).primary_key.columns
    batch = select(*key).where(condition).limit(PURGE_BATCH)
    if connection.dialect.name == "postgresql":
        batch = batch.with_for_update(skip_locked=True)
    statement = delete(model).where(tuple_(*key).in_(batch))
    result = connection.execute(statement)
    return int(cast(Any, result).rowcount)


class _Connection(sqlite3.Connection):
    """A connection to SQLite whose commits wait for the disk in a thread, so that gevent's loop goes on."""

    def commit(self) -> None:
        if monkey.is_module_patched("threading"):
            gevent.hub.get_hub().threadpool.apply(super().commit)
        else:
            super().commit()


class Database:
    """Gives out transactions.

    `write()` takes SQLite's one write lock at its start, so what it read is still true when it writes.
    Writers of one process queue for it here, because whoever waits in SQLite holds up gevent's loop.
    `read()` never waits for it. Nothing inside either may call the network or hash a PIN. Both give
    connections and not ORM sessions: a unit of work would cost more than the statements it saves.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.dialect = self.url.get_backend_name()
        self._writing = threading.Lock()
        self._afterwards: dict[Connection, list[Callable[[], None]]] = {}
        if self.dialect == "sqlite":
            if self.url.database:
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(
                self.url,
                hide_parameters=True,
                connect_args={
                    "timeout": SQLITE_BUSY_SECONDS,
                    "check_same_thread": False,
                    "factory": _Connection,
                },
                pool_size=20,
                max_overflow=80,
            )
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        elif self.dialect == "postgresql":
            self.engine = create_engine(
                self.url.set(drivername="postgresql+psycopg"),
                hide_parameters=True,
                pool_size=20,
                max_overflow=20,
                pool_timeout=10,
                pool_recycle=1800,
                connect_args={
                    "connect_timeout": 5,
                    "options": "-c statement_timeout=15000 -c lock_timeout=10000",
                },
            )
        else:
            raise ValueError(
                f"KITH_DATABASE_URL names {self.dialect!r}; Kith runs on sqlite and postgresql"
            )
        # Reads need no transaction: each is one statement, which sees one moment by itself.
        self._reader = self.engine.execution_options(
            kith_read=True,
            **({} if self.dialect == "sqlite" else {"isolation_level": "AUTOCOMMIT"}),
        )

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may change things: committed at the end, rolled back on a raise."""
        calls: list[Callable[[], None]] = []
        with self._turn(), self.engine.begin() as connection:
            self._afterwards[connection] = calls
            try:
                yield connection
            finally:
                del self._afterwards[connection]
        for call in calls:
            call()

    def afterwards(self, connection: Connection, call: Callable[[], None]) -> None:
        """Have something called once the transaction is committed, and never if it is rolled back."""
        self._afterwards[connection].append(call)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for one's turn to write, which on PostgreSQL everybody has."""
        if self.dialect != "sqlite":
            yield
            return
        if not self._writing.acquire(timeout=SQLITE_BUSY_SECONDS):
            raise DatabaseBusy("others write for too long")
        try:
            yield
        finally:
            self._writing.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that only looks; each statement sees what is committed when it runs."""
        with self._reader.connect() as connection:
            yield connection

    def close(self) -> None:
        """Let every connection go."""
        self.engine.dispose()


def _configure_sqlite(connection: Any, _: Any) -> None:
    # isolation_level None: the driver begins nothing by itself, _begin_sqlite does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    # 16 MB of log between checkpoints: pages that change often are then written back less often.
    cursor.execute("PRAGMA wal_autocheckpoint = 4000")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    if not connection.get_execution_options().get("kith_read"):
        # On the driver's connection: five times cheaper than a statement of SQLAlchemy's.
        cast(Any, connection.connection.dbapi_connection).execute("BEGIN IMMEDIATE")
