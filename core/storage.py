"""Room to drain: a disk that fills up refuses what only adds before it refuses what makes room.

A disk that is full to the last byte cannot even delete, because SQLite writes every deletion to its log
first. So a file of a fixed size keeps some of it, and is given up when the rest is used up. PostgreSQL's disk
is its own: what is known of it here is that it said that it is full.
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

#: Bytes left when the reserve is given up; it is taken again when there are twice as many beside it. What is
#: written within LOOK_SECONDS, by Kith and by others on that disk, has to fit.
MARGIN_BYTES = 32 * 2**20
LOOK_SECONDS = 1.0
#: Seconds after PostgreSQL said that its disk is full before anything that adds is tried again.
FULL_SECONDS = 30.0


class Alarm:
    """Tells the log, and whoever wants to know, when storage runs low and when it is well again."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[bool], None]] = []
        self._raised = False

    def set(self, raised: bool) -> None:
        """Tell a change."""
        if raised == self._raised:
            return
        self._raised = raised
        if raised:
            log.error("storage.reserve", hint="make room: what only adds is refused")
        else:
            log.info("storage.recovered")
        for listener in self.listeners:
            listener(raised)


class Storage(Protocol):
    """What is known of the room there is."""

    alarm: Alarm

    def low(self) -> bool:
        """Say whether only the reserve is left, so that nothing may be added."""

    def note_full(self) -> None:
        """Hear that the database has no room."""

    def start(self) -> None:
        """Keep the reserve from now on; in the process that serves."""


class RemoteStorage:
    """The room of a server: it is full for a while after it said so."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.alarm = Alarm()
        self._clock = clock
        self._full_until = float("-inf")

    def low(self) -> bool:
        """Say whether it was full a moment ago."""
        low = self._clock() < self._full_until
        self.alarm.set(low)
        return low

    def note_full(self) -> None:
        """Hear that it is full."""
        self._full_until = self._clock() + FULL_SECONDS
        self.alarm.set(True)

    def start(self) -> None:
        """Do nothing: the server's disk is not here."""


def free_bytes(directory: Path) -> int:
    """Give the bytes that can be written in a directory."""
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


class DiskReserve:
    """The room of a file's disk, of which a file beside it keeps the last part.

    size: bytes that are kept; 0: none, and then nothing is ever low.
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
        """Say whether the reserve is given up; looks at the disk once a second at most."""
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
        """Give up the reserve at once."""
        if self._started and self._held:
            with self._lock:
                self._give_up()

    def start(self) -> None:
        """Take the reserve, or find that there is no room for it."""
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
        """Allocate the file, which after a restart is there already."""
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
