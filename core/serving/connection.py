"""A client's connection and its time-outs.

A request head has a deadline; a body and a response have a minimum rate, but no total time. One reaper
checks deadlines (connections.py) instead of a timer per connection, and only its second check after a
deadline cuts a connection: by then everything that had arrived is read, however late the worker runs.
"""

import socket
import sys
from contextlib import suppress
from enum import Enum, auto
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from core.serving.connections import Connections

#: Seconds that a peer has to receive the last response, and bytes read from it meanwhile.
LINGER_SECONDS, MAX_LINGER_BYTES = 2.0, 1_048_576
#: Bytes passed to the kernel at once, small enough to see the reader's progress.
SEND_BYTES = 262_144
NEVER = float("inf")


class Phase(Enum):
    """The phase of a connection."""

    #: No byte of the next request has arrived.
    IDLE = auto()
    HEAD = auto()
    #: The application reads the body, works, or responds.
    SERVING = auto()
    #: The application handles time-outs itself: a WebSocket.
    TAKEN_OVER = auto()
    #: The last response is sent.
    CLOSING = auto()


class TooSlow(Exception):
    """The peer sends a body below the minimum rate."""


class Connection:
    """A socket with time-outs, used like one by gunicorn and by the WebSocket that takes it over."""

    __slots__ = (
        "_connections",
        "_cut",
        "_device",
        "_queued",
        "_read_bytes",
        "_read_seconds",
        "_taken",
        "_wire",
        "deadline",
        "host",
        "is_socket",
        "phase",
        "serves_metrics",
        "stalled_since",
        "suspected",
        "trusted",
    )

    def __init__(
        self, wire: socket.socket, host: str, connections: "Connections", *, trusted: bool
    ) -> None:
        """Wrap an accepted connection.

        host: the client, for counting. trusted: whether it is a trusted proxy.
        """
        self._wire = wire
        self.host = host
        self.trusted = trusted
        #: Whether it was accepted at the metrics port.
        self.serves_metrics = False
        self.phase = Phase.IDLE
        #: Whether it became a WebSocket.
        self.is_socket = False
        #: On the clock of `Connections.now`.
        self.deadline = NEVER
        self.suspected = False
        #: Since when it reads nothing of a response.
        self.stalled_since = NEVER
        self._cut = False
        self._device: UUID | None = None
        self._connections = connections
        self._read_seconds = 0.0
        self._read_bytes = 0
        #: Bytes read by the peer since the deadline was set, and bytes in the kernel at the last check.
        self._taken = 0
        self._queued: int | None = None

    # Called by the worker.

    def await_request(self, seconds: float, *, has_begun: bool) -> None:
        """Wait for a request; `has_begun`: some of it arrived with the last one."""
        self.release_device()
        self.phase = Phase.HEAD if has_begun else Phase.IDLE
        self.deadline = self._connections.now() + seconds
        self._connections.wait(self)

    def serve(self) -> None:
        """Start serving a request whose head has arrived."""
        self.phase = Phase.SERVING
        self.deadline = NEVER
        self._read_seconds = 0.0
        self._read_bytes = 0
        self._connections.go_on(self)

    @property
    def was_cut(self) -> bool:
        """Return whether it was ended because its peer was too slow, or gave way to others."""
        return self._cut

    def cut(self, *, answerable: bool = False) -> None:
        """End every wait on it; `answerable` leaves the sending side open for an error response."""
        self._cut = True
        self.deadline = NEVER
        with suppress(OSError):
            self._wire.shutdown(socket.SHUT_RD if answerable else socket.SHUT_RDWR)

    def linger(self) -> None:
        """Shut down sending, and wait until the peer has seen it.

        TCP resets a connection that is closed with unread bytes, and the response may be lost.
        """
        self.phase = Phase.CLOSING
        self.deadline = self._connections.now() + LINGER_SECONDS
        self._connections.wait(self)
        left = MAX_LINGER_BYTES
        with suppress(OSError):
            self._wire.shutdown(socket.SHUT_WR)
            while left > 0 and (data := self._wire.recv(65_536)):
                left -= len(data)

    def close(self) -> None:
        """Close it."""
        self.release_device()
        with suppress(OSError):
            self._wire.close()

    # Called by the application.

    def hold_for(self, device_id: UUID) -> bool:
        """Count the connection for a device; return False if the device has too many."""
        if self._device == device_id:
            return True
        if not self._connections.take_device(device_id):
            return False
        self.release_device()
        self._device = device_id
        return True

    def release_device(self) -> None:
        """Stop counting it for its device."""
        if self._device is not None:
            self._connections.release_device(self._device)
            self._device = None

    # The interface of a socket.

    def settimeout(self, seconds: float | None) -> None:
        """Take over: `recv` waits up to `seconds` from now on. Sending keeps its minimum rate."""
        if self.phase is Phase.SERVING:
            self.phase = Phase.TAKEN_OVER
            self.is_socket = True
            self._connections.taken_over(self)
        self._wire.settimeout(seconds)

    def recv(self, size: int) -> bytes:
        """Return bytes, none at the end; raises TooSlow for a body below the minimum rate."""
        if self.phase is Phase.SERVING:
            return self._recv_body(size)
        if self.phase is Phase.TAKEN_OVER:
            return self._recv_timed(size)
        data = self._recv(size)
        if data and self.phase is Phase.IDLE:
            self.phase = Phase.HEAD
            self.deadline = self._connections.now() + self._connections.head_seconds
        return data

    def _recv(self, size: int) -> bytes:
        try:
            return self._wire.recv(size)
        except OSError:
            # gevent raises when the connection is cut.
            if self._cut:
                return b""
            raise

    def _recv_body(self, size: int) -> bytes:
        began = self._connections.now()
        self.deadline = began + self._connections.rate_seconds - self._read_seconds
        self._connections.wait(self)
        try:
            data = self._recv(size)
        finally:
            self.deadline = NEVER
            self._connections.go_on(self)
        if not data and self._cut:
            raise TooSlow
        self._read_seconds += self._connections.now() - began
        self._read_bytes += len(data)
        if self._read_bytes >= self._connections.rate_bytes:
            self._read_seconds = 0.0
            self._read_bytes = 0
        return data

    def _recv_timed(self, size: int) -> bytes:
        try:
            return self._wire.recv(size)
        except TimeoutError:
            # The worker itself may be late: what arrived in time is in the kernel by now.
            timeout = self._wire.gettimeout()
            self._wire.settimeout(0)
            try:
                return self._wire.recv(size)
            except BlockingIOError:
                raise TimeoutError from None
            finally:
                self._wire.settimeout(timeout)

    def sendall(self, data: bytes) -> None:
        """Send everything; raises TimeoutError if the peer reads below the minimum rate."""
        left = memoryview(data)
        self._taken, self._queued = 0, None
        self.deadline = self._connections.now() + self._connections.rate_seconds
        self._connections.begin_answer(self, len(left))
        waits = self.phase is Phase.SERVING
        if waits:
            self._connections.wait(self)
        try:
            while left:
                self.stalled_since = self._connections.now()
                sent = self._send(left[:SEND_BYTES])
                left = left[sent:]
                self._connections.took(self, sent)
                self._queued = None
                self._note_taken(sent)
        finally:
            self.deadline = self.stalled_since = NEVER
            self._connections.end_answer(self)
            if waits:
                self._connections.go_on(self)

    def _note_taken(self, size: int) -> None:
        self._taken += size
        if self._taken >= self._connections.rate_bytes:
            self._taken = 0
            self.deadline = self._connections.now() + self._connections.rate_seconds

    def look_at_reader(self) -> None:
        """Record the peer's progress; the kernel asks for more only when much of it is sent."""
        try:
            queued = int.from_bytes(ioctl(self._wire.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return
        if self._queued is not None and queued < self._queued:
            self.stalled_since = self._connections.now()
            self._note_taken(self._queued - queued)
        self._queued = queued

    def _send(self, data: memoryview) -> int:
        while True:
            try:
                return self._wire.send(data)
            except TimeoutError:
                # This is the time-out of `recv`; sending has its own deadline.
                continue
            except OSError:
                if self._cut:
                    raise TimeoutError from None
                raise

    def send(self, data: bytes) -> int:
        """Send everything, as gunicorn expects for a few bytes."""
        self.sendall(data)
        return len(data)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a part of a file."""
        file.seek(offset)
        sent = 0
        while count is None or sent < count:
            size = SEND_BYTES if count is None else min(SEND_BYTES, count - sent)
            data = file.read(size)
            if not data:
                break
            self.sendall(data)
            sent += len(data)
        return sent

    def __getattr__(self, name: str) -> Any:
        """Delegate to the socket."""
        return getattr(self._wire, name)
