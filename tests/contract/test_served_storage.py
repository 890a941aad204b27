"""The reserve of the disk in a worker as it is served, which takes it once it answers."""

from pathlib import Path

import httpx

from tests.databases import fresh_database_url
from tests.postgresql import wait_until
from tests.server import running_server


def test_a_worker_keeps_a_reserve(tmp_path: Path) -> None:
    """Its blocks are allocated beside the database; `/readyz` says that all is well."""
    environment = {
        "KITH_DATA_DIR": str(tmp_path),
        "KITH_DATABASE_URL": fresh_database_url("sqlite", tmp_path),
        "KITH_STORAGE_RESERVE_BYTES": str(2**20),
    }
    reserve = tmp_path / "kith.db.reserve"
    with running_server(environment, tmp_path / "log") as server:
        wait_until(reserve.exists)
        assert reserve.stat().st_blocks * 512 >= 2**20
        ready = httpx.get(f"{server.base_url}/readyz").json()
        assert ready == {"status": "ok", "storage": "ok"}
