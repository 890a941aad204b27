"""A locked mailbox in memory: what waits in it, who may add to it, and what this transaction changes.

The statements that read and write it are in `mailbox.py` and `mailbox_shares.py`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from messaging.message_types import Delivery, MessageHeader


class Usage(NamedTuple):
    """Envelopes that wait, and the bytes of content in them."""

    messages: int
    size: int

    def plus(self, messages: int, size: int) -> "Usage":
        """Add what came, or, with negative numbers, what went."""
        return Usage(self.messages + messages, self.size + size)

    def holds(self, messages: int, size: int) -> bool:
        """Say whether so much is within this, by both measures."""
        return messages <= self.messages and size <= self.size


NO_USAGE = Usage(0, 0)


@dataclass(frozen=True)
class MailboxQuota:
    """How much may wait for one device, and which part of it one kind of sender can fill."""

    max_messages: int
    max_bytes: int
    #: The mailbox; what others leave of it is the own account's.
    whole: Usage = field(init=False)
    #: What one account can fill that the recipient is in touch with: half.
    of_sender: Usage = field(init=False)
    #: What all messages to groups can fill together, whoever wrote them: half.
    of_groups: Usage = field(init=False)
    #: What all accounts together can fill that the recipient is not in touch with: a tenth.
    of_strangers: Usage = field(init=False)
    #: When no more waits than this, shares are not counted any more: well below the half where that begins.
    uncrowded: Usage = field(init=False)

    def __post_init__(self) -> None:
        """Work out the parts."""
        for name, part in (
            ("whole", 1),
            ("of_sender", 2),
            ("of_groups", 2),
            ("of_strangers", 10),
            ("uncrowded", 4),
        ):
            bound = Usage(max(1, self.max_messages // part), self.max_bytes // part)
            object.__setattr__(self, name, bound)


class QuotaResult(Enum):
    """Whether one more envelope fits, or what is full."""

    FREE = "free"
    MAILBOX_FULL = "mailbox"
    SENDER_FULL = "sender"
    GROUPS_FULL = "groups"
    REQUESTS_FULL = "requests"
    #: It depends on what waits of this sender, which must be counted first.
    UNCOUNTED = "uncounted"


@dataclass(slots=True)
class LockedMailbox:
    """A mailbox whose row is locked: what it is now, and is to be when it is written back."""

    account_id: UUID
    last_seq: int
    acked_seq: int
    urgent_seq: int
    waiting: int
    waiting_bytes: int
    #: What of it came from accounts that the recipient was not in touch with.
    requests: int
    request_bytes: int
    #: What of it came to groups, whose members need not know each other.
    group_messages: int
    group_bytes: int
    #: Whether `mailbox_shares` says what waits of each sender.
    has_shares: bool
    #: The number that the last message that was not stored would have had; 0: none ever.
    missed_seq: int
    #: When the first of those messages came whose number is not acknowledged.
    missed_since: datetime | None
    #: What this transaction puts into it.
    deliveries: list[Delivery] = field(default_factory=list)
    #: Whether its device is to be woken for it.
    urgent: bool = False
    #: Whether this transaction left a message out.
    missed: bool = False
    #: By sender, as stored; of those that were asked for. Empty unless `has_shares`.
    stored_shares: dict[UUID, Usage] = field(default_factory=dict)
    #: By sender, what this transaction adds to its share. Empty unless `has_shares`.
    share_changes: dict[UUID, Usage] = field(default_factory=dict)

    def room(
        self,
        sender: UUID,
        size: int,
        bounds: MailboxQuota,
        *,
        is_request: bool,
        to_group: bool = False,
    ) -> QuotaResult:
        """Say whether one more envelope of a sender fits."""
        messages, total = self.waiting + 1, self.waiting_bytes + size
        # As long as no more waits than one sender may fill, nobody has filled more than that.
        if not is_request and bounds.of_sender.holds(messages, total):
            return QuotaResult.FREE
        if not bounds.whole.holds(messages, total):
            return QuotaResult.MAILBOX_FULL
        if sender == self.account_id:
            return QuotaResult.FREE
        if is_request:
            # The smallest mailbox has a tenth that is smaller than the largest message.
            fits = not self.requests or bounds.of_strangers.holds(
                self.requests + 1, self.request_bytes + size
            )
            return QuotaResult.FREE if fits else QuotaResult.REQUESTS_FULL
        if to_group and not bounds.of_groups.holds(
            self.group_messages + 1, self.group_bytes + size
        ):
            return QuotaResult.GROUPS_FULL
        stored = self.stored_shares.get(sender)
        if stored is None:
            return QuotaResult.UNCOUNTED
        share = stored.plus(*self.share_changes.get(sender, NO_USAGE)).plus(1, size)
        return QuotaResult.FREE if bounds.of_sender.holds(*share) else QuotaResult.SENDER_FULL

    def put(
        self, message: MessageHeader, content: bytes, *, is_request: bool, urgent: bool
    ) -> None:
        """Put in an envelope, under the next number."""
        self.last_seq += 1
        if urgent:
            self.urgent = True
            self.urgent_seq = self.last_seq
        to_group = message.group is not None
        self._count(message.from_account_id, 1, len(content), is_request, to_group)
        self.deliveries.append(Delivery(self.last_seq, message, content, is_request))

    def take(self, sender: UUID, size: int, *, is_request: bool, to_group: bool) -> None:
        """Count an envelope out."""
        self._count(sender, -1, -size, is_request, to_group)

    def _count(
        self, sender: UUID, messages: int, size: int, is_request: bool, to_group: bool
    ) -> None:
        self.waiting += messages
        self.waiting_bytes += size
        if to_group:
            self.group_messages += messages
            self.group_bytes += size
        if is_request:
            self.requests += messages
            self.request_bytes += size
        if self.has_shares:
            self.share_changes[sender] = self.share_changes.get(sender, NO_USAGE).plus(
                messages, size
            )

    def miss(self, now: datetime) -> None:
        """Leave a message out; the number it would have had is given to nothing else."""
        self.last_seq += 1
        self.missed_seq = self.last_seq
        self.missed_since = self.missed_since or now
        self.missed = True

    def acknowledge(self, through: int) -> None:
        """Note that all up to a number is safe with the device, and that it knows what it missed."""
        self.acked_seq = through
        if through >= self.missed_seq:
            self.missed_since = None
