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
