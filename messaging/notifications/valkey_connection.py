"""One connection to Valkey, which both publishes and subscribes (RESP3).

Valkey answers commands in their order, which matches answers to commands. A connection that has ended is not
used again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast
from uuid import UUID

from valkey import ConnectionPool
from valkey.exceptions import ConnectionError as ValkeyConnectionError

from messaging.notifications.notifications import encode
from messaging.notifications.publish_queue import Publication

#: Seconds to connect.
CONNECT_SECONDS = 2.0
#: Seconds without an answer after which the connection is given up; a ping goes out each second.
TIMEOUT_SECONDS = 3.0
#: Answers read before other greenlets run.
MAX_ANSWERS_AT_ONCE = 64


def connect(url: str, timeout_seconds: float) -> Any:
    """Return a connection of the valkey client to an address; raises ValkeyError or OSError."""
    options = {"ssl_check_hostname": True} if url.startswith("valkeys:") else {}
    pool = cast(Any, ConnectionPool).from_url(
        url,
        protocol=3,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=timeout_seconds,
        **options,
    )
    connection = pool.make_connection()
    connection.connect()
    # Its own handler would write everything that arrives into the debug log.
    connection._parser.set_pubsub_push_handler(lambda pushed: pushed)
    return connection


@dataclass(eq=False, repr=False)
class ValkeyConnection:
    """Sends from one thread, reads in another."""

    #: From `connect`.
    connection: Any
    channel_prefix: str
    on_subscribed: Callable[[UUID], None]
    on_message: Callable[[UUID, bytes], None]
    #: Called with devices whose urgent notification no process received.
    on_offline: Callable[[Sequence[UUID]], None]
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _ended: bool = field(default=False, init=False)
    #: Commands without an answer, in order; None is a ping.
    _unanswered: deque[Publication | None] = field(default_factory=deque, init=False)

    def _channel(self, device_id: UUID) -> str:
        return self.channel_prefix + device_id.hex

    def subscribe(self, device_ids: Sequence[UUID]) -> None:
        """Receive the notifications of devices."""
        self._send([("SUBSCRIBE", *map(self._channel, device_ids))], ())

    def unsubscribe(self, device_ids: Sequence[UUID]) -> None:
        """Receive them no longer."""
        self._send([("UNSUBSCRIBE", *map(self._channel, device_ids))], ())

    def publish(self, publications: Sequence[Publication]) -> None:
        """Publish notifications."""
        commands = [
            ("PUBLISH", self._channel(p.device_id), encode(p.notification)) for p in publications
        ]
        self._send(commands, publications)

    def ping(self) -> None:
        """Ask Valkey for an answer."""
        self._send([("PING",)], (None,))

    def _send(
        self, commands: Sequence[tuple[Any, ...]], unanswered: Sequence[Publication | None]
    ) -> None:
        with self._lock:
            self._unanswered.extend(unanswered)
            if self._ended:
                # The valkey client would connect again by itself.
                raise ValkeyConnectionError("it has ended")
            self.connection.send_packed_command(self.connection.pack_commands(commands))

    def run(self) -> NoReturn:
        """Read until it ends; raises the error that ended it."""
        answers = 0
        while True:
            answer = self.connection.read_response(disconnect_on_error=False, push_request=True)
            if isinstance(answer, list):
                self._handle_push(answer)
            else:
                self._handle_answer(answer)
            answers += 1
            if answers % MAX_ANSWERS_AT_ONCE == 0:
                time.sleep(0)

    def _handle_push(self, pushed: list[Any]) -> None:
        kind, channel = pushed[0], cast(bytes, pushed[1])
        if kind == b"unsubscribe":
            return
        device_id = UUID(channel.decode().removeprefix(self.channel_prefix))
        if kind == b"subscribe":
            self.on_subscribed(device_id)
        elif kind == b"message":
            self.on_message(device_id, pushed[2])

    def _handle_answer(self, receivers: Any) -> None:
        publication = self._unanswered.popleft()
        if publication is None:
            return
        if publication.on_presence is not None:
            publication.on_presence(bool(receivers))
        elif publication.is_urgent and not receivers:
            self.on_offline([publication.device_id])

    def end(self) -> Sequence[Publication]:
        """Close the connection; return the publications that may have reached nobody."""
        with self._lock:
            self._ended = True
            self.connection.disconnect()
            left = [publication for publication in self._unanswered if publication is not None]
            self._unanswered.clear()
        return left
