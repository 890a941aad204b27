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


class GroupNotFound(Problem):
    """There is no such group, or the caller is not in it."""

    code, status, title = "group-not-found", 404, "There is no such group"


class GroupChanged(Problem):
    """The group has another version by now; nothing was done. Member: `version`, the current one."""

    code, status, title = "group-changed", 409, "The group has changed"
