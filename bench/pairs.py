"""Pairs of people who write as fast as they are answered: how far ahead, for how long, and what it cost.

Pace and counting are the same for every server; a subclass defines what is written and when it is done.
"""

import select
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from socket import socket
from typing import Any

import psutil

from bench.load import family, spent

#: Random bytes in a message.
CONTENT_SIZE = 200
#: Messages that a sender writes at most in one go.
MAX_AT_ONCE = 64
WARM_UP_SECONDS = 1.0


class Pair(ABC):
    """Somebody who writes to somebody else, so many messages ahead of the last that is done."""

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self.sent = self.done = 0

    @abstractmethod
    def readers(self) -> list[tuple[socket, Callable[[], object]]]:
        """Give the sockets of the pair, and what reads each when something came; it counts `done`."""

    @abstractmethod
    def send(self, first: int, number: int) -> None:
        """Write so many messages, numbered from `first`."""

    def write(self) -> None:
        """Send what there is room for."""
        number = min(self.done + self._ahead - self.sent, MAX_AT_ONCE)
        if number > 0:
            first, self.sent = self.sent, self.sent + number
            self.send(first, number)


def drive(pairs: Sequence[Pair], server_pid: int, seconds: float) -> dict[str, Any]:
    """Let pairs write to each other, and give the figures of so many seconds after a warm-up."""
    with select.epoll() as poll:
        readers: dict[int, tuple[Pair, Callable[[], object]]] = {}
        for pair in pairs:
            for wire, read in pair.readers():
                readers[wire.fileno()] = pair, read
                poll.register(wire.fileno(), select.EPOLLIN)
            pair.write()

        def run(for_seconds: float) -> tuple[float, int]:
            begun = time.perf_counter()
            before = sum(pair.done for pair in pairs)
            while time.perf_counter() < begun + for_seconds:
                for descriptor, _ in poll.poll(1.0):
                    pair, read = readers[descriptor]
                    read()
                    pair.write()
            return time.perf_counter() - begun, sum(pair.done for pair in pairs) - before

        server, load = family(server_pid), [psutil.Process()]
        run(WARM_UP_SECONDS)
        used = spent(server), spent(load)
        took, done = run(seconds)
        server_cpu, load_cpu = spent(server) - used[0], spent(load) - used[1]
    return {
        "seconds": round(took, 2),
        "messages": done,
        "a_second": round(done / took),
        "server_cpu_us_each": round(1e6 * server_cpu / max(1, done), 1),
        "server_cores": round(server_cpu / took, 2),
        "load_cores": round(load_cpu / took, 2),
    }
