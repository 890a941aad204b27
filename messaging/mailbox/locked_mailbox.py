"""A mailbox whose row is locked, in memory: its counts, and what this transaction changes.

`store.py` and `shares.py` read and write it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from messaging.mailbox.quota import NO_USAGE, MailboxQuota, QuotaResult, Usage
from messaging.message_types import Delivery, MessageHeader


@dataclass(slots=True)
class LockedMailbox:
    """The row of a mailbox as read under its lock, changed in memory until it is written back."""

    device_id: UUID
    account_id: UUID
    last_seq: int
    acked_seq: int
    urgent_seq: int
    waiting: int
    waiting_bytes: int
    #: Waiting message requests.
    requests: int
    request_bytes: int
    #: Waiting messages to groups, whose members need not be in touch with each other.
    group_messages: int
    group_bytes: int
    #: Whether `mailbox_shares` holds the usage of each sender.
    has_shares: bool
    #: The number that the last message which was not stored would have got; 0: none was missed.
    missed_seq: int
    #: When the first missed message came whose number is not acknowledged yet.
    missed_since: datetime | None
    #: Envelopes that this transaction adds.
    deliveries: list[Delivery] = field(default_factory=list)
    #: Whether one of them is urgent.
    urgent: bool = False
    #: Whether this transaction missed a message.
    missed: bool = False
    #: Stored usage of the senders that were looked up. Empty unless `has_shares`.
    stored_shares: dict[UUID, Usage] = field(default_factory=dict)
    #: What this transaction adds to the usage of each sender. Empty unless `has_shares`.
    share_changes: dict[UUID, Usage] = field(default_factory=dict)

    def check_quota(
        self, header: MessageHeader, size: int, quota: MailboxQuota, *, is_request: bool
    ) -> QuotaResult:
        """Return whether one more envelope fits."""
        sender = header.from_account_id
        messages, total = self.waiting + 1, self.waiting_bytes + size
        # As long as no more waits than one sender may fill, no sender has filled more than that.
        if not is_request and quota.sender.holds(messages, total):
            return QuotaResult.FITS
        if not quota.whole.holds(messages, total):
            return QuotaResult.MAILBOX_FULL
        if sender == self.account_id:
            return QuotaResult.FITS
        if is_request:
            # A tenth of the smallest mailbox is smaller than the largest message.
            fits = not self.requests or quota.requests.holds(
                self.requests + 1, self.request_bytes + size
            )
            return QuotaResult.FITS if fits else QuotaResult.REQUESTS_FULL
        if header.group and not quota.groups.holds(
            self.group_messages + 1, self.group_bytes + size
        ):
            return QuotaResult.GROUPS_FULL
        stored = self.stored_shares.get(sender)
        if stored is None:
            return QuotaResult.UNCOUNTED
        share = stored.plus(*self.share_changes.get(sender, NO_USAGE)).plus(1, size)
        return QuotaResult.FITS if quota.sender.holds(*share) else QuotaResult.SENDER_FULL

    def add(self, header: MessageHeader, content: bytes, *, is_request: bool, urgent: bool) -> None:
        """Add an envelope under the next number."""
        self.last_seq += 1
        if urgent:
            self.urgent = True
            self.urgent_seq = self.last_seq
        self.change_usage(
            header.from_account_id, 1, len(content), is_request, header.group is not None
        )
        self.deliveries.append(Delivery(self.last_seq, header, content, is_request))

    def change_usage(
        self, sender: UUID, messages: int, size: int, is_request: bool, to_group: bool
    ) -> None:
        """Add to the counts, or with negative numbers subtract from them."""
        self.waiting += messages
        self.waiting_bytes += size
        if to_group:
            self.group_messages += messages
            self.group_bytes += size
        if is_request:
            self.requests += messages
            self.request_bytes += size
        if self.has_shares:
            self.change_share(sender, messages, size)

    def change_share(self, sender: UUID, messages: int, size: int) -> None:
        """Add to the usage of one sender."""
        self.share_changes[sender] = self.share_changes.get(sender, NO_USAGE).plus(messages, size)

    def miss(self, now: datetime) -> None:
        """Record a message that is not stored; the number it would have got stays unused."""
        self.last_seq += 1
        self.missed_seq = self.last_seq
        self.missed_since = self.missed_since or now
        self.missed = True

    def acknowledge(self, through: int) -> None:
        """Record that the device has everything up to a number, and knows what it missed."""
        self.acked_seq = through
        if through >= self.missed_seq:
            self.missed_since = None


#: Locked mailboxes by device.
Mailboxes = Mapping[UUID, LockedMailbox]
