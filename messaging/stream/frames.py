"""The frames of the stream: their fields and bounds, which are the same in each codec (`codecs.py`).

Bounds that a route has too come from `messaging/mailbox/schemas.py`.
"""

from datetime import datetime
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from core.problems import Problem
from messaging.mailbox.schemas import MAX_ENVELOPES, MAX_INTEGER, MAX_LIFETIME_SECONDS, MAX_SEQ
from messaging.message_types import (
    GroupChangedNotice,
    KeysLowNotice,
    LockRemovalNotice,
    MissedNotice,
    Notice,
)

#: Bytes of a signal's content, and seconds until it expires.
MAX_SIGNAL_BYTES = 16_384
MAX_SIGNAL_LIFETIME = 30
#: Devices that one signal is for.
MAX_SIGNAL_DEVICES = 100

Content = TypeVar("Content")
DeviceDigest = TypeVar("DeviceDigest")
SignalContent = TypeVar("SignalContent")

ClientId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
#: Text of the client's that an answer may repeat.
ShortText = Annotated[str, Meta(max_length=64)]


class Frame(Struct, tag_field="type", forbid_unknown_fields=True, omit_defaults=True):
    """Base of all frames."""


class FrameEnvelope(Struct, Generic[Content], forbid_unknown_fields=True):
    """Ciphertext for one device."""

    device_id: UUID
    content: Content
    registration_id: Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | None = None


class GroupReference(Struct, forbid_unknown_fields=True):
    """A group, as of one version."""

    id: UUID
    version: Annotated[int, Meta(ge=1, le=MAX_INTEGER)]


class SendFrame(Frame, Generic[Content, DeviceDigest], tag="send"):
    """A message, with the fields of the body of `POST /v1/messages`."""

    client_id: ClientId
    to: UUID | None = None
    group: GroupReference | None = None
    envelopes: (
        Annotated[list[FrameEnvelope[Content]], Meta(min_length=1, max_length=MAX_ENVELOPES)] | None
    ) = None
    content: Content | None = None
    devices: DeviceDigest | None = None
    urgent: bool = True
    expires_in: Annotated[int, Meta(ge=1, le=MAX_LIFETIME_SECONDS)] = MAX_LIFETIME_SECONDS


class AckFrame(Frame, tag="ack"):
    """The client has stored all messages up to a number."""

    through: Annotated[int, Meta(ge=0, le=MAX_SEQ)]


class DeviceSignal(Struct, Generic[SignalContent], forbid_unknown_fields=True):
    """An ephemeral envelope for one device."""

    device_id: UUID
    content: SignalContent


class EphemeralFrame(Frame, Generic[SignalContent], tag="ephemeral"):
    """A signal for devices of an account."""

    to: UUID
    envelopes: Annotated[
        list[DeviceSignal[SignalContent]], Meta(min_length=1, max_length=MAX_SIGNAL_DEVICES)
    ]
    expires_in: Annotated[int, Meta(ge=1, le=MAX_SIGNAL_LIFETIME)] = MAX_SIGNAL_LIFETIME


class PingFrame(Frame, tag="ping"):
    """Asks for a pong."""

    id: ShortText | None = None


#: What a client may send; contents are texts in JSON and bytes in MessagePack.
IncomingFrame = SendFrame[Any, Any] | AckFrame | EphemeralFrame[Any] | PingFrame


class FrameReference(NamedTuple):
    """What a refusal repeats of a frame, so that its sender recognises it."""

    frame_type: str
    client_id: str | None = None
    id: str | None = None


class InvalidFrame(NamedTuple):
    """A frame of an unknown type, or with invalid fields."""

    reference: FrameReference
    problem: Problem


class ReadyFrame(Frame, tag="ready"):
    """The limits of the socket."""

    device_id: UUID
    max_unacknowledged: int
    max_message_bytes: int


class MessageFrame(Frame, tag="message"):
    """A message, in order."""

    seq: int
    id: UUID
    from_account_id: UUID
    from_device_id: UUID
    content: str | bytes
    sent_at: datetime
    request: bool
    group: GroupReference | UnsetType = UNSET


class CaughtUpFrame(Frame, tag="caught_up"):
    """All waiting messages have been sent."""

    through: int


class AcceptedFrame(Frame, tag="accepted"):
    """A message is stored for each device."""

    client_id: str
    id: UUID
    accepted_at: datetime


class RefusedFrame(Frame, tag="refused"):
    """A frame was refused."""

    problem: dict[str, Any]
    frame_type: str
    client_id: str | UnsetType = UNSET
    id: str | UnsetType = UNSET


class AckedFrame(Frame, tag="acked"):
    """All messages up to a number are deleted."""

    through: int


class SignalFrame(Frame, tag="ephemeral"):
    """A signal from another device."""

    from_account_id: UUID
    from_device_id: UUID
    content: str | bytes
    sent_at: datetime


class GroupChangedFrame(Frame, tag="group_changed"):
    """A group has a new version."""

    group_id: UUID
    version: int


class KeysLowFrame(Frame, tag="keys_low"):
    """The device should upload new one-time keys."""

    one_time_prekeys: int
    one_time_kem_prekeys: int


class MissedFrame(Frame, tag="missed"):
    """Messages were not stored for this device; acknowledging the number ends this."""

    since: datetime
    through: int


class LockRemovalFrame(Frame, tag="registration_lock_removal"):
    """The registration lock is removed at this time, as somebody asked without its PIN; null: it stays."""

    ends_at: datetime | None


class PongFrame(Frame, tag="pong"):
    """The answer to a ping."""

    id: str | UnsetType = UNSET


def refused_frame(problem: Problem, request_id: str, reference: FrameReference) -> RefusedFrame:
    """Return the answer to a frame that was refused."""
    return RefusedFrame(
        problem.document(request_id),
        reference.frame_type,
        UNSET if reference.client_id is None else reference.client_id,
        UNSET if reference.id is None else reference.id,
    )


def notice_frame(
    notice: Notice,
) -> GroupChangedFrame | KeysLowFrame | MissedFrame | LockRemovalFrame:
    """Return the frame of a notice."""
    match notice:
        case GroupChangedNotice():
            return GroupChangedFrame(notice.group_id, notice.version)
        case KeysLowNotice():
            return KeysLowFrame(notice.one_time_prekeys, notice.one_time_kem_prekeys)
        case MissedNotice():
            return MissedFrame(notice.since, notice.through)
        case LockRemovalNotice():
            return LockRemovalFrame(notice.ends_at)
