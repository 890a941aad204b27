"""The route of the stream: who may open a socket, and in which codec.

Owns the handshake (RFC 6455 section 4.2) up to its answer; every refusal before that is an ordinary problem.
"""

import base64
import binascii
import errno
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, current_app, g, request
from wsproto.utilities import generate_accept_token

from core.api import Api
from core.problems import MalformedRequest
from messaging.stream.codecs import CODECS, JSON, Codec
from messaging.stream.problems import SubprotocolUnknown, UpgradeRequired
from messaging.stream.service import StreamService
from messaging.stream.websocket import Transport
from tokens.authenticate import Caller, authenticate_device, hold_connection
from tokens.device_tokens import DeviceTokenService
from tokens.problems import TokenMissing
from tokens.routes import AUTHENTICATION

#: How a browser, which can set no header, offers the token beside the subprotocol.
BEARER = "bearer."
KEY_SIZE = 16


def authenticate_socket() -> Caller:
    """Say which device opens a socket; raises a 401 problem when none does, or TooManyConnections."""
    tokens = [offer.removeprefix(BEARER) for offer in _offers() if offer.startswith(BEARER)]
    if not tokens or "Authorization" in request.headers:
        return authenticate_device()
    if len(tokens) > 1:
        raise TokenMissing("Offer one token.")
    service: DeviceTokenService = current_app.extensions["kith"].tokens
    caller = service.authenticate(tokens[0])
    hold_connection(caller)
    return caller


stream_api = Api(
    "stream",
    __name__,
    description="Send, receive and acknowledge over one WebSocket: see docs/messaging.md",
    authenticate=authenticate_socket,
    problems=AUTHENTICATION,
    headers=(
        {
            "name": "Sec-WebSocket-Protocol",
            "in": "header",
            "required": False,
            "description": f"{' or '.join(CODECS)};"
            f" and `{BEARER}kith_…` where `Authorization` cannot be set.",
            "schema": {"type": "string"},
        },
    ),
)


@stream_api.operation(
    "GET",
    "/stream",
    answer=None,
    status=101,
    problems=(MalformedRequest, SubprotocolUnknown, UpgradeRequired),
)
def open_stream(caller: Caller) -> Response:
    """Open the stream of the calling device: a WebSocket, which takes the place of an older one."""
    key = _key()
    codec = _codec()
    streams: StreamService = current_app.extensions["kith"].messaging.streams
    transport: Transport = (
        request.environ.get("gunicorn.socket") or request.environ["werkzeug.socket"]
    )
    request_id = g.request_id
    return _Switching(
        {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": generate_accept_token(key.encode()).decode(),
            **({"Sec-WebSocket-Protocol": codec.subprotocol} if _offers() else {}),
        },
        lambda head: streams.serve(caller, codec, transport, head, request_id),
    )


# Werkzeug matches an upgrade only with a rule that says so, and whatever else never with that.
stream_api.add_url_rule("/stream", open_stream.__name__, methods=["GET"], websocket=True)


def _offers() -> list[str]:
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    return [offer.strip() for offer in offered.split(",") if offer.strip()]


def _key() -> str:
    """Give the client's key if this is a handshake."""
    headers = request.headers
    if (
        headers.get("Upgrade", "").lower() != "websocket"
        or "upgrade" not in headers.get("Connection", "").lower()
        or headers.get("Sec-WebSocket-Version") != "13"
    ):
        raise UpgradeRequired("Ask for a WebSocket of version 13.")
    key = headers.get("Sec-WebSocket-Key", "")
    try:
        if len(base64.b64decode(key, validate=True)) == KEY_SIZE:
            return key
    except binascii.Error:
        pass
    raise MalformedRequest("Sec-WebSocket-Key is 16 bytes in base64.")


def _codec() -> Codec:
    offers = _offers()
    if not offers:
        return JSON
    for offer in offers:
        if offer in CODECS:
            return CODECS[offer]
    raise SubprotocolUnknown(f"Offer {' or '.join(CODECS)}.")


class _Switching(Response):
    """The answer to a handshake: the connection is a socket's from here on.

    It is served while the server iterates over the body, when the request is over for Flask: logged,
    counted, and out of memory.
    """

    def __init__(self, headers: dict[str, str], serve: Callable[[bytes], None]) -> None:
        super().__init__(status=101, headers=headers)
        del self.headers["Content-Type"]
        self._serve = serve

    def __call__(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        """Serve the socket as the body of this answer."""
        lines = [f"{name}: {value}\r\n" for name, value in self.headers]
        head = f"HTTP/1.1 {self.status}\r\n{''.join(lines)}\r\n".encode("latin-1")
        return _take_over(self._serve, head)


def _take_over(serve: Callable[[bytes], None], head: bytes) -> Iterator[bytes]:
    serve(head)
    # Neither server may write an answer after that; of a connection that is gone both think nothing.
    raise BrokenPipeError(errno.EPIPE, "the socket has ended")
    yield b""
