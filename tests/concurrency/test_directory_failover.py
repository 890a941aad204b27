"""Lookups after a failover and after a crash: no answer comes from what another primary once said."""

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from core.database import Database, table
from core.database_history import read_history
from core.metrics import Metrics
from discovery import changes, entries, epochs
from discovery.digests import digest_words
from discovery.directory import Directory
from discovery.epochs import Epoch
from discovery.metrics import DiscoveryMetrics
from discovery.models import DirectoryEntry
from discovery.snapshot import SnapshotUnusable
from discovery.snapshot_builder import BuildRequest, HistoryChanged, build
from tests.postgresql import Pair, servers

#: One process starts the servers for all of them.
pytestmark = pytest.mark.xdist_group("servers")

NOW = datetime(2026, 3, 1, tzinfo=UTC)
#: Sorted, as a page of a lookup is.
DIGESTS = sorted(os.urandom(32) for _ in range(40))
#: What each was listed as: before the standby fell behind, lost with the primary, and on the new primary.
RETENTION, LOST, NEW = DIGESTS[:12], DIGESTS[12:24], DIGESTS[24:36]


def account_of(digest: bytes) -> UUID:
    """Give the account that a digest leads to."""
    return UUID(bytes=digest[:16])


def listing(database: Database, *digests: bytes) -> None:
    """List each in a transaction of its own."""
    for digest in digests:
        with database.write() as connection:
            entries.upsert(connection, 1, digest, account_of(digest), NOW)


def truth(database: Database) -> set[bytes]:
    """Give whom the table has."""
    with database.read() as connection:
        return set(connection.execute(select(table(DirectoryEntry).c.digest)).scalars())


class Worker:
    """A worker that looks people up, and builds its snapshots itself."""

    def __init__(self, database: Database, place: Path) -> None:
        self.database = database
        self.metrics = DiscoveryMetrics(Metrics())
        self.directory = Directory(
            database,
            lambda: NOW,
            self.metrics,
            place,
            build=lambda database, order: build(database, order, lambda: NOW, os.urandom),
        )

    def look_up(self) -> set[bytes]:
        """Look all of them up as a page."""
        epoch = self.epoch()
        with self.database.read() as connection:
            found = self.directory.match(connection, epoch, digest_words(b"".join(DIGESTS)))
        return {digest for digest, here in zip(DIGESTS, found.mask, strict=True) if here}

    def keep(self) -> None:
        """Look after the snapshot."""
        self.directory.update_snapshot(self.epoch())

    def epoch(self) -> Epoch:
        """Give the first epoch."""
        with self.database.read() as connection:
            return epochs.read(connection)[0]

    def answered_from(self, source: str) -> float:
        """Say how many pages were answered from the snapshot, or from the table."""
        return self.metrics.pages.labels(source)._value.get()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary and its standby."""
    with servers() as make:
        pair = Pair(make)
        with pair.database.write() as connection:
            epochs.read_or_begin(connection, lambda: NOW, os.urandom)
        yield pair
        pair.database.close()


def test_after_a_failover_exactly_who_is_in_the_table_is_found(pair: Pair, tmp_path: Path) -> None:
    """Neither a replica in memory nor a snapshot on disk answers for a primary that is lost."""
    long_running, restarted = Worker(pair.database, tmp_path), Worker(pair.database, tmp_path)
    listing(pair.database, *RETENTION)
    long_running.keep()
    pair.lose_touch()
    listing(pair.database, *LOST)
    assert long_running.look_up() == {*RETENTION, *LOST}
    # The file holds them as well, with an anchor that the standby never received.
    (tmp_path / f"{long_running.epoch().id}.snapshot").unlink()
    restarted.keep()
    assert restarted.look_up() == {*RETENTION, *LOST}

    pair.fail_over()
    listing(pair.database, *NEW)
    assert truth(pair.database) == {*RETENTION, *NEW}
    for worker in (long_running, restarted):
        assert worker.look_up() == {*RETENTION, *NEW}
        assert worker.answered_from("table") == 1
    with pytest.raises(SnapshotUnusable, match="foreign"):
        restarted.directory.adopt(restarted.epoch())
    for worker in (long_running, restarted):
        worker.keep()
        assert worker.look_up() == {*RETENTION, *NEW}
        assert worker.answered_from("table") == 1


def test_an_anchor_that_the_standby_has_does_not_vouch_for_what_it_lacks(
    pair: Pair, tmp_path: Path
) -> None:
    """The snapshot was made before the standby fell behind, and the replica in memory read on after it."""
    worker = Worker(pair.database, tmp_path)
    worker.keep()
    pair.lose_touch()
    listing(pair.database, *LOST)
    assert worker.look_up() == {*LOST}
    pair.fail_over()
    listing(pair.database, *NEW)
    assert worker.look_up() == {*NEW}
    worker.keep()
    assert worker.look_up() == {*NEW}


def test_a_snapshot_of_two_histories_is_not_made(pair: Pair, tmp_path: Path) -> None:
    """A failover while its pages are read ends the building."""
    listing(pair.database, *RETENTION)
    order = BuildRequest(str(tmp_path), "epoch", 1)
    with pytest.raises(HistoryChanged):
        build(
            pair.database,
            order,
            lambda: NOW,
            os.urandom,
            on_progress=lambda people: pair.fail_over(),
        )
    assert not order.path.exists()


def test_a_position_is_never_beyond_what_a_crash_leaves(pair: Pair) -> None:
    """Ids of transactions that were rolled back may be given out again after a crash, and are read then."""
    listing(pair.database, *RETENTION)
    with pair.database.read() as connection:
        history, before = read_history(connection), changes.position(connection, 1)
    for _ in range(20):
        with contextlib.suppress(ZeroDivisionError), pair.database.write() as connection:
            given = connection.execute(select(changes.current_transaction("postgresql")))
            last = given.scalar_one()
            raise ZeroDivisionError
    with pair.database.read() as connection:
        tail = changes.read_changes(connection, 1, history, before)
        assert changes.position(connection, 1) == before
    assert tail.complete and before == tail.position < last
    pair.primary.kill()
    pair.primary.start()
    pair.database.engine.dispose()
    listing(pair.database, *NEW)
    with pair.database.read() as connection:
        assert read_history(connection) == history
        tail = changes.read_changes(connection, 1, history, tail.position)
    assert tail.complete and {change.digest for change in tail.changes} == {*NEW}
