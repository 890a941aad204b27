"""The route of the stream: the handshake of a WebSocket (RFC 6455, section 4.2), up to its answer.

Everything that is refused before that is an ordinary problem document.
"""

import base64
import binascii
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import Response, g, request
from wsproto.utilities import generate_accept_token

from core.api import Api
from core.problems import MalformedRequest
from messaging.stream.codecs import CODECS, JSON, Codec
from messaging.stream.problems import SubprotocolUnknown, UpgradeRequired
from messaging.stream.service import StreamService
from messaging.stream.websocket import Transport
from tokens.authenticate import Authenticator, Caller
from tokens.problems import TokenMissing
from tokens.routes import AUTHENTICATION

#: How a browser, which can set no header, offers the token beside the subprotocol.
BEARER = "bearer."
KEY_BYTES = 16


@dataclass(frozen=True)
class SocketAuthenticator:
    """Identifies the device that opens a socket, also by a token among the subprotocols."""

    authenticator: Authenticator

    def device(self) -> Caller:
        """Return the device; raises a 401 problem, or TooManyConnections."""
        tokens = [offer.removeprefix(BEARER) for offer in _offers() if offer.startswith(BEARER)]
        if not tokens or "Authorization" in request.headers:
            return self.authenticator.device()
        if len(tokens) > 1:
            raise TokenMissing("Offer one token.")
        return self.authenticator.device_by(tokens[0])


def stream_api(streams: StreamService, authenticate: Callable[[], Caller]) -> Api:
    """Return the route `/stream`."""
    api = Api(
        "stream",
        __name__,
        description="Send, receive and acknowledge over one WebSocket: see docs/messaging.md",
        authenticate=authenticate,
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

    @api.operation(
        "GET",
        "/stream",
        answer=None,
        status=101,
        problems=(MalformedRequest, SubprotocolUnknown, UpgradeRequired),
    )
    def open_stream(caller: Caller) -> Response:
        """Open the stream of the calling device: a WebSocket, which replaces an older one."""
        accept = generate_accept_token(_key().encode()).decode()
        codec = _codec()
        environ, request_id = request.environ, g.request_id
        transport: Transport = environ.get("gunicorn.socket") or environ["werkzeug.socket"]
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept,
        }
        if _offers():
            headers["Sec-WebSocket-Protocol"] = codec.subprotocol
        return _SwitchingProtocols(
            headers, partial(streams.serve, caller, codec, transport, request_id)
        )

    # Werkzeug matches an upgrade only with a rule that says so, and other requests never with that.
    api.add_url_rule("/stream", open_stream.__name__, methods=["GET"], websocket=True)
    return api


def _offers() -> list[str]:
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    return [offer.strip() for offer in offered.split(",") if offer.strip()]


def _key() -> str:
    """Return the key of a handshake; raises UpgradeRequired or MalformedRequest."""
    headers = request.headers
    if (
        headers.get("Upgrade", "").lower() != "websocket"
        or "upgrade" not in headers.get("Connection", "").lower()
        or headers.get("Sec-WebSocket-Version") != "13"
    ):
        raise UpgradeRequired("Ask for a WebSocket of version 13.")
    key = headers.get("Sec-WebSocket-Key", "")
    try:
        if len(base64.b64decode(key, validate=True)) == KEY_BYTES:
            return key
    except binascii.Error:
        pass
    raise MalformedRequest("Sec-WebSocket-Key is 16 bytes in base64.")


def _codec() -> Codec:
    """Return the codec of the first known subprotocol that is offered; without an offer, JSON."""
    offers = _offers()
    if not offers:
        return JSON
    for offer in offers:
        if offer in CODECS:
            return CODECS[offer]
    raise SubprotocolUnknown(f"Offer {' or '.join(CODECS)}.")


class _SwitchingProtocols(Response):
    """The answer to a handshake, after which the connection is a socket's.

    The socket is served while the server iterates over the body, when the request is over for Flask:
    logged, counted, and out of memory.
    """

    def __init__(self, headers: dict[str, str], serve: Callable[[bytes], None]) -> None:
        super().__init__(status=101, headers=headers)
        del self.headers["Content-Type"]
        self._serve = serve

    def __call__(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        """Serve the socket as the body of this answer."""
        lines = [f"{name}: {value}\r\n" for name, value in self.headers]
        head = f"HTTP/1.1 {self.status}\r\n{''.join(lines)}\r\n".encode("latin-1")
        return _serve_body(self._serve, head)


def _serve_body(serve: Callable[[bytes], None], head: bytes) -> Iterator[bytes]:
    serve(head)
    # Neither server may write an answer after that, and both ignore a connection that is gone.
    raise BrokenPipeError(errno.EPIPE, "the socket has ended")
    yield b""
