"""Room to drain: what is kept of a disk, when it is given up, and who is told."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from core.storage import (
    FULL_SECONDS,
    LOOK_SECONDS,
    MARGIN_BYTES,
    DiskReserve,
    RemoteStorage,
    free_bytes,
)

SIZE = 3 * 2**20


@dataclass
class Disk:
    """A disk of which a test says how much is left, less what the reserve takes of it, and a clock."""

    reserve: Path
    left: int = 4 * MARGIN_BYTES
    now: float = 100.0

    def free(self, directory: Path) -> int:
        """Give the bytes that are left."""
        assert directory == self.reserve.parent
        held = self.reserve.stat().st_blocks * 512 if self.reserve.exists() else 0
        return self.left - held

    def ballast(self, size: int = SIZE) -> DiskReserve:
        """Make a reserve on it."""
        return DiskReserve(self.reserve, size, self.free, lambda: self.now)

    def pass_time(self) -> None:
        """Let the time between two looks pass."""
        self.now += LOOK_SECONDS


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """A disk with room."""
    return Disk(tmp_path / "kith.db.reserve")


def test_the_reserve_takes_room_that_is_really_there(disk: Disk) -> None:
    """Its blocks are allocated, not only promised; what is free is what the system says."""
    ballast = disk.ballast()
    ballast.start()
    assert not ballast.low()
    assert disk.reserve.stat().st_blocks * 512 >= SIZE
    assert disk.reserve.stat().st_mode & 0o777 == 0o600
    assert free_bytes(disk.reserve.parent) > 0


def test_it_is_given_up_when_the_rest_is_used_up_and_taken_again(disk: Disk) -> None:
    """Once each, it is told; a look at the disk is made once a second."""
    ballast, told = disk.ballast(), list[bool]()
    ballast.alarm.listeners.append(told.append)
    ballast.start()
    disk.left = SIZE + MARGIN_BYTES - 4096
    assert not ballast.low()
    disk.pass_time()
    assert ballast.low()
    assert not disk.reserve.exists()
    # What was given up is room again, and no reason to take it back.
    for left in (MARGIN_BYTES, SIZE + 2 * MARGIN_BYTES - 4096):
        disk.left = left
        disk.pass_time()
        assert ballast.low()
    disk.left = SIZE + 2 * MARGIN_BYTES
    disk.pass_time()
    assert not ballast.low()
    assert told == [True, False]


def test_a_full_database_gives_it_up_at_once(disk: Disk) -> None:
    """Whatever the last look found."""
    ballast = disk.ballast()
    ballast.start()
    disk.left = 0
    ballast.note_full()
    assert ballast.low()
    assert not disk.reserve.exists()


def test_after_a_restart_it_is_still_there(disk: Disk) -> None:
    """And is not given up for being counted twice."""
    disk.ballast().start()
    disk.left = SIZE + MARGIN_BYTES + 4096
    again = disk.ballast()
    again.start()
    assert not again.low()
    disk.left = SIZE + MARGIN_BYTES - 4096
    full = disk.ballast()
    full.start()
    assert full.low()
    assert not disk.reserve.exists()


def test_without_one_nothing_is_low(disk: Disk) -> None:
    """Nor in a process that only runs a command, which keeps none."""
    disk.left = 0
    none, command = disk.ballast(0), disk.ballast()
    none.start()
    for ballast in (none, command):
        ballast.note_full()
        assert not ballast.low()
    assert not disk.reserve.exists()


def test_a_server_is_full_for_a_while_after_it_said_so() -> None:
    """Then it is asked again."""
    now, told = [0.0], list[bool]()
    storage = RemoteStorage(lambda: now[0])
    storage.alarm.listeners.append(told.append)
    storage.start()
    assert not storage.low()
    storage.note_full()
    now[0] = FULL_SECONDS - 1
    assert storage.low()
    now[0] = FULL_SECONDS
    assert not storage.low()
    assert told == [True, False]
