"""What can go wrong with messages and mailboxes."""

from core.problems import Problem


class DevicesMismatched(Problem):
    """The envelopes are not exactly for the recipient's devices; nothing was stored.

    Members: `missing` devices have no envelope, `extra` ones are not the recipient's, `stale` ones
    registered again since (none, while there are no keys).
    """

    code, status, title = "devices-mismatched", 409, "The recipient has other devices"


class ClientIdReused(Problem):
    """The device sent another message under this client id within a day."""

    code, status, title = "client-id-reused", 409, "This client id was used for another message"


class MailboxFull(Problem):
    """A device of the recipient has as many messages waiting as it may; nothing was stored."""

    code, status, title = "mailbox-full", 429, "The recipient's mailbox is full"


class AcknowledgementAhead(Problem):
    """The acknowledgement names a message that was never put into this mailbox."""

    code, status, title = "acknowledgement-ahead", 422, "There is no such message yet"


class BlockedByYou(Problem):
    """The sender has blocked the recipient; nothing was stored."""

    code, status, title = "blocked-by-you", 409, "You have blocked this account"


class MessageLimit(Problem):
    """The sender has written as much as it may, or to as many strangers; nothing was stored."""

    code, status, title = "message-limit", 429, "Too many messages"


class TooManyContacts(Problem):
    """The account has accepted or blocked as many others as it may by hand."""

    code, status, title = "too-many-contacts", 409, "The account has too many contacts"
