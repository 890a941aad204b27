"""Problems of messages and mailboxes."""

from core.problems import Problem


class DevicesMismatched(Problem):
    """The envelopes are not exactly for the recipient's devices; nothing was stored.

    Members: `missing` devices have no envelope, `extra` ones are not the recipient's, `stale` ones published
    keys under another registration id, or none. None of the three when the message had one content for all
    devices of a group.
    """

    code, status, title = "devices-mismatched", 409, "The device list is out of date"


class ClientIdReused(Problem):
    """The device sent another message under this client id within a day."""

    code, status, title = "client-id-reused", 409, "This client id was used for another message"


class MailboxFull(Problem):
    """The mailbox of a device of the recipient has no room for the message; nothing was stored."""

    code, status, title = "mailbox-full", 429, "The recipient's mailbox is full"


class AcknowledgementAhead(Problem):
    """The number was never assigned in this mailbox."""

    code, status, title = "acknowledgement-ahead", 422, "There is no such message yet"


class RecipientBlocked(Problem):
    """The sender has blocked the recipient; nothing was stored."""

    code, status, title = "recipient-blocked", 409, "You have blocked this account"


class MessageRateLimited(Problem):
    """The sender has reached a limit of messages or of new recipients; nothing was stored."""

    code, status, title = "message-rate-limited", 429, "Too many messages"
