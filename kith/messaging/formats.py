"""Binary formats of messages: the content of an envelope, and the payload inside once it is decrypted.

Envelope numbers are big-endian. Payloads are MessagePack with a "type", padded to hide their length;
members and types of newer clients are ignored.
"""

import struct
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Meta

from kith.messaging.key_agreement import KeyExchange
from kith.messaging.store import Opaque

VERSION = 1
_EMPTY_KIND, _INITIAL_KIND, _SESSION_KIND = 0, 1, 2
_KINDS = (b"", *(bytes([kind]) for kind in (_EMPTY_KIND, _INITIAL_KIND, _SESSION_KIND)))
_NO_KEY = 2**32 - 1
_FIXED = struct.Struct(">II32s32sIII")
_KEM_CIPHERTEXT_BYTES = 1568

#: For a device without keys: it learns that there was a message.
EMPTY_ENVELOPE = bytes([VERSION, _EMPTY_KIND])


class EnvelopeUnreadable(Exception):
    """The content was written by no version of this client."""


class EnvelopeUnknown(EnvelopeUnreadable):
    """The content has a version or kind of a newer client."""


class InitialMessage(NamedTuple):
    """A message that starts a session, sent until the other device has answered.

    The ids name the recipient's prekeys, None where there was none; the registration ids say which
    keys of either device were used.
    """

    sender_registration_id: int
    recipient_registration_id: int
    exchange: KeyExchange
    signed_prekey_id: int
    one_time_prekey_id: int | None
    kem_prekey_id: int | None
    message: bytes


class SessionMessage(NamedTuple):
    """A message of an established session."""

    message: bytes


def encode_envelope(envelope: InitialMessage | SessionMessage) -> bytes:
    """Return an envelope as bytes."""
    if isinstance(envelope, SessionMessage):
        return bytes([VERSION, _SESSION_KIND]) + envelope.message
    return (
        bytes([VERSION, _INITIAL_KIND])
        + _FIXED.pack(
            envelope.sender_registration_id,
            envelope.recipient_registration_id,
            envelope.exchange.identity_key,
            envelope.exchange.ephemeral_key,
            envelope.signed_prekey_id,
            _key_id(envelope.one_time_prekey_id),
            _key_id(envelope.kem_prekey_id),
        )
        + envelope.exchange.kem_ciphertext
        + envelope.message
    )


def decode_envelope(content: bytes) -> InitialMessage | SessionMessage | None:
    """Return the envelope, None for EMPTY_ENVELOPE; raise EnvelopeUnreadable or EnvelopeUnknown."""
    if content == EMPTY_ENVELOPE:
        return None
    if content[:1] != bytes([VERSION]) or content[1:2] not in _KINDS:
        raise EnvelopeUnknown
    if content[:2] == bytes([VERSION, _SESSION_KIND]):
        return SessionMessage(content[2:])
    if content[:2] != bytes([VERSION, _INITIAL_KIND]) or len(content) < 2 + _FIXED.size:
        raise EnvelopeUnreadable
    sender, recipient, identity, ephemeral, signed, one_time, kem = _FIXED.unpack_from(content, 2)
    ends = 2 + _FIXED.size + (0 if kem == _NO_KEY else _KEM_CIPHERTEXT_BYTES)
    if len(content) < ends:
        raise EnvelopeUnreadable
    return InitialMessage(
        sender,
        recipient,
        KeyExchange(identity, ephemeral, content[2 + _FIXED.size : ends]),
        signed,
        _optional_key_id(one_time),
        _optional_key_id(kem),
        content[ends:],
    )


def _key_id(key_id: int | None) -> int:
    return _NO_KEY if key_id is None else key_id


def _optional_key_id(key_id: int) -> int | None:
    return None if key_id == _NO_KEY else key_id


PADDING_BLOCK_BYTES = 160
MAX_TEXT_BYTES = 16_000  # of UTF-8; with padding it is within the servers' default limit
ID_BYTES = 16
MAX_RECEIPTS = 200
_MAX_TIME_MS = 253_402_300_799_999  # of the year 9999, in milliseconds

State = Literal["delivered", "read"]
Id = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]


class PayloadUnreadable(Exception):
    """A payload that may be a text cannot be read."""


class Text(Opaque, tag="text", frozen=True):
    """A text; `id` is the sender's, `group` the group it was written to, `sent_at` in Unix
    milliseconds.
    """

    id: Id
    text: Annotated[str, Meta(max_length=MAX_TEXT_BYTES)]
    sent_at: Annotated[int, Meta(ge=0, le=_MAX_TIME_MS)]
    group: Id | None = None


class Transcript(msgspec.Struct, tag="transcript", frozen=True):
    """A text that another device of this account sent, and its recipient."""

    to: Id
    text: Text


class Receipt(msgspec.Struct, tag="receipt", frozen=True):
    """Texts arrived at a device, or were shown to the person."""

    state: State
    ids: Annotated[list[Id], Meta(max_length=MAX_RECEIPTS)]


class SessionRefresh(msgspec.Struct, tag="refresh", frozen=True):
    """No content: it starts a new session, as messages of the old one could not be read."""


Payload = Text | Transcript | Receipt | SessionRefresh

#: Payloads that people see; others are ignored when they cannot be read.
_VISIBLE_TYPES = ("text", "transcript")

_decoder: msgspec.msgpack.Decoder[Payload] = msgspec.msgpack.Decoder(Payload)


class _TypedPayload(msgspec.Struct):
    """The type of any payload."""

    type: str


_type_decoder: msgspec.msgpack.Decoder[_TypedPayload] = msgspec.msgpack.Decoder(_TypedPayload)


def encode_payload(payload: Payload) -> bytes:
    """Return a payload as padded bytes."""
    return pad(msgspec.msgpack.encode(payload))


def decode_payload(content: bytes) -> Payload | None:
    """Return the payload, None for a type or form of a newer client; raise PayloadUnreadable for
    other content, and for a text that cannot be shown.
    """
    try:
        inner = unpad(content)
        try:
            return _decoder.decode(inner)
        except msgspec.ValidationError:
            if _type_decoder.decode(inner).type in _VISIBLE_TYPES:
                raise
            return None
    except (msgspec.MsgspecError, ValueError):
        raise PayloadUnreadable from None


def pad(content: bytes) -> bytes:
    """Return `content ‖ 0x80 ‖ zeros` up to a multiple of 160 bytes."""
    return content + b"\x80" + bytes(-(len(content) + 1) % PADDING_BLOCK_BYTES)


def unpad(content: bytes) -> bytes:
    """Return the content without padding; raise ValueError."""
    inner, mark, rest = content.rpartition(b"\x80")
    if not mark or rest.strip(b"\0") or len(content) % PADDING_BLOCK_BYTES:
        raise ValueError("the padding is wrong")
    return inner


def id_bytes(identifier: str) -> bytes:
    """Return the 16 bytes of an id; raise ValueError."""
    return UUID(identifier).bytes


def id_text(raw: bytes) -> str:
    """Return an id as the API writes it."""
    return str(UUID(bytes=raw))
