"""Hashes of numbers: how they are made, and how a page of them is read from the wire.

Owns the definition that the Matrix identity service also uses. It only keeps numbers out of logs
and tables: whoever can hash every number there is can reverse it.
"""

import base64
import hashlib
from collections.abc import Sequence

from core.base64url import encode

DIGEST_SIZE = 32
#: One hash as text: 43 characters whose last holds two spare bits, which must be zero.
HASH_PATTERN = r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"


def digest_number(e164: str, salt: str) -> bytes:
    """Hash a number: SHA-256 over UTF-8 "<E.164 digits without +> msisdn <salt>"."""
    return hashlib.sha256(f"{e164.removeprefix('+')} msisdn {salt}".encode()).digest()


def encode_hash(digest: bytes) -> str:
    """Write a digest as the wire does: base64url without padding."""
    return encode(digest)


def decode_hashes(hashes: Sequence[str]) -> list[bytes]:
    """Read hashes that match HASH_PATTERN; give their 32-byte digests in the same order.

    All in one go, three times as fast as one by one: with an `A`, six zero bits, after each hash
    its 44 characters are 33 whole bytes, the last of which is zero.
    """
    joined = "".join([text + "A" for text in hashes])
    raw = base64.urlsafe_b64decode(joined)
    return [raw[i : i + DIGEST_SIZE] for i in range(0, len(raw), DIGEST_SIZE + 1)]
