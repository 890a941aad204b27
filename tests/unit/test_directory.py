"""The directory of a worker: what it answers from, when it builds, and what it never trusts."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, update

from core.database import Database, table
from core.metrics import Metrics
from discovery import changes, entries, epochs
from discovery.digests import digest_words
from discovery.directory import MAX_SNAPSHOT_AGE, Directory
from discovery.epochs import Epoch, Rotation
from discovery.metrics import DiscoveryMetrics
from discovery.models import DirectoryChange, DiscoveryEpoch
from discovery.snapshot import Snapshot, SnapshotUnusable, write
from discovery.snapshot_builder import BuildRequest, build, build_apart, snapshot_path
from discovery.updater import DirectoryUpdater
from tests.conftest import Clock

DIGESTS = sorted(os.urandom(32) for _ in range(50))
ACCOUNTS = [UUID(int=n) for n in range(1, 51)]


class Setup:
    """A directory, its database and what it has built."""

    def __init__(self, database: Database, clock: Clock, place: Path) -> None:
        self.database, self.clock, self.place = database, clock, place
        metrics = Metrics()
        self.registry, self.metrics = metrics.registry, DiscoveryMetrics(metrics)
        self.built: list[BuildRequest] = []
        with database.write() as connection:
            self.epoch: Epoch = epochs.read_or_begin(connection, clock, os.urandom)[0]
        self.directory = self.another()

    def another(self, **options: Any) -> Directory:
        """Give the directory of another worker of the same host."""
        build = {"build": self._build} | options
        return Directory(self.database, self.clock, self.metrics, self.place, **build)

    def _build(self, database: Database, request: BuildRequest) -> None:
        self.built.append(request)
        build(database, request, self.clock, os.urandom)

    def change(self, number: int, *, listed: bool = True) -> None:
        """List somebody, or take her out."""
        act = entries.upsert if listed else entries.remove
        with self.database.write() as connection:
            act(connection, 1, DIGESTS[number], ACCOUNTS[number], self.clock())

    def here(self, directory: Directory | None = None) -> list[int]:
        """Say who is found."""
        with self.database.read() as connection:
            asked = digest_words(b"".join(DIGESTS))
            found = (directory or self.directory).match(connection, self.epoch, asked)
        numbers = [n for n in range(50) if found.mask[n]]
        for n in numbers:
            assert found.accounts[n].tobytes() == ACCOUNTS[n].bytes
        return numbers

    def count(self, name: str, **labels: str) -> float:
        """Read a metric."""
        value = self.registry.get_sample_value(f"kith_discovery_{name}_total", labels)
        return value or 0

    @property
    def path(self) -> Path:
        """Where the snapshot is."""
        return snapshot_path(self.place, self.epoch.id)


@pytest.fixture
def setup(database: Database, clock: Clock, tmp_path: Path) -> Setup:
    """A directory with five people and no snapshot."""
    made = Setup(database, clock, tmp_path / "discovery")
    for number in range(5):
        made.change(number)
    return made


def test_the_table_answers_until_there_is_a_snapshot(setup: Setup) -> None:
    """Both give the same, and the metrics tell them apart."""
    assert setup.here() == [0, 1, 2, 3, 4]
    setup.directory.update_snapshot(setup.epoch)
    setup.change(7)
    setup.change(2, listed=False)
    assert setup.here() == [0, 1, 3, 4, 7]
    assert setup.count("pages", source="table") == setup.count("pages", source="snapshot") == 1
    assert [request.replaces for request in setup.built] == [0]


def test_workers_of_a_host_share_one_file(setup: Setup) -> None:
    """The second maps what the first built; a third that comes with a newer one lets both take it."""
    setup.directory.update_snapshot(setup.epoch)
    second = setup.another()
    second.update_snapshot(setup.epoch)
    assert len(setup.built) == 1
    assert not second.adopt(setup.epoch)
    build(setup.database, second.build_request(setup.epoch), setup.clock, os.urandom)
    assert second.adopt(setup.epoch)
    assert setup.directory.adopt(setup.epoch)
    assert setup.here() == setup.here(second) == [0, 1, 2, 3, 4]


def test_it_is_built_anew_when_much_has_changed(setup: Setup) -> None:
    """Up to the bound the changes are held in memory; past it a new snapshot has them."""
    setup.directory = setup.another(min_changes=10)
    setup.directory.update_snapshot(setup.epoch)
    for number in range(10, 19):
        setup.change(number)
    setup.here()
    setup.directory.update_snapshot(setup.epoch)
    assert len(setup.built) == 1
    for number in range(20, 24):
        setup.change(number)
    expected = setup.here()
    setup.directory.update_snapshot(setup.epoch)
    assert len(setup.built) == 2
    assert setup.here() == expected == [*range(5), *range(10, 19), *range(20, 24)]


def test_what_the_operator_built_is_taken_over(setup: Setup) -> None:
    """And a file that somebody removed is built again, while the one in memory answers."""
    setup.directory.update_snapshot(setup.epoch)
    request = setup.directory.build_request(setup.epoch)
    assert build(setup.database, request, setup.clock, os.urandom)
    setup.directory.update_snapshot(setup.epoch)
    assert len(setup.built) == 1
    assert setup.directory.build_request(setup.epoch).replaces > request.replaces
    setup.path.unlink()
    assert setup.here() == [0, 1, 2, 3, 4]
    setup.directory.update_snapshot(setup.epoch)
    assert setup.path.exists()
    assert setup.count("pages", source="table") == 0


def test_it_is_built_anew_every_day(setup: Setup, clock: Clock) -> None:
    """Long before the log forgets the anchor of the one in use."""
    setup.directory.update_snapshot(setup.epoch)
    clock.advance(MAX_SNAPSHOT_AGE.total_seconds() - 1)
    setup.directory.update_snapshot(setup.epoch)
    assert len(setup.built) == 1
    clock.advance(2)
    setup.directory.update_snapshot(setup.epoch)
    assert len(setup.built) == 2


@pytest.mark.parametrize("damage", ["cut", "bit", "text"])
def test_a_spoiled_file_is_noticed_and_replaced(setup: Setup, damage: str) -> None:
    """The table answers, the reason is counted, and the next look builds another."""
    setup.directory.update_snapshot(setup.epoch)
    whole = bytearray(setup.path.read_bytes())
    if damage == "bit":
        whole[4096 + 40] ^= 1
    setup.path.write_bytes({"cut": whole[:-1], "bit": whole, "text": b"x" * 5000}[damage])
    reason = {"cut": "cut-short", "bit": "corrupted", "text": "foreign"}[damage]
    second = setup.another()
    with pytest.raises(SnapshotUnusable):
        second.adopt(setup.epoch)
    assert setup.count("snapshots", outcome=reason) == 1
    assert setup.here(second) == [0, 1, 2, 3, 4]
    assert setup.count("pages", source="table") == 1
    second.update_snapshot(setup.epoch)
    assert setup.here(second) == [0, 1, 2, 3, 4]
    assert setup.count("pages", source="snapshot") == 1
    assert [request.replaces for request in setup.built] == [0, 0]


def test_a_snapshot_of_another_past_is_refused(setup: Setup) -> None:
    """A database that was set back to a backup does not know the anchor of what came after."""
    setup.directory.update_snapshot(setup.epoch)
    with setup.database.write() as connection:
        connection.execute(delete(table(DirectoryChange)))
    second = setup.another()
    with pytest.raises(SnapshotUnusable):
        second.adopt(setup.epoch)
    assert setup.count("snapshots", outcome="foreign") == 1
    second.update_snapshot(setup.epoch)
    assert setup.here(second) == [0, 1, 2, 3, 4]
    assert setup.count("pages", source="snapshot") == 1


@pytest.mark.parametrize("dialect", ["postgresql"], indirect=True)
def test_a_database_that_moved_to_another_cluster_goes_on(setup: Setup) -> None:
    """Transactions are counted anew there: old snapshots are refused, old numbers are forgotten."""
    setup.directory.update_snapshot(setup.epoch)
    made = Snapshot.open(setup.path, setup.epoch.id).contents
    elsewhere = made.marker._replace(history=made.marker.history._replace(cluster=4711))
    write(setup.path, made._replace(marker=elsewhere), [])
    ahead = 2**40
    with setup.database.write() as connection:
        connection.execute(update(DirectoryChange).values(transaction_id=ahead))
        connection.execute(update(DiscoveryEpoch).values(forgotten=ahead, changed_in=ahead))
    second = setup.another()
    with pytest.raises(SnapshotUnusable):
        second.adopt(setup.epoch)
    second.update_snapshot(setup.epoch)
    setup.change(8)
    assert setup.here(second) == [0, 1, 2, 3, 4, 8]
    assert setup.count("pages", source="snapshot") == 1
    rotation = Rotation(setup.database, setup.clock, os.urandom, MAX_SNAPSHOT_AGE)
    rotation.announce()
    with setup.database.write() as connection:
        connection.execute(update(DiscoveryEpoch).values(changed_in=ahead))
    rotation.fill()
    pending = rotation.pending()
    assert pending is not None
    assert pending.state == "filled"


def test_who_is_too_far_behind_asks_the_table(setup: Setup, clock: Clock) -> None:
    """A worker that slept while the log was cut answers rightly, and wants a snapshot."""
    setup.directory.update_snapshot(setup.epoch)
    setup.change(9)
    clock.advance(days=5)
    with setup.database.write() as connection:
        assert changes.purge(connection, clock()) == 7
    assert setup.here() == [0, 1, 2, 3, 4, 9]
    assert setup.count("pages", source="table") == 1


def test_what_is_over_is_let_go(setup: Setup) -> None:
    """Files and replicas of epochs that are no more go; others stay."""
    setup.directory.update_snapshot(setup.epoch)
    other = setup.place / "gone.snapshot"
    other.write_bytes(b"x")
    setup.directory.drop_all_but([setup.epoch])
    assert setup.path.exists()
    assert not other.exists()
    setup.directory.drop_all_but([])
    assert not setup.path.exists()
    assert setup.here() == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_a_process_of_its_own_builds_the_same(setup: Setup) -> None:
    """The file it makes is taken over, and one that is there already is left alone."""
    worker = setup.another(build=build_apart)
    worker.update_snapshot(setup.epoch)
    assert setup.here(worker) == [0, 1, 2, 3, 4]
    assert setup.count("pages", source="snapshot") == 1
    before = setup.path.stat()
    build_apart(setup.database, BuildRequest(str(setup.place), setup.epoch.id, 1, 0))
    assert setup.path.stat() == before


def test_a_builder_that_fails_says_why(setup: Setup, database: Database) -> None:
    """Its output is with the error, and no file is left."""
    broken = BuildRequest("/proc/nowhere", setup.epoch.id, 1)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        build_apart(database, broken)
    assert "/proc/nowhere" in failed.value.stderr


def test_what_a_killed_builder_left_is_removed(setup: Setup) -> None:
    """Its half file is gone when the next one builds."""
    setup.place.mkdir()
    draft = setup.path.with_suffix(".building")
    draft.write_bytes(b"half")
    setup.directory.update_snapshot(setup.epoch)
    assert not draft.exists()


@pytest.fixture
def keep(setup: Setup, clock: Clock) -> Iterator[Callable[[], DirectoryUpdater]]:
    """Start updaters, and end them after the test."""
    started: list[DirectoryUpdater] = []

    def start() -> DirectoryUpdater:
        rotation = Rotation(setup.database, clock, os.urandom, MAX_SNAPSHOT_AGE)
        updater = DirectoryUpdater(
            setup.database, clock, setup.directory, rotation, 0, retry_seconds=0.01
        )
        updater.start()
        started.append(updater)
        return updater

    yield start
    for updater in started:
        updater.stop()


def until(happened: Callable[[], bool]) -> None:
    """Wait for the updater, which is woken and not timed."""
    for _ in range(3000):
        if happened():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen")


def test_the_updater_builds_and_outlives_what_fails(
    setup: Setup, keep: Callable[[], DirectoryUpdater], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lookup that misses the snapshot wakes it; a fault is logged and the next look tries again."""
    faults = [OSError("disk"), subprocess.CalledProcessError(1, "x", stderr="why")]
    real = setup.directory.update_snapshot

    def fail_first(epoch: Epoch) -> None:
        if faults:
            raise faults.pop()
        real(epoch)

    monkeypatch.setattr(setup.directory, "update_snapshot", fail_first)
    keep()

    def answered() -> bool:
        assert setup.here() == [0, 1, 2, 3, 4]
        return setup.count("pages", source="snapshot") > 0

    until(answered)
    assert faults == []
