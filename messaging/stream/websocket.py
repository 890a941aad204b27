"""A WebSocket on the connection of a request (RFC 6455), once the service has agreed to it.

Owns how it is accepted, what is a whole message, pings, and how it ends. Refuses what is not the protocol,
and messages over a bound before they are whole; and takes no compression, whose windows would cost each
socket more memory than all the rest of it. Knows nothing of what is in a message.
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
#: Fragments of one message: enough for clients that cut at 4 KiB, and an end to those of no bytes.
MAX_FRAGMENTS = 4096
#: Seconds a peer has to read the last frame and answer it.
LAST_SECONDS = 1.0


class Violation(Exception):
    """The peer breaks the protocol or a bound; `code` is the close code for it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Wire(Protocol):
    """What is used of a socket."""

    def settimeout(self, seconds: float | None, /) -> None:
        """Bound each of the following calls."""

    def recv(self, most: int, /) -> bytes:
        """Wait for bytes."""

    def sendall(self, data: bytes, /) -> None:
        """Write all of it."""

    def shutdown(self, how: int, /) -> None:
        """End it for both sides."""


class WebSocket:
    """One connection: one thread reads it, any thread writes."""

    def __init__(self, wire: Wire, largest: int, patience: float) -> None:
        """Take over a connection.

        largest: bytes of a message. patience: seconds of silence after which the peer is asked whether
        it is there, that it then has to answer, and in which a write has to get through.
        """
        self._wire = wire
        self._largest = largest
        self._connection = Connection(ConnectionType.SERVER)
        self._writing = threading.Lock()
        self._parts: list[Any] = []
        self._size = 0
        self._fragments = 0
        wire.settimeout(patience)

    def accept(self, head: bytes) -> None:
        """Answer the handshake."""
        self._wire.sendall(head)

    def messages(self) -> Iterator[str | bytes]:
        """Give whole messages, until the peer closes.

        Raises Violation, or OSError when the connection is lost.
        """
        while True:
            self._connection.receive_data(self._receive())
            for event in self._connection.events():
                match event:
                    case TextMessage() | BytesMessage():
                        if self._add(event):
                            yield self._whole(event)
                    case Ping():
                        self._write(event.response())
                    case CloseConnection():
                        if self._connection.state is ConnectionState.OPEN:
                            # Nobody closed: this is how wsproto says that it cannot read on.
                            raise Violation(event.code, event.reason or "")
                        with suppress(LocalProtocolError):
                            self._write(event.response())
                        return
            # Others first: a greenlet whose next bytes are here already would keep the worker.
            time.sleep(0)

    def _receive(self) -> bytes:
        """Wait for bytes, and ask once whether the peer is there."""
        try:
            data = self._wire.recv(RECEIVE_BYTES)
        except TimeoutError:
            self._write(Ping())
            data = self._wire.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("the peer hung up")
        return data

    def _add(self, event: TextMessage | BytesMessage) -> bool:
        """Keep a part of a message; say whether it was the last."""
        # A character counts as one byte, as most are; the bound is against memory, not for billing.
        self._size += len(event.data)
        self._fragments += event.frame_finished
        if self._size > self._largest or self._fragments > MAX_FRAGMENTS:
            reason = f"a message has at most {self._largest} bytes"
            raise Violation(CloseReason.MESSAGE_TOO_BIG, reason)
        if event.data or event.message_finished:
            self._parts.append(event.data)
        return event.message_finished

    def _whole(self, event: TextMessage | BytesMessage) -> str | bytes:
        parts, self._parts = self._parts, []
        self._size = self._fragments = 0
        nothing: str | bytes = "" if isinstance(event, TextMessage) else b""
        return nothing.join(parts)

    def send(self, data: str | bytes) -> None:
        """Send a message.

        Raises OSError when it does not get through; the connection is of no use then.
        """
        self._write(TextMessage(data) if isinstance(data, str) else BytesMessage(data))

    def close(self, code: int, reason: str) -> None:
        """Say that this is the end; what the peer still sends is not given any more."""
        with suppress(OSError, LocalProtocolError):
            self._write(CloseConnection(code, reason))

    def drain(self) -> None:
        """Read to the end without a look at it, or what was said last would be lost with the connection."""
        with suppress(OSError):
            self._wire.shutdown(socket.SHUT_WR)
            while self._wire.recv(RECEIVE_BYTES):
                pass

    def abort(self) -> None:
        """End it at once, for whoever waits in it."""
        with suppress(OSError):
            self._wire.shutdown(socket.SHUT_RDWR)

    def _write(self, event: Event) -> None:
        # Frames of two threads must not mix, so this is held until the last byte is through.
        with self._writing:
            self._wire.sendall(self._connection.send(event))
