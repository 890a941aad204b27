"""The message stream, WS /v1/stream with MessagePack frames: receive, store and acknowledge messages, and
reconnect. Messages are sent over HTTP, where each has its answer.
"""

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import simple_websocket
from wsproto.utilities import LocalProtocolError

from kith.client import Kith
from kith.errors import KithAnswerUnreadable, KithError
from kith.messaging.history import Entry
from kith.messaging.messenger import Messenger
from kith.models import Message, Missed

SUBPROTOCOL = "kith.v1.msgpack"
PING_SECONDS = 25
FLUSH_SECONDS = 25  # between attempts to send the queue while the socket is open
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 60.0
MAX_FRAME_BYTES = 1 << 24
_FINAL_REASONS = {
    4001: "Another program of this device has connected instead.",
    4002: "The token of this device was replaced.",
    4003: "This device was signed out.",
}
_NOT_ALLOWED = (401, 403)


class StreamEnded(Exception):
    """The server has closed the stream for good; the message says why."""


class _Socket(simple_websocket.Client):  # type: ignore[misc]  # it has no types
    """A socket that is closed when the handshake fails, which the library leaves open."""

    def handshake(self) -> None:
        """Connect, or close the socket and raise."""
        try:
            super().handshake()
        except BaseException:
            self.sock.close()
            raise


class Stream:
    """A device's socket; `run` it in a thread of its own, and `stop` it from any other.

    on_change: called in that thread with new texts and own texts with a new state. on_lock_removal:
    called with the time when the registration lock ends, as somebody requested without the PIN;
    None: the removal was canceled.
    """

    def __init__(
        self,
        kith: Kith,
        messenger: Messenger,
        *,
        on_change: Callable[[Sequence[Entry]], None],
        on_lock_removal: Callable[[datetime | None], None] = lambda _: None,
        min_pause: float = MIN_PAUSE_SECONDS,
    ) -> None:
        """Take the client and messenger of a device; min_pause: seconds before the first
        reconnection.
        """
        self._kith = kith
        self._messenger = messenger
        self._on_change = on_change
        self._on_lock_removal = on_lock_removal
        self._min_pause = min_pause
        self._stopped = threading.Event()
        self._failures = 0
        self._flushed_at = 0.0
        self._socket: _Socket | None = None

    def run(self) -> None:
        """Receive until `stop`; raise StreamEnded when reconnecting is pointless."""
        while not self._stopped.is_set():
            try:
                self._connect()
                self._listen()
            except simple_websocket.ConnectionClosed as closed:
                if closed.reason in _FINAL_REASONS:
                    raise StreamEnded(_FINAL_REASONS[closed.reason]) from None
            except simple_websocket.ConnectionError as error:
                if error.status_code in _NOT_ALLOWED:
                    raise StreamEnded(_FINAL_REASONS[4003]) from None
            except (OSError, KithError):
                pass  # reconnect after the pause
            finally:
                self._disconnect()
            self._failures += 1
            pause = min(MAX_PAUSE_SECONDS, self._min_pause * 2.0**self._failures)
            self._stopped.wait(pause * random.uniform(0.5, 1))  # noqa: S311  # spreads load

    def stop(self) -> None:
        """End `run` soon."""
        self._stopped.set()
        self._disconnect()

    def _connect(self) -> None:
        self._socket = _Socket.connect(
            self._kith.stream_address,
            subprotocols=[SUBPROTOCOL],
            headers={"Authorization": f"Bearer {self._kith.device_token}"},
            ping_interval=PING_SECONDS,
            max_message_size=MAX_FRAME_BYTES,
        )
        self._failures = 0
        # The library reads frames that came with the handshake only when more arrive: the pong.
        self._socket.send(msgspec.msgpack.encode({"type": "ping"}))
        self._flush()

    def _flush(self) -> None:
        """Send the queue; a failure must not stop the receiving."""
        self._messenger.flush_if_possible()
        self._flushed_at = time.monotonic()

    def _disconnect(self) -> None:
        if self._socket is not None:
            # LocalProtocolError: `stop` and `run` close at the same time, from two threads.
            closing = (simple_websocket.ConnectionClosed, LocalProtocolError, OSError)
            with contextlib.suppress(*closing):
                self._socket.close()

    def _listen(self) -> None:
        assert self._socket is not None
        while not self._stopped.is_set():
            data = self._socket.receive(timeout=1)
            if data is not None:
                self._process(self._socket, data)
            elif time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
                self._flush()

    def _process(self, socket: _Socket, data: bytes | str) -> None:
        try:
            frames = msgspec.msgpack.decode(data.encode() if isinstance(data, str) else data)
            messages = [_message(one) for one in frames if one.get("type") == "message"]
            missed = [msgspec.convert(one, Missed) for one in frames if one.get("type") == "missed"]
            low = any(one.get("type") == "keys_low" for one in frames)
            removals = [
                msgspec.convert(one.get("ends_at"), datetime | None)
                for one in frames
                if one.get("type") == "registration_lock_removal"
            ]
        except (msgspec.MsgspecError, AttributeError, KeyError, TypeError, ValueError):
            raise KithAnswerUnreadable("A frame of the stream cannot be read.") from None
        if messages:
            changed = self._messenger.process(messages)
            through = {"type": "ack", "through": messages[-1].seq}
            socket.send(msgspec.msgpack.encode(through))
            if changed:
                self._on_change(changed)
            self._flush()
        for one in missed:
            self._messenger.record_gap(one)
        for ends_at in removals:
            self._on_lock_removal(ends_at)
        if low:
            self._messenger.publish_keys()


def _message(frame: Mapping[str, Any]) -> Message:
    """Return a message; the ids of frames are bytes."""
    names = ("id", "from_account_id", "from_device_id")
    ids: dict[str, object] = {name: _id(frame[name]) for name in names}
    if group := frame.get("group"):
        ids["group"] = {**group, "id": _id(group["id"])}
    return msgspec.convert({**frame, **ids}, Message)


def _id(raw: bytes) -> str:
    return str(uuid.UUID(hex=raw.hex()))
