"""The directory as a worker answers from it: its replicas where they are whole, else the table.

Owns the replicas of this process and keeps them: a snapshot that is missing, unusable, too old or far
behind the log is built in another process and swapped in; the table answers meanwhile. Refuses to
answer from a snapshot before every block of it was checked and its log was found to be this database's.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import structlog
from sqlalchemy import Connection

from core.database import Database
from core.database_errors import told
from discovery import changes, entries, epochs
from discovery.epochs import Epoch, Rotation
from discovery.hashes import WORDS, Words, sorting
from discovery.index import RECORD_WORDS, DigestIndex
from discovery.metrics import DiscoveryMetrics
from discovery.replica import Matches, Replica
from discovery.snapshot import FILTER_SUFFIX, SUFFIX, Snapshot, SnapshotUnusable, file_identity
from discovery.snapshot_builder import BuildRequest, build_apart, snapshot_path

log = structlog.get_logger()

#: A snapshot is made anew after so many changes: a fiftieth of it, within these bounds.
MIN_CHANGES, MAX_CHANGES = 10_000, 100_000
#: And at this age, long before the log forgets its anchor.
MAX_SNAPSHOT_AGE = timedelta(days=1)
#: Seconds between two looks at what is to be kept when nothing asks for it.
UPDATE_INTERVAL_SECONDS = 10.0
#: Seconds after which what failed is tried again.
RETRY_SECONDS = 5.0
#: Seconds that a rotation waits before it tries its next step again.
ROTATION_PAUSE_SECONDS = 0.2


class Directory:
    """Finds digests, and keeps what they are found in."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        metrics: DiscoveryMetrics,
        place: Path,
        build: Callable[[Database, BuildRequest], object] = build_apart,
        with_filter: bool = False,
    ) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._place = place
        self._build = build
        self._with_filter = with_filter
        self._replicas: dict[int, Replica] = {}
        self._wanted = threading.Event()

    def match(self, connection: Connection, epoch: Epoch, digests: Words) -> Matches:
        """Find sorted digests (n × 4 words, each once) as of a moment after this call began."""
        replica = self._replicas.get(epoch.number)
        if replica is not None and self._refresh(connection, epoch.number, replica):
            self._metrics.pages.labels("snapshot").inc()
            return replica.find(digests)
        self._wanted.set()
        self._metrics.pages.labels("table").inc()
        return _match_table(connection, epoch.number, digests)

    def _refresh(self, connection: Connection, number: int, replica: Replica) -> bool:
        tail = changes.read_changes(connection, number, replica.history, replica.position)
        if not tail.complete:
            # Only this one: another thread may have put a newer one in its place.
            if self._replicas.get(number) is replica:
                del self._replicas[number]
            return False
        replica.absorb(tail)
        if _outgrown(replica):
            self._wanted.set()
        return True

    def adopt(self, epoch: Epoch) -> bool:
        """Take over the snapshot of an epoch if there is another one than before; say whether.

        Raises SnapshotUnusable.
        """
        path = snapshot_path(self._place, epoch.id)
        before = self._replicas.get(epoch.number)
        try:
            if before is not None and file_identity(path) == before.snapshot.identity:
                return False
            replica = Replica(self._open(path, epoch))
        except SnapshotUnusable as unusable:
            self._metrics.snapshots.labels(unusable.reason).inc()
            if unusable.reason != "missing":
                log.warning("snapshot.unusable", epoch=epoch.id, reason=unusable.reason)
            raise
        with self._database.read() as connection:
            if not self._refresh(connection, epoch.number, replica):
                raise SnapshotUnusable("foreign")
        self._replicas[epoch.number] = replica
        self._metrics.snapshots.labels("adopted").inc()
        return True

    def _open(self, path: Path, epoch: Epoch) -> Snapshot:
        snapshot = Snapshot.open(path, epoch.id)
        for _ in snapshot.verify():
            # Lookups are answered between two blocks.
            time.sleep(0)
        with self._database.read() as connection:
            if not changes.holds(connection, snapshot.contents.anchor):
                raise SnapshotUnusable("foreign")
        return snapshot

    def keep_snapshot(self, epoch: Epoch) -> None:
        """See to it that there is a good snapshot of an epoch, and that it is the one in use."""
        try:
            # Another worker of the host, or the operator, may have built one.
            taken, usable = self.adopt(epoch), True
        except SnapshotUnusable:
            taken = usable = False
        replica = self._replicas.get(epoch.number)
        if taken or (usable and replica and not _outgrown(replica) and not self._old(replica)):
            return
        if self._database.storage.low():
            # The table answers; a file of everybody is not what the last of the room is kept for.
            return
        self._build(self._database, self.order(epoch))
        self._metrics.snapshots.labels("built").inc()
        self.adopt(epoch)

    def order(self, epoch: Epoch) -> BuildRequest:
        """BuildRequest a snapshot of an epoch that is newer than the one in use."""
        replica = self._replicas.get(epoch.number)
        replaces = 0 if replica is None else replica.snapshot.contents.anchor.seq
        return BuildRequest(str(self._place), epoch.id, epoch.number, replaces, self._with_filter)

    def _old(self, replica: Replica) -> bool:
        age = self._clock().timestamp() - replica.snapshot.contents.built_at
        return age >= MAX_SNAPSHOT_AGE.total_seconds()

    def catch_up(self, epoch: Epoch) -> None:
        """Read what changed, so that the next lookup has less to read."""
        replica = self._replicas.get(epoch.number)
        if replica is not None:
            with self._database.read() as connection:
                self._refresh(connection, epoch.number, replica)

    def forget_all_but(self, kept: Sequence[Epoch]) -> None:
        """Let go of epochs that are over, and of their files."""
        for number in self._replicas.keys() - {epoch.number for epoch in kept}:
            self._replicas.pop(number, None)
        ids = {epoch.id for epoch in kept}
        for path in self._place.iterdir() if self._place.exists() else ():
            # The rest of a name is the suffix, and of a filter its snapshot's number.
            if path.suffix in (SUFFIX, FILTER_SUFFIX) and path.name.partition(".")[0] not in ids:
                path.unlink(missing_ok=True)

    def wake(self) -> None:
        """End the wait of whoever awaits a need."""
        self._wanted.set()

    def await_need(self, seconds: float) -> None:
        """Wait until a lookup missed a snapshot or found it outgrown, or the time is over."""
        self._wanted.wait(seconds)
        self._wanted.clear()


class DirectoryUpdater:
    """Looks after the directory in a thread beside the server: snapshots, and the next epoch's steps."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        directory: Directory,
        rotation: Rotation,
        epoch_days: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._directory = directory
        self._rotation = rotation
        self._epoch_days = epoch_days
        self._stopped = threading.Event()

    def start(self) -> None:
        """Look after it in a background thread (a greenlet under gevent)."""
        self._thread = threading.Thread(target=self._run_for_ever, name="discovery", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the background thread after what it is at."""
        self._stopped.set()
        self._directory.wake()
        self._thread.join()

    def _run_for_ever(self) -> None:
        while not self._stopped.is_set():
            try:
                self.keep()
            except Exception as error:
                # The thread must outlive whatever it was; the table answers meanwhile.
                if isinstance(error, subprocess.CalledProcessError):
                    log.error("snapshot.failed", error=error.stderr[-2000:])
                else:
                    log.error("discovery.failed", **told(error))
                # Lookups ask for a snapshot all the while; what fails is not tried at their pace.
                self._stopped.wait(RETRY_SECONDS)
            self._directory.await_need(UPDATE_INTERVAL_SECONDS)

    def keep(self) -> None:
        """Do what there is to do now."""
        now = self._clock()
        with self._database.read() as connection:
            known = epochs.read(connection)
        kept = [e for e in known if e.answers(now) or e.state == "filled"]
        for epoch in kept:
            self._directory.keep_snapshot(epoch)
            self._directory.catch_up(epoch)
        self._directory.forget_all_but(kept)
        if self._database.storage.low():
            return
        newest = epochs.current(known)
        if newest and self._epoch_days and now - newest.created_at >= timedelta(self._epoch_days):
            self._rotation.announce()
        for _ in self.steps():
            if self._stopped.is_set():
                return

    def steps(self) -> Iterator[float]:
        """Take the steps of a rotation that is under way, whoever began it.

        Gives after each how much of the new epoch is filled, from 0 to 1.
        """
        while (pending := self._rotation.pending()) and pending.state == "announced":
            if not self._rotation.fill():
                self._stopped.wait(ROTATION_PAUSE_SECONDS)
            yield pending.filled
        if pending:
            # Before it answers, so that this host never has to answer it from the table.
            self._directory.keep_snapshot(pending)
            self._rotation.open()


def _outgrown(replica: Replica) -> bool:
    people = len(replica.snapshot.index.records)
    return replica.changed > min(max(people // 50, MIN_CHANGES), MAX_CHANGES)


def _match_table(connection: Connection, number: int, digests: Words) -> Matches:
    rows = entries.match(connection, number, digests.tobytes())
    packed = b"".join([digest + account.bytes for digest, account in rows.items()])
    records = np.frombuffer(packed, np.uint64).reshape(-1, RECORD_WORDS)
    index = DigestIndex.of(records[sorting(records[:, :WORDS])])
    return Matches.at(index.find(digests), index)
