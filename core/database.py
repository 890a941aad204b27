"""The database: engine, transactions and column types, the same on SQLite and PostgreSQL.

Owns how a transaction begins and what a commit guarantees. Refuses any other database.
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


def confirm(connection: Connection) -> None:
    """Have the commit of this transaction wait for all that it has seen, though it may change nothing.

    What an earlier commit did that was not confirmed is seen like everything else. Whoever answers for it has
    to wait until the standbys have it too, as that commit would have.
    """
    if dialect_of(connection) == "postgresql":
        # The cheapest that has a place in the log: a transaction without one does not wait.
        connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'kith', '')")


class Database:
    """Gives out transactions.

    `write()` takes SQLite's one write lock at its start, so what it read is still true when it writes.
    Writers of one process queue for it here, because whoever waits in SQLite holds up gevent's loop.
    `read()` never waits for it. Nothing inside either may call the network or hash a PIN. Both give
    connections and not ORM sessions: a unit of work would cost more than the statements it saves.
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
        """Connect when first used.

        prepare: whether PostgreSQL prepares statements; None: unless a pooler is in between.
        reserve: bytes of SQLite's disk that are kept to drain. timeouts: PostgreSQL's time-outs;
        None: none. storage: what is known of the room there is, if not found out here.
        """
        self.url = postgresql_connections.read_url(url)
        #: What it was made with, for processes that connect as this one does.
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
        # Reads need no transaction: each is one statement, which sees one moment by itself.
        self._reader = self.engine.execution_options(
            kith_read=True,
            **({} if self.dialect == "sqlite" else {"isolation_level": "AUTOCOMMIT"}),
        )

    @contextmanager
    def write(self, *, adds: bool = False) -> Iterator[Connection]:
        """One transaction that may change things: committed at the end, rolled back on a raise.

        adds: it only adds, so it is refused while only the reserve of the disk is left. What deletes,
        acknowledges, counts or ends something that was begun is not.

        Raises StorageFull, and OutcomeUnknown when the commit was not confirmed.
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
                    # What went to the driver past SQLAlchemy (`core/bulk.py`) it has not heard of.
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
