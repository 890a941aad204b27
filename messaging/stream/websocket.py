"""A WebSocket (RFC 6455) on the connection of a request, after the handshake was accepted.

It assembles messages, enforces their bounds before they are whole, pings silent peers and closes. Compression
is not supported: its windows would cost each socket more memory than everything else.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

RECEIVE_BYTES = 65_536
#: Fragments of one message: enough for clients that cut at 4 KiB, and a bound on those without bytes.
MAX_FRAGMENTS = 4096
#: Seconds a peer has to read the close frame and answer it.
CLOSE_SECONDS = 1.0


class ProtocolViolation(Exception):
    """The peer violates the protocol or a bound, which ends the socket with this close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Transport(Protocol):
    """The methods of a socket that are used."""

    def settimeout(self, seconds: float | None, /) -> None:
        """Bound each of the following calls."""

    def recv(self, limit: int, /) -> bytes:
        """Wait for bytes."""

    def sendall(self, data: bytes, /) -> None:
        """Write all bytes."""

    def shutdown(self, how: int, /) -> None:
        """End the connection for both sides."""


class WebSocket:
    """One connection: one thread reads it, any thread writes."""

    def __init__(self, transport: Transport, max_message_bytes: int, ping_interval: float) -> None:
        """Take over a connection.

        ping_interval: seconds of silence after which the peer is pinged; it then has as long to answer.
        A write has as long too.
        """
        self._transport = transport
        self._max_message_bytes = max_message_bytes
        self._connection = Connection(ConnectionType.SERVER)
        self._write_lock = threading.Lock()
        self._fragments: list[Any] = []
        self._bytes = 0
        self._frames = 0
        transport.settimeout(ping_interval)

    def messages(self) -> Iterator[str | bytes]:
        """Yield whole messages until the peer closes.

        Raises ProtocolViolation, or OSError when the connection is lost.
        """
        while True:
            self._connection.receive_data(self._receive())
            for event in self._connection.events():
                match event:
                    case TextMessage() | BytesMessage():
                        if self._add(event):
                            yield self._join(event)
                    case Ping():
                        self._write(event.response())
                    case CloseConnection():
                        if self._connection.state is ConnectionState.OPEN:
                            # Nobody closed: this is how wsproto reports that it cannot read on.
                            raise ProtocolViolation(event.code, event.reason or "")
                        with suppress(LocalProtocolError):
                            self._write(event.response())
                        return
            # A greenlet whose next bytes are here already would keep the worker busy.
            time.sleep(0)

    def _receive(self) -> bytes:
        """Wait for bytes, and ping a silent peer once."""
        try:
            data = self._transport.recv(RECEIVE_BYTES)
        except TimeoutError:
            self._write(Ping())
            data = self._transport.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("the peer hung up")
        return data

    def _add(self, event: TextMessage | BytesMessage) -> bool:
        """Keep a fragment of a message; return whether it was the last."""
        # A character counts as one byte, as most are; the bound is against memory, not for billing.
        self._bytes += len(event.data)
        self._frames += event.frame_finished
        if self._bytes > self._max_message_bytes or self._frames > MAX_FRAGMENTS:
            reason = f"a message has at most {self._max_message_bytes} bytes"
            raise ProtocolViolation(CloseReason.MESSAGE_TOO_BIG, reason)
        if event.data or event.message_finished:
            self._fragments.append(event.data)
        return event.message_finished

    def _join(self, event: TextMessage | BytesMessage) -> str | bytes:
        fragments, self._fragments = self._fragments, []
        self._bytes = self._frames = 0
        empty: str | bytes = "" if isinstance(event, TextMessage) else b""
        return empty.join(fragments)

    def send(self, data: str | bytes) -> None:
        """Send a message; raises OSError when it does not get through, which ends the connection."""
        self._write(TextMessage(data) if isinstance(data, str) else BytesMessage(data))

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; what the peer still sends is ignored."""
        with suppress(OSError, LocalProtocolError):
            self._write(CloseConnection(code, reason))

    def drain(self) -> None:
        """Read and ignore the rest, or the close frame would be lost with the connection."""
        with suppress(OSError):
            self._transport.shutdown(socket.SHUT_WR)
            while self._transport.recv(RECEIVE_BYTES):
                pass

    def abort(self) -> None:
        """End the connection at once, also for threads that wait in it."""
        with suppress(OSError):
            self._transport.shutdown(socket.SHUT_RDWR)

    def _write(self, event: Event) -> None:
        # Frames of two threads must not mix, so the lock is held until the last byte is through.
        with self._write_lock:
            self._transport.sendall(self._connection.send(event))
