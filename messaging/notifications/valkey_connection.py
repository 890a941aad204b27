"""One connection to Valkey, from its beginning to its end: what is asked on it, and what comes.

Owns the match of answers to questions: with RESP3 one connection both publishes and is subscribed, and
Valkey takes what is written in order. Refuses to be used again once it has ended.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast
from uuid import UUID

from valkey import ConnectionPool
from valkey.connection import AbstractConnection
from valkey.exceptions import ConnectionError as ValkeyConnectionError

from messaging.notifications.notifications import encode
from messaging.notifications.publish_queue import Publication

#: Seconds to connect.
CONNECT_SECONDS = 2.0
#: Seconds without a word after which the connection is given up; a ping goes out each second.
SILENCE_SECONDS = 3.0
#: Answers after which others get a turn.
TURN = 64


def open_line(url: str) -> AbstractConnection:
    """Connect to the Valkey at an address; raises ValkeyError or OSError."""
    safe = {"ssl_check_hostname": True} if url.startswith("valkeys:") else {}
    pool = cast(Any, ConnectionPool).from_url(
        url,
        protocol=3,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=SILENCE_SECONDS,
        **safe,
    )
    connection: Any = pool.make_connection()
    connection.connect()
    # Its own handler would write everything that comes into the debug log.
    connection._parser.set_pubsub_push_handler(lambda pushed: pushed)
    return cast(AbstractConnection, connection)


class ValkeyConnection:
    """Sends from one thread, reads in another."""

    def __init__(
        self,
        connection: AbstractConnection,
        namespace: str,
        joined: Callable[[UUID], None],
        received: Callable[[UUID, bytes], None],
        unheard: Callable[[Sequence[UUID]], None],
    ) -> None:
        self._connection: Any = connection
        self._prefix = f"{namespace}:device:"
        self._joined = joined
        self._received = received
        self._unheard = unheard
        self._lock = threading.Lock()
        self._ended = False
        #: What is not answered yet, in order; None is a ping.
        self._asked: deque[Publication | None] = deque()

    def channel(self, device_id: UUID) -> str:
        """Name the channel of a device."""
        return self._prefix + device_id.hex

    def subscribe(self, device_ids: Sequence[UUID]) -> None:
        """Hear what is said about devices."""
        self._send([("SUBSCRIBE", *map(self.channel, device_ids))], ())

    def unsubscribe(self, device_ids: Sequence[UUID]) -> None:
        """Hear it no longer."""
        self._send([("UNSUBSCRIBE", *map(self.channel, device_ids))], ())

    def publish(self, publications: Sequence[Publication]) -> None:
        """Tell others; who is urgent and heard by nobody is `unheard` then."""
        commands = [("PUBLISH", self.channel(p.device_id), encode(p.hint)) for p in publications]
        self._send(commands, publications)

    def ping(self) -> None:
        """Have Valkey show that it is there."""
        self._send([("PING",)], (None,))

    def _send(
        self, commands: Sequence[tuple[Any, ...]], asked: Sequence[Publication | None]
    ) -> None:
        with self._lock:
            self._asked.extend(asked)
            if self._ended:
                # The connection would connect again by itself.
                raise ValkeyConnectionError("it has ended")
            self._connection.send_packed_command(self._connection.pack_commands(commands))

    def run(self) -> NoReturn:
        """Read until it ends; raises why it did."""
        answers = 0
        while True:
            answer = self._connection.read_response(disconnect_on_error=False, push_request=True)
            if isinstance(answer, list):
                self._take_push(answer)
            else:
                self._take_answer(answer)
            answers += 1
            if answers % TURN == 0:
                time.sleep(0)

    def _take_push(self, pushed: list[Any]) -> None:
        kind, channel = pushed[0], cast(bytes, pushed[1])
        if kind == b"unsubscribe":
            return
        device_id = UUID(channel.decode().removeprefix(self._prefix))
        if kind == b"subscribe":
            self._joined(device_id)
        elif kind == b"message":
            self._received(device_id, pushed[2])

    def _take_answer(self, receivers: Any) -> None:
        publication = self._asked.popleft()
        if publication is None:
            return
        if publication.heard is not None:
            publication.heard(bool(receivers))
        elif publication.is_urgent and not receivers:
            self._unheard([publication.device_id])

    def end(self) -> Sequence[Publication]:
        """Close the connection; give what nobody knows the fate of."""
        with self._lock:
            self._ended = True
            self._connection.disconnect()
            left = [publication for publication in self._asked if publication is not None]
            self._asked.clear()
        return left
