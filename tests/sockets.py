"""A WebSocket client for tests: it writes and reads frames in either codec, and broken ones byte by byte."""

import base64
import http.client
import io
import json
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import msgspec
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage

from core.base64url import encode

JSON, MSGPACK = "kith.v1.json", "kith.v1.msgpack"
PATIENCE = 10.0
#: Fields that are 16 bytes in MessagePack and texts here.
IDS = {"id", "to", "device_id", "from_account_id", "from_device_id", "group_id"}

Frame = dict[str, Any]


class Refused(Exception):
    """The handshake was answered with another status than 101."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, document: Frame) -> None:
        super().__init__(f"{status} {document}")
        self.status = status
        self.headers = headers
        self.code = str(document["type"]).removeprefix("/problems/")


class Closed(Exception):
    """The service closed the socket."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class TestSocket:
    """An open socket; frames are the same in both codecs: ids are texts, contents bytes."""

    __test__ = False

    def __init__(
        self,
        address: tuple[str, int],
        subprotocol: str = JSON,
        *,
        receive_buffer: int = 0,
        **headers: str,
    ) -> None:
        """Open it with these header fields (`_` for `-`); raises Refused."""
        self.subprotocol = subprotocol
        self.wire = socket.socket()
        if receive_buffer:
            self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.wire.settimeout(PATIENCE)
        self._connection = Connection(ConnectionType.CLIENT)
        self._frames: deque[Frame] = deque()
        self._parts: list[Any] = []
        self._pings = 0
        fields = {
            "Host": "127.0.0.1",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": subprotocol,
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value]
        try:
            self.wire.connect(address)
            self.wire.sendall(f"GET /v1/stream HTTP/1.1\r\n{''.join(lines)}\r\n".encode())
            self._handshake()
        except Exception:
            self.wire.close()
            raise

    def _handshake(self) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, rest = data.partition(b"\r\n\r\n")
        first, _, fields = head.partition(b"\r\n")
        self.headers = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
        status = int(first.split()[1])
        if status != 101:
            length = int(self.headers["Content-Length"])
            while len(rest) < length:
                rest += self._receive()
            raise Refused(status, self.headers, json.loads(rest))
        self._connection.receive_data(rest)

    def _receive(self) -> bytes:
        data = self.wire.recv(65_536)
        if not data:
            raise ConnectionResetError("the server hung up")
        return data

    def send(self, *frames: Frame) -> None:
        """Send frames in one message."""
        if self.subprotocol == JSON:
            self.send_raw(json.dumps(_convert(list(frames), _to_json)))
        else:
            self.send_raw(msgspec.msgpack.encode(_convert(list(frames), _to_msgpack)))

    def send_raw(self, message: str | bytes) -> None:
        """Send a message, whatever is in it."""
        self.wire.sendall(self._connection.send(Message(message)))

    def receive(self) -> Frame:
        """Wait for a frame; raises Closed."""
        while not self._frames:
            self._read()
        return self._frames.popleft()

    def expect(self, kind: str) -> Frame:
        """Wait for a frame, which is of this type."""
        frame = self.receive()
        assert frame.pop("type") == kind, frame
        return frame

    def closing(self) -> Closed:
        """Wait until the service closes the socket, and give why; frames until then are dropped."""
        try:
            while True:
                self._frames.clear()
                self._read()
        except Closed as closed:
            return closed

    def await_pings(self, number: int) -> None:
        """Wait until so many pings of the service were answered."""
        while self._pings < number:
            self._read()

    def settled(self) -> bool:
        """Say whether nothing is sent any more before the answer to a ping."""
        self.send({"type": "ping", "id": "settled"})
        return self.receive() == {"type": "pong", "id": "settled"}

    def _read(self) -> None:
        events = list(self._connection.events())
        if not events:
            self._connection.receive_data(self._receive())
        for event in events:
            match event:
                case TextMessage() | BytesMessage():
                    self._parts.append(event.data)
                    if event.message_finished:
                        self._frames.extend(self._decode())
                case Ping():
                    self._pings += 1
                    self.wire.sendall(self._connection.send(event.response()))
                case CloseConnection():
                    raise Closed(event.code, event.reason or "")

    def _decode(self) -> list[Frame]:
        parts, self._parts = self._parts, []
        if self.subprotocol == JSON:
            frames = _convert(json.loads("".join(parts)), _from_json)
        else:
            frames = _convert(msgspec.msgpack.decode(b"".join(parts)), _from_msgpack)
        assert isinstance(frames, list)
        return frames

    def close(self) -> None:
        """Hang up."""
        self.wire.close()

    def __enter__(self) -> Self:
        """Keep it open in a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.close()


def _convert(value: Any, change: Callable[[str, Any], Any], name: str = "") -> Any:
    """Change each value in frames, by the name of its field."""
    if isinstance(value, dict):
        return {key: _convert(part, change, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_convert(part, change, name) for part in value]
    return change(name, value)


def _to_json(name: str, value: Any) -> Any:
    return encode(value) if isinstance(value, bytes) else value


def _to_msgpack(name: str, value: Any) -> Any:
    if name in IDS and isinstance(value, str):
        with suppress(ValueError):
            return UUID(value).bytes
    return value


def _from_json(name: str, value: Any) -> Any:
    return base64.urlsafe_b64decode(value + "==") if name == "content" else value


def _from_msgpack(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(UUID(bytes=value)) if name in IDS and isinstance(value, bytes) else value
