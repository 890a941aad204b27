"""A client of the stream that costs as little as it can, so that a bench measures the server.

One connection: it writes frames with a mask of zeros, and reads only what is counted.
"""

import base64
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from bench.people import Person
from core.base64url import encode

#: Seconds: a server that has little of the processor is late, and measured.
PATIENCE = 600
JSON, MSGPACK = "kith.v1.json", "kith.v1.msgpack"
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


class Ready(Struct, tag="ready", tag_field="type"):
    """The socket is open."""


class Message(Struct, tag="message", tag_field="type"):
    """A message came."""

    seq: int


class CaughtUp(Struct, tag="caught_up", tag_field="type"):
    """All that waited has come."""


class Accepted(Struct, tag="accepted", tag_field="type"):
    """A message is on disk."""

    client_id: str


class Acked(Struct, tag="acked", tag_field="type"):
    """Messages are deleted."""

    through: int


class Refused(Struct, tag="refused", tag_field="type"):
    """Something was not done."""

    problem: dict[str, Any]


Frame = Ready | Message | CaughtUp | Accepted | Acked | Refused
_READERS = {
    JSON: msgspec.json.Decoder(list[Frame]).decode,
    MSGPACK: msgspec.msgpack.Decoder(list[Frame]).decode,
}
_WRITERS = {
    JSON: msgspec.json.Encoder().encode,
    MSGPACK: msgspec.msgpack.Encoder(uuid_format="bytes").encode,
}


class Client:
    """An open socket."""

    def __init__(self, address: tuple[str, int], person: Person, codec: str) -> None:
        self.person = person
        self._opcode = _TEXT if codec == JSON else _BINARY
        self._decode, self._encode = _READERS[codec], _WRITERS[codec]
        self._codec = codec
        self._buffer = b""
        self.wire = socket.create_connection(address, timeout=PATIENCE)
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire.sendall(
            b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n"
            b"Authorization: Bearer %s\r\n\r\n"
            % (base64.b64encode(os.urandom(16)), codec.encode(), person.token.encode())
        )
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(f"the socket was refused: {head.decode()}")

    def _receive(self) -> bytes:
        data = self.wire.recv(262_144)
        if not data:
            raise ConnectionResetError("the server hung up")
        return data

    def message(self, to: Person, client_id: str, content: bytes) -> dict[str, Any]:
        """Make a `send` frame."""
        return {
            "type": "send",
            "to": to.account_id,
            "client_id": client_id,
            "envelopes": [
                {"device_id": to.device_id, "content": self._content(content)},
            ],
        }

    def _content(self, content: bytes) -> str | bytes:
        return encode(content) if self._codec == JSON else content

    def send(self, frames: Sequence[dict[str, Any]]) -> None:
        """Write frames in one message."""
        payload = self._encode(frames)
        size = len(payload)
        if size < 126:
            head = struct.pack("!BBI", self._opcode, 0x80 | size, 0)
        elif size < 65_536:
            head = struct.pack("!BBHI", self._opcode, 0xFE, size, 0)
        else:
            head = struct.pack("!BBQI", self._opcode, 0xFF, size, 0)
        self.wire.sendall(head + payload)

    def receive(self) -> list[Frame]:
        """Give the frames of whole messages; wait for bytes unless there are some from the handshake."""
        found = self._take()
        if not found:
            self._buffer += self._receive()
            found = self._take()
        return found

    def _take(self) -> list[Frame]:
        found: list[Frame] = []
        at, data = 0, self._buffer
        while len(data) - at >= 2:
            opcode, size, begins = data[at], data[at + 1], at + 2
            if size == 126:
                begins += 2
                size = int.from_bytes(data[at + 2 : begins])
            elif size == 127:
                begins += 8
                size = int.from_bytes(data[at + 2 : begins])
            if len(data) < begins + size or begins > len(data):
                break
            at = begins + size
            if opcode == self._opcode:
                found += self._decode(data[begins:at])
            elif opcode == _PING:
                self.wire.sendall(struct.pack("!BBI", _PONG, 0x80, 0))
            elif opcode == _CLOSE:
                raise ConnectionResetError(f"closed: {data[begins:at]!r}")
        self._buffer = data[at:]
        return found

    def wait_for(self, kind: type[Frame]) -> Any:
        """Wait for a frame of a type; others are dropped, but a refusal raises."""
        while True:
            for frame in self.receive():
                if isinstance(frame, Refused):
                    raise RuntimeError(f"refused: {frame.problem}")
                if isinstance(frame, kind):
                    return frame
