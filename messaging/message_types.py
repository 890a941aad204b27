"""Values that the parts of messaging exchange: submissions, deliveries, signals and notices.

HTTP and the stream read them from the wire and validate them there; nothing here checks anything.
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
    """Ciphertext for one device; with a registration id, for that generation of its keys only."""

    device_id: UUID
    content: bytes
    registration_id: int | None = None


class SharedContent(NamedTuple):
    """Ciphertext for all devices of a group, and the SHA-256 digest of the list of those devices."""

    content: bytes
    devices_digest: bytes


class GroupAtVersion(NamedTuple):
    """A group at one version."""

    id: UUID
    version: int


@dataclass(slots=True)
class MessageSubmission:
    """A message as a device submits it."""

    from_account_id: UUID
    from_device_id: UUID
    client_id: str
    #: An account, or a group at the version that the sender knows.
    to: UUID | GroupAtVersion
    #: An envelope for each device, or one content for all devices of a group.
    contents: Sequence[DeviceEnvelope] | SharedContent
    #: Whether a device that is not connected gets a push wake-up.
    urgent: bool
    #: Seconds.
    expires_in: int
    #: The owner of limits and blocks, if the number had another account before; None: the account itself.
    number_id: UUID | None = None

    @property
    def group(self) -> GroupAtVersion | None:
        """The group it is for; None if it is for an account."""
        return self.to if isinstance(self.to, GroupAtVersion) else None


class AcceptedMessage(NamedTuple):
    """A message that is on disk for each device of the recipient."""

    id: UUID
    accepted_at: datetime


class MessageHeader(NamedTuple):
    """What all envelopes of one message share."""

    id: UUID
    from_account_id: UUID
    from_device_id: UUID
    sent_at: datetime
    expires_at: datetime
    group: GroupAtVersion | None = None


class Delivery(NamedTuple):
    """One envelope as its device receives it."""

    seq: int
    header: MessageHeader
    content: bytes
    is_request: bool


def first_within(deliveries: Sequence[Delivery], max_bytes: int) -> Sequence[Delivery]:
    """Return the first deliveries whose contents fit into `max_bytes` together, and at least one."""
    size = 0
    for number, delivery in enumerate(deliveries):
        size += len(delivery.content)
        if size > max_bytes and number:
            return deliveries[:number]
    return deliveries


class Signal(Struct, array_like=True, frozen=True, tag=5):
    """An ephemeral message: passed to the open socket of a device or dropped, never stored."""

    from_account_id: UUID
    from_device_id: UUID
    content: bytes
    sent_at: datetime
    expires_at: datetime


class KeysLowNotice(Struct, array_like=True, frozen=True, tag=6):
    """The device should upload one-time keys; how many of each kind are left."""

    one_time_prekeys: int
    one_time_kem_prekeys: int
    #: The last upload of the device: a socket gets one notice until the next upload.
    uploaded_at: datetime | None = None


class GroupChangedNotice(Struct, array_like=True, frozen=True, tag=7):
    """A group of the account has a new version."""

    group_id: UUID
    version: int


class MissedNotice(Struct, array_like=True, frozen=True, tag=8):
    """Messages to the device were not stored since a time; acknowledging `through` ends the notice."""

    since: datetime
    through: int


class LockRemovalNotice(Struct, array_like=True, frozen=True, tag=9):
    """The registration lock of the account ends at a time, because a device asked without the PIN.

    None: it stays.
    """

    ends_at: datetime | None


#: Sent to open sockets beside messages. A notice may be lost.
Notice = KeysLowNotice | GroupChangedNotice | MissedNotice | LockRemovalNotice


class SenderRecipient(NamedTuple):
    """The sender and the recipient of a message or a signal."""

    from_account_id: UUID
    #: An account or a group.
    to_id: UUID
    is_group: bool = False
    #: As in `MessageSubmission`.
    number_id: UUID | None = None

    @property
    def subject(self) -> UUID:
        """The owner of the sender's limits."""
        return self.number_id or self.from_account_id


class DeliveryDecision(NamedTuple):
    """Refuse a message, drop it silently, or deliver it, perhaps as a message request."""

    refusal: Problem | None = None
    dropped: bool = False
    is_request: bool = False


class JoinedMembers(NamedTuple):
    """The accounts that joined a group, and the version of the group."""

    version: int
    accounts: frozenset[UUID]


class CloseCode(IntEnum):
    """Why the service closes a socket: WebSocket close codes."""

    REPLACED = 4001
    TOKEN_REPLACED = 4002
    REVOKED = 4003
    #: Service Restart (IANA registry of RFC 6455): the client reconnects, and has its new number then.
    NUMBER_CHANGED = 1012
    #: Another database took over, and may know less than the socket has sent.
    FAILED_OVER = 1012
