"""The thread that does the periodic work inside the server."""

import threading
from typing import Any

from core.database import Database
from core.maintenance import Job, Maintenance
from core.metrics import Metrics
from tests.conftest import Clock


def test_it_runs_again_and_again_and_outlives_a_failure(database: Database, clock: Clock) -> None:
    """A job that raises is logged, and the next run comes all the same."""
    runs = threading.Semaphore(0)

    def job(connection: Any, now: Any) -> int:
        runs.release()
        raise ZeroDivisionError

    maintenance = Maintenance(database, clock, Metrics(), [Job("broken", job)])
    maintenance.start(0.01)
    try:
        assert all(runs.acquire(timeout=30) for _ in range(3))
    finally:
        maintenance.stop()
    assert not any(thread.name == "maintenance" for thread in threading.enumerate())
