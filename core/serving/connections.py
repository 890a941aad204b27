"""All connections of a worker: limits, eviction, and time-outs.

A full worker accepts a new connection and closes the one that has waited for its peer the longest, so
thousands of slow clients keep nobody out. Trusted proxies carry many people, and are evicted last.
"""

import ipaddress
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from socket import IPPROTO_TCP, TCP_NOTSENT_LOWAT, socket
from uuid import UUID

import gevent
from gevent.event import Event

from core.serving.connection import NEVER, Connection, Phase

#: Seconds between two checks of deadlines.
LOOK_SECONDS = 1.0
#: At a stop: seconds that a connection without a request is kept, because a proxy may be sending one over it,
#: and that a head which has begun may take; and seconds between two looks.
STOP_IDLE_SECONDS, STOP_HEAD_SECONDS, STOP_LOOK_SECONDS = 0.5, 1.0, 0.1
#: Bytes that the kernel buffers unsent.
UNSENT_BYTES = 131_072
#: A client has a whole IPv6 /64.
_IPV6_PREFIX = 64


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits of a worker."""

    #: Connections that are not WebSockets.
    most: int
    #: All connections: the file descriptors.
    most_open: int
    #: Connections from one address, and requests and sockets of one device.
    an_address: int
    a_device: int
    #: Bytes of responses that wait for their readers.
    unread_bytes: int
    #: Seconds in which the head of a request must arrive.
    head_seconds: float
    #: Minimum bytes of a body or a response per `rate_seconds` of waiting for the peer: 1 KiB/s.
    rate_bytes: int = 30 * 1024
    rate_seconds: float = 30.0


class Connections:
    """The open connections of a worker."""

    def __init__(
        self,
        bounds: ConnectionLimits,
        is_trusted: Callable[[str], bool],
        count: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with none.

        is_trusted: says whether an address is a trusted proxy's. count: called with the reason why a
        connection was refused or cut. now: a clock in seconds that nobody sets.
        """
        self._bounds = bounds
        self._is_trusted = is_trusted
        self._count = count
        self.now = now
        self.head_seconds = bounds.head_seconds
        self.rate_bytes, self.rate_seconds = bounds.rate_bytes, bounds.rate_seconds
        self._all: set[Connection] = set()
        self._hosts: Counter[str] = Counter()
        self._devices: Counter[UUID] = Counter()
        self._sockets = 0
        #: Who waits for its peer, the longest first; those of proxies of ours by themselves.
        self._waiting: OrderedDict[Connection, None] = OrderedDict()
        self._proxies_waiting: OrderedDict[Connection, None] = OrderedDict()
        #: Answers under way, by the bytes of them that wait.
        self._unread: dict[Connection, int] = {}
        self._unread_bytes = 0
        self.stopping = False
        self._empty = Event()
        self._empty.set()

    def __len__(self) -> int:
        """Count them."""
        return len(self._all)

    def admit(self, wire: socket, address: str) -> Connection | None:
        """Accept a connection; return None if it is refused."""
        trusted = self._is_trusted(address)
        host = address if trusted else _host(address)
        if not trusted and self._hosts[host] >= self._bounds.an_address:
            self._count("address")
            return None
        if self._is_full() and not self._make_room():
            self._count("full")
            return None
        with suppress(OSError):
            # Of an answer that is not taken the kernel keeps no more; it might keep megabytes.
            wire.setsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        connection = Connection(wire, host, self, trusted=trusted)
        self._all.add(connection)
        self._hosts[host] += 1
        self._empty.clear()
        return connection

    def _is_full(self) -> bool:
        every = len(self._all)
        return every >= self._bounds.most_open or every - self._sockets >= self._bounds.most

    def _make_room(self) -> bool:
        """Evict the connection that has waited the longest; return whether there was one."""
        waiting = self._waiting or self._proxies_waiting
        if not waiting:
            return False
        connection, _ = waiting.popitem(last=False)
        self._count("gave-way")
        connection.cut()
        # It is gone in a moment; counted now, or a burst would cut as many as came.
        self._forget(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """Remove a connection."""
        self.go_on(connection)
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection not in self._all:
            return
        self._all.discard(connection)
        self._sockets -= connection.is_socket
        self._hosts[connection.host] -= 1
        if not self._hosts[connection.host]:
            del self._hosts[connection.host]
        if not self._all:
            self._empty.set()

    # What connections say of themselves.

    def wait(self, connection: Connection) -> None:
        """Record that a connection waits for its peer."""
        if self.stopping and connection.phase is Phase.IDLE:
            connection.deadline = min(connection.deadline, self.now() + STOP_IDLE_SECONDS)
        (self._proxies_waiting if connection.trusted else self._waiting)[connection] = None

    def go_on(self, connection: Connection) -> None:
        """Record that it no longer waits."""
        connection.suspected = False
        (self._proxies_waiting if connection.trusted else self._waiting).pop(connection, None)

    def taken_over(self, connection: Connection) -> None:
        """Record that it became a WebSocket."""
        self._sockets += connection in self._all

    def take_device(self, device_id: UUID) -> bool:
        """Count one more for a device; False: it has as many as it may."""
        if self._devices[device_id] >= self._bounds.a_device:
            return False
        self._devices[device_id] += 1
        return True

    def release_device(self, device_id: UUID) -> None:
        """Count one less."""
        self._devices[device_id] -= 1
        if not self._devices[device_id]:
            del self._devices[device_id]

    def begin_answer(self, connection: Connection, size: int) -> None:
        """Count bytes that wait for a reader; over the bound, who has taken nothing for the longest goes."""
        self._unread[connection] = self._unread.get(connection, 0) + size
        self._unread_bytes += size
        while self._unread_bytes > self._bounds.unread_bytes and len(self._unread) > 1:
            # min gives the first of equals, which began earlier.
            slowest = min(self._unread, key=lambda one: one.stalled_since)
            if slowest is connection:
                break
            self._count("memory")
            self.end_answer(slowest)
            slowest.cut()

    def took(self, connection: Connection, size: int) -> None:
        """Count bytes that the kernel took for a reader."""
        if connection in self._unread:
            self._unread[connection] -= size
            self._unread_bytes -= size

    def end_answer(self, connection: Connection) -> None:
        """Count nothing for a reader any more."""
        self._unread_bytes -= self._unread.pop(connection, 0)

    # Looking after them.

    def watch(self) -> None:
        """Check deadlines in a loop, in a greenlet."""
        while True:
            gevent.sleep(STOP_LOOK_SECONDS if self.stopping else LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Cut connections that were late at the last check and still are."""
        now = self.now()
        for reader in self._unread:
            reader.look_at_reader()
        for connection in [one for one in self._all if one.deadline <= now]:
            if not connection.suspected:
                connection.suspected = True
                continue
            if connection.phase is not Phase.IDLE:
                self._count(_REASONS[connection.phase])
            # The application waits for a slow body and answers it.
            connection.cut(answerable=connection.stalled_since == NEVER)

    def stop(self) -> None:
        """Stop waiting for requests that have not arrived."""
        self.stopping = True
        now = self.now()
        for connection in self._all:
            if connection.phase is Phase.IDLE:
                connection.deadline = min(connection.deadline, now + STOP_IDLE_SECONDS)
            elif connection.phase is Phase.HEAD:
                connection.deadline = min(connection.deadline, now + STOP_HEAD_SECONDS)

    def await_end(self, seconds: float) -> bool:
        """Wait until all are closed; return False if some are left after `seconds`."""
        return bool(self._empty.wait(seconds))


_REASONS = {
    Phase.HEAD: "slow-head",
    Phase.SERVING: "slow-peer",
    Phase.TAKEN_OVER: "slow-reader",
    Phase.CLOSING: "slow-close",
}


def _host(address: str) -> str:
    """Return the client of an address: itself, or its /64 for IPv6."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network((ip, _IPV6_PREFIX), strict=False))
    return address
