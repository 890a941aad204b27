"""The frames of the stream: what a client sends, and what it is told.

Owns their fields and bounds, which are the same however they are written (`forms.py`). Bounds that a
route has too are those of `schemas.py`.
"""

from datetime import datetime
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from core.problems import Problem
from messaging.mailbox.schemas import MAX_ENVELOPES, MAX_INTEGER, MAX_LIFETIME, MAX_SEQ
from messaging.message_types import (
    GroupChangedNotice,
    KeysLowNotice,
    LockRemovalNotice,
    MissedNotice,
    Notice,
)

#: Bytes of a signal's content, and seconds it may be on its way.
MAX_SIGNAL_BYTES = 16_384
MAX_SIGNAL_LIFETIME = 30
#: Devices that one signal is for.
MAX_SIGNALLED = 100

Content = TypeVar("Content")
DeviceDigest = TypeVar("DeviceDigest")
SmallContent = TypeVar("SmallContent")

ClientId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
#: What a client may have repeated to it.
ShortText = Annotated[str, Meta(max_length=64)]


class Frame(Struct, tag_field="type", forbid_unknown_fields=True, omit_defaults=True):
    """Base of all frames."""


class SealedFor(Struct, Generic[Content], forbid_unknown_fields=True):
    """Ciphertext for one device."""

    device_id: UUID
    content: Content
    registration_id: Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | None = None


class GroupAsOf(Struct, forbid_unknown_fields=True):
    """A group, as of one version."""

    id: UUID
    version: Annotated[int, Meta(ge=1, le=MAX_INTEGER)]


class Send(Frame, Generic[Content, DeviceDigest], tag="send"):
    """A message, as the body of `POST /v1/messages`."""

    client_id: ClientId
    to: UUID | None = None
    group: GroupAsOf | None = None
    envelopes: (
        Annotated[list[SealedFor[Content]], Meta(min_length=1, max_length=MAX_ENVELOPES)] | None
    ) = None
    content: Content | None = None
    devices: DeviceDigest | None = None
    urgent: bool = True
    expires_in: Annotated[int, Meta(ge=1, le=MAX_LIFETIME)] = MAX_LIFETIME


class Acknowledge(Frame, tag="ack"):
    """All messages up to one are safe with the client."""

    through: Annotated[int, Meta(ge=0, le=MAX_SEQ)]


class SignalFor(Struct, Generic[SmallContent], forbid_unknown_fields=True):
    """An ephemeral envelope for one device."""

    device_id: UUID
    content: SmallContent


class Ephemeral(Frame, Generic[SmallContent], tag="ephemeral"):
    """Signals for devices of an account."""

    to: UUID
    envelopes: Annotated[
        list[SignalFor[SmallContent]], Meta(min_length=1, max_length=MAX_SIGNALLED)
    ]
    expires_in: Annotated[int, Meta(ge=1, le=MAX_SIGNAL_LIFETIME)] = MAX_SIGNAL_LIFETIME


class Ping(Frame, tag="ping"):
    """A question whether the service is there."""

    id: ShortText | None = None


#: What a client may send; contents are texts in JSON and bytes in MessagePack.
Incoming = Send[Any, Any] | Acknowledge | Ephemeral[Any] | Ping


class Name(NamedTuple):
    """What a refusal repeats of a frame, so that its sender knows which one it was."""

    frame_type: str
    client_id: str | None = None
    id: str | None = None


class Fault(NamedTuple):
    """A frame whose type is not known, or whose fields are not valid."""

    name: Name
    problem: Problem


class Ready(Frame, tag="ready"):
    """What the socket is good for."""

    device_id: UUID
    unacknowledged: int
    largest: int


class MessageFrame(Frame, tag="message"):
    """A message, in order."""

    seq: int
    id: UUID
    from_account_id: UUID
    from_device_id: UUID
    content: str | bytes
    sent_at: datetime
    request: bool
    group: GroupAsOf | UnsetType = UNSET


class CaughtUp(Frame, tag="caught_up"):
    """All that waited has been sent."""

    through: int


class AcceptedFrame(Frame, tag="accepted"):
    """A message is on disk for each device."""

    client_id: str
    id: UUID
    accepted_at: datetime


class Refused(Frame, tag="refused"):
    """What a frame asked for was not done."""

    problem: dict[str, Any]
    frame_type: str
    client_id: str | UnsetType = UNSET
    id: str | UnsetType = UNSET


class Acknowledged(Frame, tag="acked"):
    """All messages up to one are deleted."""

    through: int


class SignalFrame(Frame, tag="ephemeral"):
    """A signal that was passed on."""

    from_account_id: UUID
    from_device_id: UUID
    content: str | bytes
    sent_at: datetime


class GroupChangedFrame(Frame, tag="group_changed"):
    """A group is another now."""

    group_id: UUID
    version: int


class KeysLowFrame(Frame, tag="keys_low"):
    """New one-time keys should be uploaded."""

    one_time_prekeys: int
    one_time_kem_prekeys: int


class MissedFrame(Frame, tag="missed"):
    """Messages were not stored for this device; acknowledging the number ends this."""

    since: datetime
    through: int


class LockRemovalFrame(Frame, tag="registration_lock_removal"):
    """The registration lock is removed at a time, because that was asked for without its PIN."""

    ends_at: datetime | None


class Pong(Frame, tag="pong"):
    """The answer to a ping."""

    id: str | UnsetType = UNSET


def refused(problem: Problem, request_id: str, name: Name) -> Refused:
    """Say why something was not done."""
    return Refused(
        problem.document(request_id),
        name.frame_type,
        UNSET if name.client_id is None else name.client_id,
        UNSET if name.id is None else name.id,
    )


def notice(told: Notice) -> GroupChangedFrame | KeysLowFrame | MissedFrame | LockRemovalFrame:
    """Say what an open socket is told beside messages."""
    match told:
        case GroupChangedNotice():
            return GroupChangedFrame(told.group_id, told.version)
        case KeysLowNotice():
            return KeysLowFrame(told.one_time_prekeys, told.one_time_kem_prekeys)
        case MissedNotice():
            return MissedFrame(told.since, told.through)
        case LockRemovalNotice():
            return LockRemovalFrame(told.ends_at)


def pong(ping: Ping) -> Pong:
    """Answer a ping."""
    return Pong(UNSET if ping.id is None else ping.id)
