"""What can go wrong with messages and mailboxes."""

from core.problems import Problem


class DevicesMismatched(Problem):
    """The envelopes are not exactly for the recipient's devices; nothing was stored.

    Members: `missing` devices have no envelope, `extra` ones are not the recipient's, `stale` ones have
    published keys under another registration id, or none. None of the three when the message had one
    content for all devices of a group.
    """

    code, status, title = "devices-mismatched", 409, "The recipient has other devices"


class ClientIdReused(Problem):
    """The device sent another message under this client id within a day."""

    code, status, title = "client-id-reused", 409, "This client id was used for another message"


class MailboxFull(Problem):
    """A device of the recipient has as much waiting as it may; nothing was stored."""

    code, status, title = "mailbox-full", 429, "The recipient's mailbox is full"


class AcknowledgementAhead(Problem):
    """The acknowledgement names a message that was never put into this mailbox."""

    code, status, title = "acknowledgement-ahead", 422, "There is no such message yet"


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


class TooManySignals(Problem):
    """The socket sends more signals than it may; this one was not passed on."""

    code, status, title = "too-many-signals", 429, "Too many signals"


class GroupNotFound(Problem):
    """There is no such group, or the caller is not in it."""

    code, status, title = "group-not-found", 404, "There is no such group"


class GroupChanged(Problem):
    """The group has another version by now; nothing was done. Member: `version`, the current one."""

    code, status, title = "group-changed", 409, "The group has changed"
