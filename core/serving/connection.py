"""One client's connection: what it waits for, and how long it may.

A head has a deadline; a body and an answer have a least rate, and no total time. One reaper looks at
deadlines (`connections.py`) instead of a timer each, and only the second look after a deadline ends a
connection: by then whatever had come was read, however late the worker is.
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

#: Seconds in which a peer has to take note of the last answer, and bytes read of it meanwhile.
LINGER_SECONDS, MAX_LINGER_BYTES = 2.0, 1_048_576
#: Bytes handed to the kernel at once, so that what a reader takes is seen.
SEND_BYTES = 262_144
NEVER = float("inf")


class Phase(Enum):
    """What happens on a connection."""

    #: Nothing: no byte of the next request has come.
    IDLE = auto()
    HEAD = auto()
    #: The application has the request: it reads the body, works, or answers.
    SERVING = auto()
    #: The application keeps the time itself: a WebSocket.
    TAKEN_OVER = auto()
    #: The last answer is out, and nothing more is answered.
    CLOSING = auto()


class TooSlow(Exception):
    """The peer sent less of a body than it has to."""


class Connection:
    """A socket with bounds, used as one: by gunicorn, and by the WebSocket that takes it over."""

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
        """Take a connection that was accepted.

        host: whose it is, for counting. trusted: whether it comes from a proxy of ours.
        """
        self._wire = wire
        self.host = host
        self.trusted = trusted
        #: Whether it came to the port of the metrics.
        self.serves_metrics = False
        self.phase = Phase.IDLE
        #: Whether it became a socket of the stream.
        self.is_socket = False
        #: On the clock of `Connections.now`.
        self.deadline = NEVER
        self.suspected = False
        #: Since when it takes nothing of an answer.
        self.stalled_since = NEVER
        self._cut = False
        self._device: UUID | None = None
        self._connections = connections
        self._read_seconds = 0.0
        self._read_bytes = 0
        #: What a reader took since the deadline was set, and what the kernel still had at the last look.
        self._taken = 0
        self._queued: int | None = None

    # What the worker says of it.

    def await_request(self, seconds: float, *, has_begun: bool) -> None:
        """Wait for a request, for so many seconds; `has_begun`: some of it came with the last one."""
        self.release_device()
        self.phase = Phase.HEAD if has_begun else Phase.IDLE
        self.deadline = self._connections.now() + seconds
        self._connections.wait(self)

    def serve(self) -> None:
        """Begin to answer a request whose head has come."""
        self.phase = Phase.SERVING
        self.deadline = NEVER
        self._read_seconds = 0.0
        self._read_bytes = 0
        self._connections.go_on(self)

    @property
    def was_cut(self) -> bool:
        """Say whether it was ended because its peer was too slow, or gave way to others."""
        return self._cut

    def cut(self, *, answerable: bool = False) -> None:
        """End whatever wait there is in it; `answerable` leaves the way out open, to say why."""
        self._cut = True
        self.deadline = NEVER
        with suppress(OSError):
            self._wire.shutdown(socket.SHUT_RD if answerable else socket.SHUT_RDWR)

    def linger(self) -> None:
        """Say that nothing more comes, and wait until the peer has seen it.

        Closed with bytes unread, TCP would reset it, and the answer might be lost.
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
        """Let it go."""
        self.release_device()
        with suppress(OSError):
            self._wire.close()

    # What the application says of it.

    def hold_for(self, device_id: UUID) -> bool:
        """Count the request, and the socket it may become, for a device; False: it has too many already."""
        if self._device == device_id:
            return True
        if not self._connections.take_device(device_id):
            return False
        self.release_device()
        self._device = device_id
        return True

    def release_device(self) -> None:
        """Count it for no device any more."""
        if self._device is not None:
            self._connections.release_device(self._device)
            self._device = None

    # What a socket does.

    def settimeout(self, seconds: float | None) -> None:
        """Keep the time oneself from here on: seconds that a `recv` waits. Writing keeps its least rate."""
        if self.phase is Phase.SERVING:
            self.phase = Phase.TAKEN_OVER
            self.is_socket = True
            self._connections.taken_over(self)
        self._wire.settimeout(seconds)

    def recv(self, size: int) -> bytes:
        """Wait for bytes; none at the end. Raises TooSlow for a body that dribbles."""
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
            # gevent ends a wait in that way when the connection is cut.
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
            # The worker may be late itself: what the peer said in time lies in the kernel by now.
            timeout = self._wire.gettimeout()
            self._wire.settimeout(0)
            try:
                return self._wire.recv(size)
            except BlockingIOError:
                raise TimeoutError from None
            finally:
                self._wire.settimeout(timeout)

    def sendall(self, data: bytes) -> None:
        """Write all of it; raises TimeoutError when the peer takes less than it has to."""
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
        """Note what the peer has taken; the kernel asks for more only when much of it is gone."""
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
                # That is the time of `recv`; this wait has a deadline of its own.
                continue
            except OSError:
                if self._cut:
                    raise TimeoutError from None
                raise

    def send(self, data: bytes) -> int:
        """Write all of it, as gunicorn expects of a few bytes."""
        self.sendall(data)
        return len(data)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Write a part of a file."""
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
        """Give the rest of what a socket does."""
        return getattr(self._wire, name)
