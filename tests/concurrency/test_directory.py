"""The log of changes when transactions really overlap: no reader misses one, in whatever order they end."""

import os
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from core.database import Database, table
from discovery import changes, entries, epochs
from discovery.digests import digest_words
from discovery.epochs import Epoch
from discovery.models import DirectoryEntry
from discovery.replica import Replica
from discovery.snapshot import Snapshot
from discovery.snapshot_builder import BuildRequest, build

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DIGESTS = sorted(os.urandom(32) for _ in range(40))


@pytest.fixture
def epoch(database: Database) -> Epoch:
    """The first epoch."""
    with database.write() as connection:
        return epochs.read_or_begin(connection, lambda: NOW, os.urandom)[0]


@pytest.fixture
def make_replica(database: Database, epoch: Epoch, tmp_path: Path) -> Callable[[], Replica]:
    """Build a snapshot and give a replica of it, as each worker has one."""

    def make() -> Replica:
        order = BuildRequest(str(tmp_path), epoch.id, epoch.number)
        order.path.unlink(missing_ok=True)
        build(database, order, lambda: NOW, os.urandom)
        return Replica(Snapshot.open(order.path, epoch.id))

    return make


def listed(database: Database, replica: Replica, number: int = 1) -> dict[bytes, UUID]:
    """Bring a replica up to date and give who of the digests is here."""
    with database.read() as connection:
        tail = changes.read_changes(connection, number, replica.history, replica.position)
    assert tail.complete
    replica.absorb(tail)
    here, accounts = replica.find(digest_words(b"".join(DIGESTS)))
    return {
        digest: UUID(bytes=accounts[n].tobytes()) for n, digest in enumerate(DIGESTS) if here[n]
    }


def truth(database: Database) -> dict[bytes, UUID]:
    """Give who is here by the table."""
    entry = table(DirectoryEntry).c
    with database.read() as connection:
        rows = connection.execute(select(entry.digest, entry.account_id)).all()
    return {row.digest: row.account_id for row in rows}


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_transaction_that_commits_late_is_not_missed(
    database: Database, epoch: Epoch, make_replica: Callable[[], Replica]
) -> None:
    """A reader that has seen a later number sees the earlier one once it is committed."""
    replica = make_replica()
    with database.engine.connect() as slow:
        slow.begin()
        entries.upsert(slow, epoch.number, DIGESTS[0], UUID(int=1), NOW)
        with database.write() as quick:
            entries.upsert(quick, epoch.number, DIGESTS[1], UUID(int=2), NOW)
        assert listed(database, replica) == {DIGESTS[1]: UUID(int=2)}
        during = make_replica()
        assert listed(database, during) == {DIGESTS[1]: UUID(int=2)}
        slow.commit()
    expected = {DIGESTS[0]: UUID(int=1), DIGESTS[1]: UUID(int=2)}
    assert listed(database, replica) == listed(database, during) == expected


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_transaction_that_is_rolled_back_leaves_nothing(
    database: Database, epoch: Epoch, make_replica: Callable[[], Replica]
) -> None:
    """Its number is a gap that no reader waits for."""
    replica = make_replica()
    with database.engine.connect() as undecided:
        undecided.begin()
        entries.upsert(undecided, epoch.number, DIGESTS[0], UUID(int=1), NOW)
        with database.write() as connection:
            entries.upsert(connection, epoch.number, DIGESTS[1], UUID(int=2), NOW)
        assert listed(database, replica) == {DIGESTS[1]: UUID(int=2)}
        undecided.rollback()
    assert listed(database, replica) == {DIGESTS[1]: UUID(int=2)}


def test_replicas_follow_the_table_whatever_happens_at_once(
    database: Database, epoch: Epoch, make_replica: Callable[[], Replica]
) -> None:
    """Six writers change the same digests while readers read: what was committed before is seen."""
    replica, stop, faults = make_replica(), threading.Event(), list[Any]()
    shared = [replica, make_replica()]

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for n in range(25):
            digest, account = DIGESTS[chance.randrange(40)], UUID(int=chance.randrange(1, 9))
            change = entries.upsert if chance.random() < 0.6 else entries.remove
            mine = UUID(int=1000 * seed + n)
            with database.write() as connection:
                change(connection, epoch.number, digest, account, NOW)
            # A digest that nobody else touches: once committed, every lookup that starts now sees it.
            private = seed.to_bytes(2, "big") + n.to_bytes(2, "big") + bytes(28)
            with database.write() as connection:
                entries.upsert(connection, epoch.number, private, mine, NOW)
            for reader in shared:
                with database.read() as connection:
                    reader.absorb(
                        changes.read_changes(connection, 1, reader.history, reader.position)
                    )
                here, accounts = reader.find(digest_words(private))
                if not here[0] or accounts[0].tobytes() != mine.bytes:
                    faults.append((seed, n))

    def rebuild() -> None:
        while not stop.is_set():
            shared[1] = make_replica()

    builder = threading.Thread(target=rebuild)
    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(1, 7)]
    builder.start()
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    builder.join()
    assert faults == []
    expected = {digest: account for digest, account in truth(database).items() if digest in DIGESTS}
    for reader in (replica, shared[1], make_replica()):
        assert listed(database, reader) == expected


def test_who_is_behind_what_was_deleted_reads_the_table(
    database: Database, epoch: Epoch, make_replica: Callable[[], Replica]
) -> None:
    """Once old changes are gone a reader that has not seen them is told so, and no other is."""
    behind = make_replica()
    with database.write() as connection:
        entries.upsert(connection, epoch.number, DIGESTS[0], UUID(int=1), NOW)
    ahead = make_replica()
    with database.write() as connection:
        assert changes.purge(connection, NOW + changes.RETENTION) == 0
    with database.write() as connection:
        # Two anchors and the change.
        later = NOW + changes.RETENTION + changes.RETENTION
        assert changes.purge(connection, later) == 3
    with database.read() as connection:
        assert not changes.read_changes(connection, 1, behind.history, behind.position).complete
        assert changes.read_changes(connection, 1, ahead.history, ahead.position).complete
        assert not changes.has_marker(connection, ahead.snapshot.contents.marker)
