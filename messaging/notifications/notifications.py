"""Hints: what workers tell each other about one device, and how that is written.

Owns the bytes that cross the bus: a byte of version, then MessagePack (msgspec). Whoever can write to the
bus can send anything, so everything is checked here and nothing that is refused raises.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from messaging.message_types import (
    CloseCode,
    GroupChangedNotice,
    KeysLowNotice,
    LockRemovalNotice,
    MissedNotice,
    Signal,
)

#: Changes with the fields; workers of another version do not understand each other, and look at the table.
VERSION = b"\x01"
#: The largest signal, with what is written around it.
LARGEST = 262_144 + 1_024

_Name = Annotated[bytes, Meta(max_length=8)]


class Stored(Struct, array_like=True, frozen=True, tag=1):
    """Something is in the mailbox, up to this number; 0 says nothing about the number."""

    seq: int
    #: Whether the device is woken in another way when nobody listens.
    urgent: bool


class Arrived(Struct, array_like=True, frozen=True, tag=2):
    """Somebody began to listen, so that whoever listened before is to end."""

    #: Drawn for this listener.
    name: _Name
    #: Seconds since 1970, by the clock of its host.
    since: float
    #: Whether it began earlier, and this is said because it may not have been heard.
    again: bool
    #: Whether it is a long poll, beside which a socket may be open.
    is_poll: bool = False


class Close(Struct, array_like=True, frozen=True, tag=3):
    """Whoever listens is to end, unless it came with a token whose hash begins so."""

    why: CloseCode
    unless_token: _Name | None


class Passed(Struct, array_like=True, frozen=True, tag=4):
    """An ephemeral envelope."""

    signal: Signal


class Low(Struct, array_like=True, frozen=True, tag=5):
    """One-time keys are running out."""

    notice: KeysLowNotice


class Changed(Struct, array_like=True, frozen=True, tag=6):
    """A group of the account changed."""

    notice: GroupChangedNotice


class LeftOut(Struct, array_like=True, frozen=True, tag=7):
    """A message was not stored, because the mailbox is full."""

    notice: MissedNotice


class Emptied(Struct, array_like=True, frozen=True, tag=8):
    """The device acknowledged all up to a number over HTTP."""

    through: int


class Unlocking(Struct, array_like=True, frozen=True, tag=9):
    """The registration lock of the account is to be removed, or is not any more."""

    notice: LockRemovalNotice


Hint = Stored | Arrived | Close | Passed | Low | Changed | LeftOut | Emptied | Unlocking

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
_decoder: msgspec.msgpack.Decoder[Hint] = msgspec.msgpack.Decoder(Hint)


def encode(hint: Hint) -> bytes:
    """Write a hint."""
    return VERSION + _encoder.encode(hint)


def decode(data: bytes) -> Hint | None:
    """Read a hint; None when it is none of this version."""
    if data[:1] != VERSION or len(data) > LARGEST:
        return None
    try:
        return _decoder.decode(memoryview(data)[1:])
    except (msgspec.MsgspecError, ValueError):
        return None
