"""Problems of the stream."""

from core.problems import Problem


class UpgradeRequired(Problem):
    """The request does not ask for a WebSocket of version 13."""

    code, status, title = "upgrade-required", 426, "Upgrade required"

    def headers(self) -> dict[str, str]:
        """Add what to upgrade to (RFC 9110 section 15.5.22, RFC 6455 section 4.4)."""
        return super().headers() | {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
        }


class SubprotocolUnknown(Problem):
    """The stream has none of the subprotocols that the client offers."""

    code, status, title = "subprotocol-unknown", 400, "Unknown subprotocol"


class FrameUnsupported(Problem):
    """The service knows no frames of this type; a newer service may."""

    code, status, title = "frame-unsupported", 422, "Unknown frame type"


class TooManySignals(Problem):
    """The device sends too many signals; this one was not passed on."""

    code, status, title = "too-many-signals", 429, "Too many signals"
