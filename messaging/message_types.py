"""What moves through messaging: what a sender hands in, what a device is handed, and signals.

Owns the values that the doors (HTTP, the stream), the mailbox and the wake-ups give each other. They are
read from the wire by the doors; nothing here checks anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from core.problems import Problem


class DeviceEnvelope(NamedTuple):
    """Ciphertext for one device, and for which of its keys; None says nothing about that."""

    device_id: UUID
    content: bytes
    registration_id: int | None = None


class SharedContent(NamedTuple):
    """Ciphertext for all devices of a group, and SHA-256 over the devices it is for."""

    content: bytes
    devices_digest: bytes


class GroupAtVersion(NamedTuple):
    """A group, as of one version."""

    id: UUID
    version: int


@dataclass(slots=True)
class MessageSubmission:
    """A message that a device hands in."""

    from_account_id: UUID
    from_device_id: UUID
    client_id: str
    #: An account, or a group as the sender knows it.
    to: UUID | GroupAtVersion
    #: One for each device, or one for all devices of a group.
    sealed: Sequence[DeviceEnvelope] | SharedContent
    #: Whether a device that is not connected is woken for it.
    urgent: bool
    #: Seconds.
    expires_in: int
    #: What stands for the sender's number in blocks and limits; None: the account's id does.
    number_id: UUID | None = None


class AcceptedMessage(NamedTuple):
    """A message that is on disk for each device of the recipient."""

    id: UUID
    accepted_at: datetime


class MessageHeader(NamedTuple):
    """What the envelopes of one message have in common."""

    id: UUID
    from_account_id: UUID
    from_device_id: UUID
    sent_at: datetime
    expires_at: datetime
    group: GroupAtVersion | None = None


class Delivery(NamedTuple):
    """One envelope in the mailbox of a device."""

    seq: int
    message: MessageHeader
    content: bytes
    is_request: bool


def first_within(deliveries: Sequence[Delivery], most_bytes: int) -> Sequence[Delivery]:
    """Give as many of the first as have together no more bytes of content, and at least one."""
    size = 0
    for number, delivery in enumerate(deliveries):
        size += len(delivery.content)
        if size > most_bytes and number:
            return deliveries[:number]
    return deliveries


class Signal(Struct, array_like=True, frozen=True, tag=5):
    """An ephemeral envelope for one device: passed on to its open socket, or gone."""

    from_account_id: UUID
    from_device_id: UUID
    content: bytes
    sent_at: datetime
    expires_at: datetime


class KeysLowNotice(Struct, array_like=True, frozen=True, tag=6):
    """A device should upload new one-time keys: so many of each kind are left."""

    one_time_prekeys: int
    one_time_kem_prekeys: int
    #: When the device uploaded keys last, which tells whether it did since it was told before.
    uploaded_at: datetime | None = None


class GroupChangedNotice(Struct, array_like=True, frozen=True, tag=7):
    """A group of the account has another version now."""

    group_id: UUID
    version: int


class MissedNotice(Struct, array_like=True, frozen=True, tag=8):
    """Messages to a device were not stored: since when, and the number whose acknowledgement ends this."""

    since: datetime
    through: int


class LockRemovalNotice(Struct, array_like=True, frozen=True, tag=9):
    """Somebody asked without the PIN to remove the account's registration lock, which happens then.

    None: it stays.
    """

    ends_at: datetime | None


#: What an open socket is told beside messages; it may be lost.
Notice = KeysLowNotice | GroupChangedNotice | MissedNotice | LockRemovalNotice


class SenderRecipient(NamedTuple):
    """A message or signal from an account to another one or to a group, as it is judged."""

    from_account_id: UUID
    to_id: UUID
    is_group: bool = False
    #: What stands for the sender's number, if its account is not the first.
    number_id: UUID | None = None

    @property
    def subject(self) -> UUID:
        """Whose the limits are."""
        return self.number_id or self.from_account_id


class DeliveryDecision(NamedTuple):
    """Whether it is refused (and why), or dropped without a word, or else comes as a request."""

    refusal: Problem | None = None
    dropped: bool = False
    is_request: bool = False


class JoinedMembers(NamedTuple):
    """The accounts that joined a group, as of its current version."""

    version: int
    accounts: frozenset[UUID]


class CloseCode(IntEnum):
    """Why a socket is closed from elsewhere, as WebSocket close codes."""

    REPLACED = 4001
    TOKEN_REPLACED = 4002
    REVOKED = 4003
    #: Service Restart (RFC 6455 registry): the client connects again, and is known by its new number then.
    NUMBER_CHANGED = 1012
    #: Another database took over, which may know less than the socket has shown.
    FAILED_OVER = 1012
