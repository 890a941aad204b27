"""Own the bytes of an envelope's content: what a device reads before it can decrypt.

Refuse what is not written exactly so; numbers are big-endian.
"""

import struct
from typing import NamedTuple

from kith.messaging.agreement import Opening

VERSION = 1
_NOTHING, _FIRST, _LATER = 0, 1, 2
_KINDS = (b"", *(bytes([kind]) for kind in (_NOTHING, _FIRST, _LATER)))
_NO_KEY = 2**32 - 1
_FIXED = struct.Struct(">II32s32sIII")
_KEM_CIPHERTEXT_SIZE = 1568

#: For a device that has published no keys: it is told that there was a message.
NOTHING = bytes([VERSION, _NOTHING])


class EnvelopeUnreadable(Exception):
    """Report content that no version of this client has written."""


class EnvelopeUnknown(EnvelopeUnreadable):
    """Report content of a version or kind that only other clients know."""


class First(NamedTuple):
    """A message that begins a session, sent until the other end has answered.

    The ids name the recipient's prekeys, None where there was none; the registration ids say which
    keys of either device it is about.
    """

    sender_registration_id: int
    recipient_registration_id: int
    opening: Opening
    signed_prekey_id: int
    one_time_prekey_id: int | None
    kem_prekey_id: int | None
    message: bytes


class Later(NamedTuple):
    """A message of a session that both ends have."""

    message: bytes


def write(envelope: First | Later) -> bytes:
    """Return an envelope as bytes."""
    if isinstance(envelope, Later):
        return bytes([VERSION, _LATER]) + envelope.message
    return (
        bytes([VERSION, _FIRST])
        + _FIXED.pack(
            envelope.sender_registration_id,
            envelope.recipient_registration_id,
            envelope.opening.identity_key,
            envelope.opening.ephemeral_key,
            envelope.signed_prekey_id,
            _written(envelope.one_time_prekey_id),
            _written(envelope.kem_prekey_id),
        )
        + envelope.opening.kem_ciphertext
        + envelope.message
    )


def read(content: bytes) -> First | Later | None:
    """Return the envelope, None for NOTHING; raise EnvelopeUnreadable or EnvelopeUnknown."""
    if content == NOTHING:
        return None
    if content[:1] != bytes([VERSION]) or content[1:2] not in _KINDS:
        raise EnvelopeUnknown
    if content[:2] == bytes([VERSION, _LATER]):
        return Later(content[2:])
    if content[:2] != bytes([VERSION, _FIRST]) or len(content) < 2 + _FIXED.size:
        raise EnvelopeUnreadable
    sender, recipient, identity, ephemeral, signed, one_time, kem = _FIXED.unpack_from(content, 2)
    ends = 2 + _FIXED.size + (0 if kem == _NO_KEY else _KEM_CIPHERTEXT_SIZE)
    if len(content) < ends:
        raise EnvelopeUnreadable
    return First(
        sender,
        recipient,
        Opening(identity, ephemeral, content[2 + _FIXED.size : ends]),
        signed,
        _read(one_time),
        _read(kem),
        content[ends:],
    )


def _written(key_id: int | None) -> int:
    return _NO_KEY if key_id is None else key_id


def _read(key_id: int) -> int | None:
    return None if key_id == _NO_KEY else key_id
