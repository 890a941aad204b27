"""The background thread that keeps a worker's snapshots current and takes the steps of an epoch rotation."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from core.database import Database
from core.database_errors import log_fields
from discovery import epochs
from discovery.directory import Directory
from discovery.epochs import Rotation

log = structlog.get_logger()

#: Between two rounds, unless a lookup wants a snapshot.
INTERVAL_SECONDS = 10.0
#: After a failure; lookups would otherwise cause retries at their own rate.
RETRY_SECONDS = 5.0
#: Before the next step of a rotation that has to wait.
ROTATION_PAUSE_SECONDS = 0.2


@dataclass
class DirectoryUpdater:
    """Updates snapshots and epochs in a thread (a greenlet under gevent)."""

    database: Database
    clock: Callable[[], datetime]
    directory: Directory
    rotation: Rotation
    epoch_days: int
    retry_seconds: float = RETRY_SECONDS
    _stopped: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="discovery", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread after its current step."""
        self._stopped.set()
        self.directory.wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.update()
            except Exception as error:
                # The thread outlives any failure; the table answers meanwhile.
                if isinstance(error, subprocess.CalledProcessError):
                    log.error("snapshot.failed", error=error.stderr[-2000:])
                else:
                    log.error("discovery.failed", **log_fields(error))
                self._stopped.wait(self.retry_seconds)
            self.directory.wanted.wait(INTERVAL_SECONDS)
            self.directory.wanted.clear()

    def update(self) -> None:
        """Run one round."""
        now = self.clock()
        with self.database.read() as connection:
            known = epochs.read(connection)
        kept = [epoch for epoch in known if epoch.answers(now) or epoch.state == "filled"]
        for epoch in kept:
            self.directory.update_snapshot(epoch)
            self.directory.catch_up(epoch)
        self.directory.drop_all_but(kept)
        if self.database.storage.low():
            return
        newest = epochs.current(known)
        if newest and self.epoch_days and now - newest.created_at >= timedelta(self.epoch_days):
            self.rotation.announce()
        for _ in self.rotate():
            if self._stopped.is_set():
                return

    def rotate(self) -> Iterator[float]:
        """Take the steps of a pending rotation of any process; yield how much is filled, 0 to 1."""
        while (pending := self.rotation.pending()) and pending.state == "announced":
            if not self.rotation.fill():
                self._stopped.wait(ROTATION_PAUSE_SECONDS)
            yield pending.filled
        if pending:
            # Before the epoch answers, so that this host never answers it from the table.
            self.directory.update_snapshot(pending)
            self.rotation.open()
