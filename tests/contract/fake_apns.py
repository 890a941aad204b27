"""APNs on the loopback: HTTP/2, a device token in the path, a reason where something is wrong.

Written from Apple's "Sending notification requests to APNs", with nothing of the service.
"""

import json
import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded


@dataclass
class Notification:
    """One request as it arrived."""

    headers: dict[str, str]
    body: bytes = b""

    @property
    def document(self) -> Any:
        """The payload."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Verdict:
    """What is answered next; `status` 0 drops the connection."""

    status: int = 200
    reason: str | None = None
    retry_after: str | None = None


class FakeApns:
    """The service on a free port; use as a context manager."""

    def __init__(self) -> None:
        self.received: list[Notification] = []
        self.verdicts: deque[Verdict] = deque()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        """The base address; both sides know that it is HTTP/2."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        # The client may be gone at any moment.
        with connection, suppress(OSError):
            self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        state = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        state.initiate_connection()
        requests: dict[int, Notification] = {}
        connection.sendall(state.data_to_send())
        while data := connection.recv(65_536):
            for event in state.receive_data(data):
                if isinstance(event, RequestReceived):
                    requests[event.stream_id] = Notification(dict(event.headers))
                elif isinstance(event, DataReceived):
                    requests[event.stream_id].body += event.data
                elif isinstance(event, StreamEnded):
                    notification = requests.pop(event.stream_id)
                    self.received.append(notification)
                    verdict = self.verdicts.popleft() if self.verdicts else Verdict()
                    if not verdict.status:
                        return
                    _answer(state, event.stream_id, verdict)
            connection.sendall(state.data_to_send())


def _answer(state: H2Connection, stream_id: int, verdict: Verdict) -> None:
    headers = [(":status", str(verdict.status)), ("apns-id", "an-id")]
    if verdict.retry_after:
        headers.append(("retry-after", verdict.retry_after))
    body = json.dumps({"reason": verdict.reason}).encode() if verdict.reason else b""
    state.send_headers(stream_id, headers, end_stream=not body)
    if body:
        state.send_data(stream_id, body, end_stream=True)
