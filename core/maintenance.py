"""Periodic work: what is expired is deleted, in small batches that hold up nobody.

Owns when it runs and that one process at a time does; the parts own what there is to delete.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, String
from sqlalchemy.orm import Mapped, mapped_column

from core.database import PURGE_BATCH, Base, Database, insert, purge
from core.limits import EPOCH, LimitCounter
from core.metrics import Metrics

log = structlog.get_logger()

#: Deletes one batch as of a moment and gives the number of rows.
Job = Callable[[Connection, datetime], int]
LEASE = timedelta(minutes=5)


class MaintenanceLease(Base):
    """One row: until when some process is doing the periodic work."""

    __tablename__ = "maintenance_leases"
    __table_args__ = {"info": {"shard_by": "name"}}  # noqa: RUF012

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    until: Mapped[datetime] = mapped_column()


def purge_limits(connection: Connection, now: datetime) -> int:
    """Delete a batch of limit counters that no longer limit anything."""
    return purge(
        connection, LimitCounter, LimitCounter.until_us < (now - EPOCH) // timedelta(microseconds=1)
    )


class Maintenance:
    """Runs the jobs, once on demand or for ever beside the server."""

    def __init__(self, database: Database, clock: Callable[[], datetime], metrics: Metrics) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._jobs: dict[str, Job] = {"limits": purge_limits}
        self._pause = threading.Event()

    def add(self, name: str, job: Job) -> None:
        """Register a job of a part."""
        self._jobs[name] = job

    def run(self) -> dict[str, int] | None:
        """Do all the work there is; give the rows deleted a job, None if another process is at it."""
        if not self._take_lease(LEASE):
            return None
        try:
            deleted = {name: self._finish(name, job) for name, job in self._jobs.items()}
        finally:
            self._take_lease(timedelta(0), mine=True)
        log.info("maintenance.done", **deleted)
        return deleted

    def _finish(self, name: str, job: Job) -> int:
        total = 0
        while True:
            with self._database.write() as connection:
                rows = job(connection, self._clock())
            total += rows
            self._metrics.purged.labels(name).inc(rows)
            if rows < PURGE_BATCH:
                return total
            # Between batches the others get the write lock, and a long purge keeps its lease.
            self._take_lease(LEASE, mine=True)
            self._pause.wait(0.05)

    def _take_lease(self, length: timedelta, *, mine: bool = False) -> bool:
        now = self._clock()
        with self._database.write() as connection:
            taken = connection.execute(
                insert(connection, MaintenanceLease)
                .values(name="purge", until=now + length)
                .on_conflict_do_update(
                    index_elements=["name"],
                    set_={"until": now + length},
                    where=None if mine else MaintenanceLease.until <= now,
                )
                .returning(MaintenanceLease.name)
            ).one_or_none()
        return taken is not None

    def start(self, interval: float) -> None:
        """Run in a background thread (a greenlet under gevent) every `interval` seconds."""
        thread = threading.Thread(
            target=self._run_for_ever, args=(interval,), name="maintenance", daemon=True
        )
        thread.start()

    def _run_for_ever(self, interval: float) -> None:
        while not self._pause.wait(interval):
            try:
                self.run()
            except Exception as error:
                # The thread must outlive whatever it was, or nothing is ever deleted again.
                log.error("maintenance.failed", exc_info=error)
