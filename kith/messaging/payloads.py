"""Own what an envelope says once it is decrypted, and its padding, which hides how long it is.

MessagePack with a "type". Members and types that a newer client adds are ignored: what a client
does not know is not the person's business. What cannot be read at all is refused as a whole.
"""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from kith.messaging.discreet import Discreet

PADDING_BLOCK = 160
LONGEST_TEXT = 16_000  # bytes of UTF-8; with padding it stays within what servers take by default
ID_SIZE = 16
MOST_RECEIPTS = 200
_LAST_MOMENT = 253_402_300_799_999  # of the year 9999, in milliseconds

State = Literal["delivered", "read"]
Id = Annotated[bytes, Meta(min_length=ID_SIZE, max_length=ID_SIZE)]


class PayloadUnreadable(Exception):
    """Report a payload that cannot be read, which may have been a text."""


class Text(Discreet, tag="text", frozen=True):
    """A text; `id` is the sender's, `group` the group it was written to, `sent_at` in Unix
    milliseconds.
    """

    id: Id
    text: Annotated[str, Meta(max_length=LONGEST_TEXT)]
    sent_at: Annotated[int, Meta(ge=0, le=_LAST_MOMENT)]
    group: Id | None = None


class Transcript(msgspec.Struct, tag="transcript", frozen=True):
    """A text that another device of the own account sent, and the account it went to."""

    to: Id
    text: Text


class Receipt(msgspec.Struct, tag="receipt", frozen=True):
    """That texts have come to a device, or were shown to the person."""

    state: State
    ids: Annotated[list[Id], Meta(max_length=MOST_RECEIPTS)]


class Refresh(msgspec.Struct, tag="refresh", frozen=True):
    """Nothing to show: it begins a new session, as messages of the old one could not be read."""


Payload = Text | Transcript | Receipt | Refresh

#: What there is to show; of anything else a part that cannot be read is as good as an unknown one.
_SHOWN = ("text", "transcript")

_decoder: msgspec.msgpack.Decoder[Payload] = msgspec.msgpack.Decoder(Payload)


class _Typed(msgspec.Struct):
    """As much of a payload as makes it one."""

    type: str


_type_decoder: msgspec.msgpack.Decoder[_Typed] = msgspec.msgpack.Decoder(_Typed)


def write(payload: Payload) -> bytes:
    """Return a payload as padded bytes."""
    return padded(msgspec.msgpack.encode(payload))


def read(content: bytes) -> Payload | None:
    """Return the payload, None for one of a type or form that only other clients know; raise
    PayloadUnreadable for what is none, or cannot be shown though it should be.
    """
    try:
        inner = unpadded(content)
        try:
            return _decoder.decode(inner)
        except msgspec.ValidationError:
            if _type_decoder.decode(inner).type in _SHOWN:
                raise
            return None
    except (msgspec.MsgspecError, ValueError):
        raise PayloadUnreadable from None


def padded(content: bytes) -> bytes:
    """Return `content ‖ 0x80 ‖ zeros` up to a multiple of 160 bytes."""
    return content + b"\x80" + bytes(-(len(content) + 1) % PADDING_BLOCK)


def unpadded(content: bytes) -> bytes:
    """Return what was padded; raise ValueError."""
    inner, mark, rest = content.rpartition(b"\x80")
    if not mark or rest.strip(b"\0") or len(content) % PADDING_BLOCK:
        raise ValueError("the padding is wrong")
    return inner


def raw_id(identifier: str) -> bytes:
    """Return the 16 bytes of an id; raise ValueError."""
    return UUID(identifier).bytes


def written_id(raw: bytes) -> str:
    """Return an id as the API writes it."""
    return str(UUID(bytes=raw))
