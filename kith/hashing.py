"""Own the hash under which a number is looked up: the definition of the Matrix identity service.

Such hashes only keep numbers out of logs and tables; the space of numbers is small enough to try
them all.
"""

import hashlib

from kith.models import base64url

DIGEST_SIZE = 32


def digest_number(e164: str, salt: str) -> bytes:
    """Return SHA-256 over "<digits of the E.164 number> msisdn <salt>"."""
    text = f"{e164.removeprefix('+')} msisdn {salt}"
    return hashlib.sha256(text.encode("utf-8")).digest()


def hash_number(e164: str, salt: str) -> str:
    """Return the digest of a number as the API writes it: base64url, unpadded."""
    return base64url(digest_number(e164, salt))
