"""The database: engine, transactions and column types, the same on SQLite and PostgreSQL.

Owns how a transaction begins and what a commit guarantees. Refuses any other database.
"""

from collections.abc import Iterator
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
    create_engine,
    delete,
    event,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
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


class Database:
    """Gives out transactions.

    `write()` takes SQLite's one write lock at its start, so what it read is still true when it writes;
    `read()` never waits for it. Nothing inside either may call the network or hash a PIN. Both give
    connections and not ORM sessions: a unit of work would cost more than the statements it saves.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.dialect = self.url.get_backend_name()
        if self.dialect == "sqlite":
            if self.url.database:
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(
                self.url,
                hide_parameters=True,
                connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False},
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
        self._relaxed = self.engine.execution_options(kith_relaxed=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may change things: committed at the end, rolled back on a raise."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write_soon(self) -> Iterator[Connection]:
        """One transaction as `write()`, whose commit does not wait for the disk.

        Nothing but a power cut loses it, and then only if it was of the last moment; what it belongs to
        stays whole. For counts that may be lost so, and are waited for by everybody.
        """
        with self._relaxed.connect() as connection:
            try:
                with connection.begin():
                    if self.dialect == "postgresql":
                        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                    yield connection
            finally:
                if self.dialect == "sqlite":
                    _driver(connection).execute("PRAGMA synchronous = FULL")

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
    options = connection.get_execution_options()
    if options.get("kith_read"):
        return
    # On the driver's connection: five times cheaper than a statement of SQLAlchemy's.
    driver = _driver(connection)
    if options.get("kith_relaxed"):
        driver.execute("PRAGMA synchronous = NORMAL")
    driver.execute("BEGIN IMMEDIATE")


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection
