"""Periodic work: what is expired is deleted, in small batches that hold up nobody.

A lease in the database lets one process at a time run the jobs, which the parts declare.
"""

import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, String
from sqlalchemy.orm import Mapped, mapped_column

from core.database import PURGE_BATCH, Base, Database, insert
from core.database_errors import log_fields
from core.metrics import Metrics
from core.rate_limits import purge_expired

log = structlog.get_logger()


class Job(NamedTuple):
    """Periodic work: `run` deletes one batch of what is expired at a time and returns the number of rows.

    While it deletes as many rows as `batch`, there may be more. None: as `core.database.purge` does.
    """

    name: str
    run: Callable[[Connection, datetime], int]
    batch: int | None = None


LEASE = timedelta(minutes=5)
#: Seconds between two batches of a job.
PAUSE = 0.05


class MaintenanceLease(Base):
    """One row: until when some process is doing the periodic work."""

    __tablename__ = "maintenance_leases"
    __table_args__ = {"info": {"shard_by": "name"}}

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    until: Mapped[datetime] = mapped_column()


class Maintenance:
    """Runs the jobs, once on demand, or repeatedly beside the server."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        metrics: Metrics,
        jobs: Iterable[Job],
    ) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._jobs = (Job("limits", purge_expired), *jobs)
        self._stopped = threading.Event()

    def run(self) -> dict[str, int] | None:
        """Do all the work there is; return the rows deleted a job, None if another process is at it."""
        lease = self._lease(LEASE)
        if lease is None:
            return None
        deleted = dict.fromkeys((job.name for job in self._jobs), 0)
        try:
            for job in self._jobs:
                batch = job.batch or PURGE_BATCH
                while lease is not None and self._batch(job, deleted) >= batch:
                    # Between batches others get the write lock, and a long purge keeps its lease.
                    self._stopped.wait(PAUSE)
                    lease = self._lease(LEASE, held=lease)
        finally:
            if lease is not None:
                self._lease(timedelta(0), held=lease)
        log.info("maintenance.done", **deleted)
        return deleted

    def _batch(self, job: Job, deleted: dict[str, int]) -> int:
        with self._database.write() as connection:
            rows = job.run(connection, self._clock())
        deleted[job.name] += rows
        self._metrics.purged.labels(job.name).inc(rows)
        return rows

    def _lease(self, length: timedelta, *, held: datetime | None = None) -> datetime | None:
        """Take the lease when it is free, or prolong the one `held`; return its end, None if it is gone.

        Its end identifies it: a process that took it over has written another end.
        """
        now = self._clock()
        until = now + length
        free = MaintenanceLease.until <= now
        with self._database.write() as connection:
            taken = connection.execute(
                insert(connection, MaintenanceLease)
                .values(name="purge", until=until)
                .on_conflict_do_update(
                    index_elements=["name"],
                    set_={"until": until},
                    where=free if held is None else MaintenanceLease.until == held,
                )
                .returning(MaintenanceLease.until)
            ).one_or_none()
        return None if taken is None else until

    def start(self, interval: float) -> None:
        """Run in a background thread (a greenlet under gevent) every `interval` seconds."""
        self._thread = threading.Thread(
            target=self._run_for_ever, args=(interval,), name="maintenance", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the background thread after the batch it is at."""
        self._stopped.set()
        self._thread.join()

    def _run_for_ever(self, interval: float) -> None:
        while not self._stopped.wait(interval):
            try:
                self.run()
            except Exception as error:
                # The thread must outlive whatever it was, or nothing is ever deleted again.
                log.error("maintenance.failed", **log_fields(error))
