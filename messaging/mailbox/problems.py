"""Problems of messages and mailboxes."""

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


class RecipientBlocked(Problem):
    """The sender has blocked the recipient; nothing was stored."""

    code, status, title = "recipient-blocked", 409, "You have blocked this account"


class MessageRateLimited(Problem):
    """The sender has written as much as it may, or to as many strangers; nothing was stored."""

    code, status, title = "message-rate-limited", 429, "Too many messages"
