"""A database of its own for counters, which is thrown away: what replaying and simulating count in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, event

from core.database import Base, Database, table
from core.rate_limit_statements import RateLimitCounter
from verification.policy.models import NetworkCountry, Traffic

SCRATCH_TABLES = [table(model) for model in (RateLimitCounter, Traffic, NetworkCountry)]


@contextmanager
def scratch() -> Iterator[Connection]:
    """Give a connection to a database of its own that is thrown away, with the counters' tables."""
    with TemporaryDirectory(prefix="kith-replay-") as directory:
        database = Database(f"sqlite:///{Path(directory) / 'replay.db'}")
        event.listen(database.engine, "connect", _relax)
        Base.metadata.create_all(database.engine, tables=SCRATCH_TABLES)
        try:
            with database.engine.connect() as connection:
                yield connection
        finally:
            database.close()


def _relax(connection: Any, _: Any) -> None:
    # Nothing in it outlives the process, so nothing needs to reach the disk.
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA temp_store = MEMORY")
