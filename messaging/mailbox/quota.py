"""How much may wait in a mailbox, and how much of it one kind of sender may fill."""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Usage(NamedTuple):
    """A number of envelopes, and the bytes of content in them."""

    messages: int
    size: int

    def plus(self, messages: int, size: int) -> "Usage":
        """Return the sum; numbers may be negative."""
        return Usage(self.messages + messages, self.size + size)

    def holds(self, messages: int, size: int) -> bool:
        """Return whether so much is within this, by both measures."""
        return messages <= self.messages and size <= self.size


NO_USAGE = Usage(0, 0)


@dataclass(frozen=True)
class MailboxQuota:
    """The quota of one mailbox, and the share of each kind of sender."""

    max_messages: int
    max_bytes: int
    #: The mailbox; the own account may fill whatever others leave.
    whole: Usage = field(init=False)
    #: One account that the recipient is in touch with: half.
    sender: Usage = field(init=False)
    #: All messages to groups together: half.
    groups: Usage = field(init=False)
    #: All message requests together: a tenth.
    requests: Usage = field(init=False)
    #: Below this, usage by sender is no longer counted; well below the half at which counting starts.
    uncrowded: Usage = field(init=False)

    def __post_init__(self) -> None:
        """Compute the shares."""
        for name, part in (
            ("whole", 1),
            ("sender", 2),
            ("groups", 2),
            ("requests", 10),
            ("uncrowded", 4),
        ):
            share = Usage(max(1, self.max_messages // part), self.max_bytes // part)
            object.__setattr__(self, name, share)


class QuotaResult(Enum):
    """Whether one more envelope fits, or which quota is full."""

    FITS = "fits"
    MAILBOX_FULL = "mailbox"
    SENDER_FULL = "sender"
    GROUPS_FULL = "groups"
    REQUESTS_FULL = "requests"
    #: Depends on the usage of this sender, which must be counted first.
    UNCOUNTED = "uncounted"
