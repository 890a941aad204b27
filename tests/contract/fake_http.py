"""A local HTTP server that plays a provider: it keeps what arrives and answers as it is told.

It misbehaves as peers do: late, cut short, gone.
"""

import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    #: The port that it came from, which tells connections apart.
    port: int

    @property
    def form(self) -> dict[str, list[str]]:
        """The body as a form."""
        return parse_qs(self.body.decode())

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What the server does next: answers so, after a delay, or drops the connection."""

    status: int = 201
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    drop: bool = False
    cut_body: bool = False
    #: Seconds between one byte of the body and the next.
    drip: float = 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Dozens of sends may arrive at once, and none may be lost before it is answered.
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of handshakes that the client broke off."""


@contextmanager
def serving(server: HTTPServer) -> Iterator[None]:
    """Let a server answer in a thread of its own, and close it in the end."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class FakeProvider:
    """A provider's API on a free port of the loopback; use as a context manager."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.answers: deque[Answer] = deque()
        #: Called with each request before it is answered: a report can overtake its answer.
        self.before_answer: Callable[[Received], None] = lambda request: None
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._scheme = "https" if tls else "http"
        if tls:
            # The handshake is left to the thread of the connection.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._serving = serving(self._server)

    def __enter__(self) -> Self:
        self._serving.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._serving.__exit__(*error)

    @property
    def url(self) -> str:
        """The base address to give the provider."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def next(self, *answers: Answer) -> None:
        """Answer the next requests so; after them, everything is accepted again."""
        self.answers.extend(answers)

    def accept(self, request: Received) -> Answer:
        """Answer a request as the provider does when all is well."""
        raise NotImplementedError


def _handler(fake: FakeProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            port = self.client_address[1]
            request = Received(self.command, self.path, body, dict(self.headers), port)
            fake.received.append(request)
            answer = fake.answers.popleft() if fake.answers else fake.accept(request)
            fake.before_answer(request)
            time.sleep(answer.delay)
            if answer.drop:
                self._reset()
                return
            with suppress(ConnectionError):
                self._write(answer)

        do_GET = do_POST

        def _write(self, answer: Answer) -> None:
            body = answer.body or b""
            self.send_response(answer.status)
            if not any(name.lower() == "content-type" for name in answer.headers):
                self.send_header("Content-Type", "application/json")
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) + 100 * answer.cut_body))
            self.end_headers()
            for part in (bytes([byte]) for byte in body) if answer.drip else (body,):
                self.wfile.write(part)
                time.sleep(answer.drip)
            self.close_connection = answer.cut_body

        def _reset(self) -> None:
            """Drop the connection the hard way, as a crashed peer does."""
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def date_time_string(self, timestamp: float | None = None) -> str:
            """Give a fixed `Date`, so that dates in Retry-After can be told."""
            return "Sun, 22 Nov 2026 10:20:30 GMT"

    return Handler
