"""Own the safety number of two accounts: 60 digits that are the same for both only when nobody sits
between them.

Made as Signal makes it, with the identity keys of all devices of an account in place of one.
"""

import hashlib
from collections.abc import Iterable
from uuid import UUID

ITERATIONS = 5_200
_VERSION = bytes(2)
_GROUPS, _GROUP_BYTES, _GROUP_DIGITS = 6, 5, 5


def safety_number(
    own_account_id: str,
    own_keys: Iterable[bytes],
    their_account_id: str,
    their_keys: Iterable[bytes],
) -> str:
    """Return twelve groups of five digits, whoever of the two asks."""
    halves = sorted(
        (_fingerprint(own_account_id, own_keys), _fingerprint(their_account_id, their_keys))
    )
    digits = "".join(halves)
    return " ".join(
        digits[start : start + _GROUP_DIGITS] for start in range(0, len(digits), _GROUP_DIGITS)
    )


def _fingerprint(account_id: str, keys: Iterable[bytes]) -> str:
    joined = b"".join(sorted(set(keys)))
    digest = _VERSION + joined + UUID(account_id).bytes
    # Each try of somebody who looks for keys with a like number costs so many hashes.
    for _ in range(ITERATIONS):
        digest = hashlib.sha512(digest + joined).digest()
    groups = (
        int.from_bytes(digest[start : start + _GROUP_BYTES], "big") % 10**_GROUP_DIGITS
        for start in range(0, _GROUPS * _GROUP_BYTES, _GROUP_BYTES)
    )
    return "".join(f"{group:0{_GROUP_DIGITS}}" for group in groups)
