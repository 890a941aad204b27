"""The directory of one worker: answers from replicas of its snapshots, or else from the table.

A snapshot is used only after every block of it was verified and its log was found to be this database's.
One that is missing, unusable, too old or far behind the log is built in another process; meanwhile the
table answers.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import structlog
from sqlalchemy import Connection

from core.database import Database
from discovery import changes, entries
from discovery.digests import RECORD_WORDS, WORDS, DigestIndex, Words, sorting
from discovery.epochs import Epoch
from discovery.metrics import DiscoveryMetrics
from discovery.replica import Matches, Replica
from discovery.snapshot import FILTER_SUFFIX, SUFFIX, Snapshot, SnapshotUnusable, file_identity
from discovery.snapshot_builder import BuildRequest, build_apart, snapshot_path

log = structlog.get_logger()

#: A snapshot is rebuilt after this many changes: a fiftieth of its records, within these bounds.
MIN_CHANGES, MAX_CHANGES = 10_000, 100_000
#: Also at this age, long before the log deletes its marker.
MAX_SNAPSHOT_AGE = timedelta(days=1)


@dataclass
class Directory:
    """Finds digests, and maintains the snapshots that they are found in."""

    database: Database
    clock: Callable[[], datetime]
    metrics: DiscoveryMetrics
    folder: Path
    build: Callable[[Database, BuildRequest], object] = build_apart
    min_changes: int = MIN_CHANGES
    #: Set when a lookup finds no snapshot or an outgrown one.
    wanted: threading.Event = field(default_factory=threading.Event)
    _replicas: dict[int, Replica] = field(default_factory=dict)

    def match(self, connection: Connection, epoch: Epoch, digests: Words) -> Matches:
        """Return the matches of sorted, distinct digests (n × 4 words), as of now or later."""
        replica = self._replicas.get(epoch.number)
        if replica is not None and self._refresh(connection, epoch.number, replica):
            self.metrics.pages.labels("snapshot").inc()
            return replica.find(digests)
        self.wanted.set()
        self.metrics.pages.labels("table").inc()
        return _match_table(connection, epoch.number, digests)

    def _refresh(self, connection: Connection, number: int, replica: Replica) -> bool:
        """Add the newest changes to a replica; drop it and return False if they are incomplete."""
        batch = changes.read_changes(connection, number, replica.history, replica.position)
        if not batch.complete:
            # Another thread may have replaced it with a newer one.
            if self._replicas.get(number) is replica:
                del self._replicas[number]
            return False
        replica.absorb(batch)
        if self._is_outgrown(replica):
            self.wanted.set()
        return True

    def _is_outgrown(self, replica: Replica) -> bool:
        people = len(replica.snapshot.index.records)
        return replica.changed > min(max(people // 50, self.min_changes), MAX_CHANGES)

    def adopt(self, epoch: Epoch) -> bool:
        """Answer from the epoch's snapshot file; return whether it is another one than before.

        Raises SnapshotUnusable.
        """
        path = snapshot_path(self.folder, epoch.id)
        before = self._replicas.get(epoch.number)
        try:
            if before is not None and file_identity(path) == before.snapshot.identity:
                return False
            replica = Replica(self._open(path, epoch))
        except SnapshotUnusable as unusable:
            self.metrics.snapshots.labels(unusable.reason).inc()
            if unusable.reason != "missing":
                log.warning("snapshot.unusable", epoch=epoch.id, reason=unusable.reason)
            raise
        with self.database.read() as connection:
            if not self._refresh(connection, epoch.number, replica):
                raise SnapshotUnusable("foreign")
        self._replicas[epoch.number] = replica
        self.metrics.snapshots.labels("adopted").inc()
        return True

    def _open(self, path: Path, epoch: Epoch) -> Snapshot:
        snapshot = Snapshot.open(path, epoch.id)
        for _ in snapshot.verify():
            # Let lookups run between two blocks.
            time.sleep(0)
        with self.database.read() as connection:
            if not changes.has_marker(connection, snapshot.contents.marker):
                raise SnapshotUnusable("foreign")
        return snapshot

    def update_snapshot(self, epoch: Epoch) -> None:
        """Adopt the newest snapshot of an epoch, built before if there is none or it is outdated."""
        try:
            # Another worker of the host, or the operator, may have built one.
            adopted, usable = self.adopt(epoch), True
        except SnapshotUnusable:
            adopted = usable = False
        replica = self._replicas.get(epoch.number)
        if adopted or (usable and replica and not self._is_outdated(replica)):
            return
        if self.database.storage.low():
            # The table answers: the last of the disk is not for a copy of everybody.
            return
        self.build(self.database, self.build_request(epoch))
        self.metrics.snapshots.labels("built").inc()
        self.adopt(epoch)

    def _is_outdated(self, replica: Replica) -> bool:
        age = self.clock().timestamp() - replica.snapshot.contents.built_at
        return self._is_outgrown(replica) or age >= MAX_SNAPSHOT_AGE.total_seconds()

    def build_request(self, epoch: Epoch) -> BuildRequest:
        """Return the request for a snapshot that is newer than the one in use."""
        replica = self._replicas.get(epoch.number)
        replaces = 0 if replica is None else replica.snapshot.contents.marker.seq
        return BuildRequest(str(self.folder), epoch.id, epoch.number, replaces)

    def catch_up(self, epoch: Epoch) -> None:
        """Read new changes, so that the next lookup has fewer to read."""
        replica = self._replicas.get(epoch.number)
        if replica is not None:
            with self.database.read() as connection:
                self._refresh(connection, epoch.number, replica)

    def drop_all_but(self, kept: Sequence[Epoch]) -> None:
        """Drop the replicas and files of all other epochs."""
        for number in self._replicas.keys() - {epoch.number for epoch in kept}:
            self._replicas.pop(number, None)
        ids = {epoch.id for epoch in kept}
        for path in self.folder.iterdir() if self.folder.exists() else ():
            # The name of a filter also has the number of its snapshot.
            if path.suffix in (SUFFIX, FILTER_SUFFIX) and path.name.partition(".")[0] not in ids:
                path.unlink(missing_ok=True)


def _match_table(connection: Connection, number: int, digests: Words) -> Matches:
    rows = entries.match(connection, number, digests.tobytes())
    packed = b"".join([digest + account.bytes for digest, account in rows.items()])
    records = np.frombuffer(packed, np.uint64).reshape(-1, RECORD_WORDS)
    index = DigestIndex.of(records[sorting(records[:, :WORDS])])
    return Matches.at(index.find(digests), index)
