"""Own the hash under which a number is looked up: the definition of the Matrix identity service.

Such hashes only keep numbers out of logs and tables; the space of numbers is small enough to try
them all.
"""

import hashlib

from kith.models import base64url


def hash_number(e164: str, salt: str) -> str:
    """Return base64url, unpadded, of SHA-256 over "<digits of the E.164 number> msisdn <salt>"."""
    text = f"{e164.removeprefix('+')} msisdn {salt}"
    return base64url(hashlib.sha256(text.encode("utf-8")).digest())
