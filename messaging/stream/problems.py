"""Problems of the stream."""

from core.problems import Problem


class UpgradeRequired(Problem):
    """The stream is spoken over a WebSocket of version 13; the request does not ask for one."""

    code, status, title = "upgrade-required", 426, "This route is a WebSocket"

    def headers(self) -> dict[str, str]:
        """Say what to upgrade to (RFC 9110 section 15.5.22, RFC 6455 section 4.4)."""
        return super().headers() | {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
        }


class SubprotocolUnknown(Problem):
    """None of the subprotocols that the client offers for the stream is one of it."""

    code, status, title = "subprotocol-unknown", 400, "The stream has no such subprotocol"


class FrameUnsupported(Problem):
    """The service knows no frame of this type, which a newer one may; the socket goes on."""

    code, status, title = "frame-unsupported", 422, "There is no frame of this type"


class TooManySignals(Problem):
    """The device sends more signals than it may; this one was not passed on."""

    code, status, title = "too-many-signals", 429, "Too many signals"
