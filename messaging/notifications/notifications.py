"""Notifications: what processes tell each other about one device, and their encoding.

A notification is a byte of version, then MessagePack. Anyone who can publish in Valkey can send anything, so
everything is checked here, and nothing invalid raises.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from messaging.message_types import CloseCode, Notice, Signal

#: Changes with the fields. Processes of two versions ignore each other's notifications, and poll the table.
VERSION = b"\x02"
#: Bytes of the largest signal and what surrounds it.
MAX_BYTES = 262_144 + 1_024

_Prefix = Annotated[bytes, Meta(max_length=8)]


class MessageStored(Struct, array_like=True, frozen=True, tag=1):
    """Messages were stored, up to this number; 0: the number is not known."""

    seq: int
    #: Whether the device is woken by push when it has no listener.
    is_urgent: bool


class ListenerRegistered(Struct, array_like=True, frozen=True, tag=2):
    """A listener was registered, which replaces older ones of its kind."""

    #: Random.
    id: _Prefix
    #: Seconds since 1970, by the clock of its host.
    registered_at: float
    #: Whether it was published before, and perhaps not received.
    is_repeat: bool
    #: Whether it is a long poll, beside which a socket may be open.
    is_poll: bool = False


class CloseListeners(Struct, array_like=True, frozen=True, tag=3):
    """Listeners are to close, unless the hash of their token begins with this prefix."""

    code: CloseCode
    unless_token_prefix: _Prefix | None


class MessagesAcknowledged(Struct, array_like=True, frozen=True, tag=4):
    """The device acknowledged all messages up to a number over HTTP."""

    through: int


Notification = (
    MessageStored | ListenerRegistered | CloseListeners | MessagesAcknowledged | Signal | Notice
)

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder: msgspec.msgpack.Decoder[Notification] = msgspec.msgpack.Decoder(Notification)


def encode(notification: Notification) -> bytes:
    """Encode a notification."""
    return VERSION + _encoder.encode(notification)


def decode(data: bytes) -> Notification | None:
    """Decode a notification; return None when it is invalid or of another version."""
    if data[:1] != VERSION or len(data) > MAX_BYTES:
        return None
    try:
        return _decoder.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, ValueError):
        return None
