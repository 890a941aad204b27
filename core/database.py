"""The database: engine, transactions and column types, the same on SQLite and PostgreSQL.

sqlite.py and postgresql.py make the connections.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

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
    delete,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as DatabaseBusy
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.elements import ColumnElement

from core import postgresql as postgresql_connections
from core import sqlite as sqlite_connections
from core.database_errors import (
    NO_ROOM,
    STORAGE_RETRY,
    UNKNOWN_RETRY,
    is_commit_uncertain,
    is_full,
    is_gone,
)
from core.postgresql import Timeouts
from core.problems import OutcomeUnknown, StorageFull
from core.storage import DiskReserve, RemoteStorage, Storage

Model = TypeVar("Model", bound="Base")
SQLITE_BUSY_SECONDS = sqlite_connections.BUSY_SECONDS
PURGE_BATCH = 1000
TIMEOUTS = Timeouts()


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite stores it as text that sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC. Raises ValueError for a naive datetime: its meaning depends on the host."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value in UTC, whatever the connection's time zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all tables; `info={"shard_by": column}` names the column that a table is distributed by."""

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
    """Return the table of a model, typed."""
    return cast(Table, model.__table__)


def dialect_of(connection: Connection) -> str:
    """Return the name of a connection's dialect."""
    return connection.dialect.name


def insert_into(dialect: str, model: type[Base]) -> postgresql.Insert:
    """Return an INSERT that supports ON CONFLICT; both dialects share its interface.

    It bypasses the ORM's unit of work, which costs more than the INSERT. On a hot path, build a statement
    once: building costs more than running.
    """
    if dialect == "sqlite":
        return cast(postgresql.Insert, sqlite.insert(table(model)))
    return postgresql.insert(table(model))


def insert(connection: Connection, model: type[Base]) -> postgresql.Insert:
    """Return an INSERT in the dialect of a connection."""
    return insert_into(dialect_of(connection), model)


def find(
    connection: Connection, model: type[Model], *where: ColumnElement[bool], lock: bool = False
) -> Model | None:
    """Return one row, typed by its model; `lock` locks it until the transaction ends.

    Rows are plain values, not tracked objects.
    """
    statement = select(*table(model).columns).where(*where)
    row = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    return cast(Model | None, row)


def find_all(connection: Connection, model: type[Model], statement: Select[Any]) -> list[Model]:
    """Return the rows of a statement that selects all columns of a model."""
    return cast(list[Model], list(connection.execute(statement)))


def purge(connection: Connection, model: type[Base], condition: ColumnElement[bool]) -> int:
    """Delete one batch of the rows that match a condition; return how many."""
    key = table(model).primary_key.columns
    batch = select(*key).where(condition).limit(PURGE_BATCH)
    if connection.dialect.name == "postgresql":
        batch = batch.with_for_update(skip_locked=True)
    statement = delete(model).where(tuple_(*key).in_(batch))
    result = connection.execute(statement)
    return int(cast(Any, result).rowcount)


def confirm(connection: Connection) -> None:
    """Make the commit of this transaction wait until the standbys have everything that it read.

    A transaction also sees earlier commits that are unconfirmed. The standbys must have them before a client
    gets an answer that depends on them.
    """
    if dialect_of(connection) == "postgresql":
        # The cheapest log record: a transaction without one does not wait.
        connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'kith', '')")


class Database:
    """Opens transactions.

    `write()` takes SQLite's write lock at its start, so what it reads still holds when it writes. Writers of
    one process queue for the lock here: waiting inside SQLite blocks gevent's loop. `read()` never waits.
    Do not call the network or hash a PIN inside either. Both yield connections, not ORM sessions: a unit of
    work costs more than the statements it saves.
    """

    def __init__(
        self,
        url: str,
        *,
        prepare: bool | None = None,
        reserve: int = 0,
        timeouts: Timeouts | None = TIMEOUTS,
        storage: Storage | None = None,
    ) -> None:
        """Set up the engine, which connects at first use.

        prepare: whether PostgreSQL prepares statements; None: unless a pooler is in between.
        reserve: bytes of SQLite's disk that stay free for deletions. timeouts: of PostgreSQL; None for
        none. storage: the state of the disk, for tests.
        """
        self.url = postgresql_connections.read_url(url)
        #: For processes that connect in the same way.
        self.prepare = prepare
        self.dialect = self.url.get_backend_name()
        self._writing = threading.Lock()
        self._afterwards: dict[Connection, list[Callable[[], None]]] = {}
        if self.dialect == "sqlite":
            self.engine = sqlite_connections.make_engine(self.url)
            path = Path(self.url.database or "memory")
            self.storage = storage or DiskReserve(path.with_name(f"{path.name}.reserve"), reserve)
        elif self.dialect == "postgresql":
            self.engine = postgresql_connections.make_engine(
                self.url, prepare=prepare, timeouts=timeouts
            )
            self.storage = storage or RemoteStorage()
        else:
            raise ValueError(
                f"KITH_DATABASE_URL names {self.dialect!r}; Kith runs on sqlite and postgresql"
            )
        # Reads need no transaction: each is one statement, with its own snapshot.
        self._reader = self.engine.execution_options(
            kith_read=True,
            **({} if self.dialect == "sqlite" else {"isolation_level": "AUTOCOMMIT"}),
        )

    @contextmanager
    def write(self, *, adds: bool = False) -> Iterator[Connection]:
        """Open a read-write transaction; commit at the end, roll back on an exception.

        adds: the transaction only adds rows. It is refused while only the disk's reserve is left; others
        go on, such as those that delete, acknowledge, count or finish something.

        Raises StorageFull, and OutcomeUnknown if the commit was not confirmed.
        """
        if adds and self.storage.low():
            raise StorageFull(NO_ROOM, retry_after=STORAGE_RETRY)
        calls: list[Callable[[], None]] = []
        committing = False
        try:
            with self._turn(), self.engine.begin() as connection:
                self._afterwards[connection] = calls
                try:
                    if self.dialect == "postgresql":
                        postgresql_connections.bound_transaction(connection)
                    yield connection
                except DBAPIError as error:
                    # SQLAlchemy does not see direct driver calls (core/bulk.py).
                    if is_gone(error) and not connection.invalidated:
                        connection.invalidate()
                    raise
                finally:
                    del self._afterwards[connection]
                committing = True
        except DBAPIError as error:
            if is_full(error):
                self.storage.note_full()
                raise StorageFull(NO_ROOM, retry_after=STORAGE_RETRY) from error
            if committing and is_commit_uncertain(error):
                raise OutcomeUnknown(
                    "The database did not confirm it in time: it may be done. Repeat the request with"
                    " the same Idempotency-Key or client_id, which does it once.",
                    retry_after=UNKNOWN_RETRY,
                ) from error
            raise
        for call in calls:
            call()

    def after_commit(self, connection: Connection, call: Callable[[], None]) -> None:
        """Register a call for after the commit; it is dropped on a rollback."""
        self._afterwards[connection].append(call)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for SQLite's write lock; PostgreSQL has none."""
        if self.dialect != "sqlite":
            yield
            return
        if not self._writing.acquire(timeout=SQLITE_BUSY_SECONDS):
            raise DatabaseBusy("timed out waiting for the write lock")
        try:
            yield
        finally:
            self._writing.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read-only connection; each statement sees the commits before it."""
        with self._reader.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
