"""A local server that speaks Twilio's API as the SDK sees it, over real HTTP.

Owns the shape of Twilio's answers and faults, as https://www.twilio.com/docs/api describes them.
"""

import base64
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

ACCOUNT_SID = "AC" + "0123456789abcdef" * 2
AUTH_TOKEN = "f00dfeed" * 4


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    form: dict[str, list[str]]
    headers: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What the server does next: answers so, after a delay, or drops the connection."""

    status: int = 201
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    drop: bool = False
    cut_body: bool = False


def refusal(
    status: int, code: int, headers: dict[str, str] | None = None, message: str = "refused"
) -> Answer:
    """Build the error document of Twilio's API."""
    document = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return Answer(status, json.dumps(document).encode(), headers or {})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Dozens of sends may arrive at once, and none may be lost before it is answered.
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of handshakes that the client broke off."""


class FakeTwilio:
    """Twilio's API on a free port of the loopback; use as a context manager."""

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
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "FakeTwilio":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The base address to give the provider."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def next(self, *answers: Answer) -> None:
        """Answer the next requests so; after them, everything is accepted again."""
        self.answers.extend(answers)


def _handler(fake: FakeTwilio) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            request = Received("POST", self.path, parse_qs(body), dict(self.headers))
            fake.received.append(request)
            answer = fake.answers.popleft() if fake.answers else self._accept(request)
            fake.before_answer(request)
            time.sleep(answer.delay)
            if answer.drop:
                self._reset()
                return
            with suppress(ConnectionError):
                self._write(answer)

        def _accept(self, request: Received) -> Answer:
            login = base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()
            if request.headers.get("Authorization") != f"Basic {login}":
                return refusal(401, 20003, message="Authenticate")
            resources = {"Messages.json": _message, "Calls.json": _call}
            prefix = f"/2010-04-01/Accounts/{ACCOUNT_SID}/"
            build = resources.get(request.path.removeprefix(prefix))
            if build is None:
                return refusal(404, 20404, message=f"{request.path} was not found")
            return Answer(201, json.dumps(build(request, len(fake.received))).encode())

        def _write(self, answer: Answer) -> None:
            body = answer.body or b""
            self.send_response(answer.status)
            if not any(name.lower() == "content-type" for name in answer.headers):
                self.send_header("Content-Type", "application/json")
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) + 100 * answer.cut_body))
            self.end_headers()
            self.wfile.write(body)
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


def _one(request: Received, name: str) -> str | None:
    return request.form.get(name, [None])[0]


def _common(request: Received, sid: str, resource: str) -> dict[str, Any]:
    return {
        "account_sid": ACCOUNT_SID,
        "api_version": "2010-04-01",
        "date_created": "Sun, 22 Nov 2026 10:20:30 +0000",
        "date_updated": "Sun, 22 Nov 2026 10:20:30 +0000",
        "direction": "outbound-api",
        "from": _one(request, "From"),
        "price": None,
        "price_unit": "USD",
        "sid": sid,
        "status": "queued",
        "subresource_uris": {},
        "to": _one(request, "To"),
        "uri": f"/2010-04-01/Accounts/{ACCOUNT_SID}/{resource}/{sid}.json",
    }


def _message(request: Received, count: int) -> dict[str, Any]:
    return _common(request, f"SM{count:032x}", "Messages") | {
        "body": _one(request, "Body"),
        "date_sent": None,
        "error_code": None,
        "error_message": None,
        "messaging_service_sid": _one(request, "MessagingServiceSid"),
        "num_media": "0",
        "num_segments": "1",
    }


def _call(request: Received, count: int) -> dict[str, Any]:
    return _common(request, f"CA{count:032x}", "Calls") | {
        "answered_by": None,
        "caller_name": None,
        "duration": None,
        "end_time": None,
        "forwarded_from": None,
        "group_sid": None,
        "parent_call_sid": None,
        "phone_number_sid": "PN" + "0" * 32,
        "queue_time": "0",
        "start_time": None,
    }
