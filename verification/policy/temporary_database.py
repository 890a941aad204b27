"""A temporary database with the tables of counters, for replays and simulations."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, event

from core.database import Base, Database, table
from core.rate_limit_statements import RateLimitCounter
from verification.policy.models import NetworkCountry, Traffic

COUNTER_TABLES = [table(model) for model in (RateLimitCounter, Traffic, NetworkCountry)]


@contextmanager
def temporary_database() -> Iterator[Connection]:
    """Yield a connection to a database that is deleted afterwards."""
    with TemporaryDirectory(prefix="kith-replay-") as directory:
        database = Database(f"sqlite:///{Path(directory) / 'replay.db'}")
        event.listen(database.engine, "connect", _relax)
        Base.metadata.create_all(database.engine, tables=COUNTER_TABLES)
        try:
            with database.engine.connect() as connection:
                yield connection
        finally:
            database.close()


def _relax(connection: Any, _: Any) -> None:
    # The file does not outlive the process, so nothing needs to reach the disk.
    for pragma in (
        "synchronous = OFF",
        "cache_size = -65536",
        "locking_mode = EXCLUSIVE",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
