"""Disk space reserved for deletions: on a filling disk, additions are refused before deletions fail.

SQLite cannot delete on a full disk, because it writes deletions to its log first. So a file of fixed size
reserves space, and is removed when the disk is nearly full. PostgreSQL's disk is known only by its errors.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import gevent.hub
import structlog
from gevent import monkey

log = structlog.get_logger()

#: Free bytes at which the reserve is released; at twice as many it is allocated again. All writes within
#: LOOK_SECONDS must fit.
MARGIN_BYTES = 32 * 2**20
LOOK_SECONDS = 1.0
#: Seconds without additions after PostgreSQL reports a full disk.
FULL_SECONDS = 30.0


class Alarm:
    """Reports to the log and to listeners when storage runs low, and when it recovers."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[bool], None]] = []
        self._raised = False

    def set(self, raised: bool) -> None:
        """Report a change."""
        if raised == self._raised:
            return
        self._raised = raised
        if raised:
            log.error("storage.low", hint="free disk space: requests that only add are refused")
        else:
            log.info("storage.recovered")
        for listener in self.listeners:
            listener(raised)


class Storage(Protocol):
    """The state of the disk."""

    alarm: Alarm

    def low(self) -> bool:
        """Return whether only the reserve is left, so that additions are refused."""

    def note_full(self) -> None:
        """Record that the database reported a full disk."""

    def start(self) -> None:
        """Allocate the reserve; called in the process that serves."""


class RemoteStorage:
    """The disk of a database server: counts as full for a while after an error says so."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.alarm = Alarm()
        self._clock = clock
        self._full_until = float("-inf")

    def low(self) -> bool:
        """Return whether the disk was full within FULL_SECONDS."""
        low = self._clock() < self._full_until
        self.alarm.set(low)
        return low

    def note_full(self) -> None:
        """Record that the disk is full."""
        self._full_until = self._clock() + FULL_SECONDS
        self.alarm.set(True)

    def start(self) -> None:
        """Do nothing: the disk is on another host."""


def free_bytes(directory: Path) -> int:
    """Return the free bytes of a directory's disk."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


class DiskReserve:
    """The disk of SQLite's file, with a reserve file beside it.

    size: bytes of the reserve; with 0 there is none, and the disk is never low.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        free: Callable[[Path], int] = free_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.alarm = Alarm()
        self._path = path
        self._size = size
        self._free = free
        self._clock = clock
        self._lock = threading.Lock()
        self._started = False
        self._held = False
        self._look_at = float("-inf")

    def low(self) -> bool:
        """Return whether the reserve is released; check the disk at most once a second."""
        if not self._started:
            return False
        now = self._clock()
        if now >= self._look_at and self._lock.acquire(blocking=False):
            try:
                self._look_at = now + LOOK_SECONDS
                self._look()
            finally:
                self._lock.release()
        return not self._held

    def note_full(self) -> None:
        """Release the reserve at once."""
        if self._started and self._held:
            with self._lock:
                self._give_up()

    def start(self) -> None:
        """Allocate the reserve if there is room for it."""
        if self._size:
            self._started = True
            self.low()
            self.alarm.set(not self._held)

    def _look(self) -> None:
        if not self._held:
            self._take()
        elif self._free(self._path.parent) < MARGIN_BYTES:
            self._give_up()

    def _take(self) -> None:
        """Allocate the file; after a restart it may exist already."""
        there = self._path.stat().st_blocks * 512 if self._path.exists() else 0
        left = self._free(self._path.parent) - max(0, self._size - there)
        if left < (MARGIN_BYTES if there >= self._size else 2 * MARGIN_BYTES):
            self._path.unlink(missing_ok=True)
            return
        try:
            _without_blocking(self._allocate)
        except OSError:
            self._path.unlink(missing_ok=True)
            return
        self._held = True
        self.alarm.set(False)

    def _allocate(self) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, self._size)
            os.posix_fallocate(file, 0, self._size)
        finally:
            os.close(file)

    def _give_up(self) -> None:
        self._path.unlink(missing_ok=True)
        self._held = False
        self._look_at = self._clock() + LOOK_SECONDS
        self.alarm.set(True)


def _without_blocking(call: Callable[[], None]) -> None:
    if monkey.is_module_patched("threading"):
        gevent.hub.get_hub().threadpool.apply(call)
    else:
        call()
