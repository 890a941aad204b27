"""The code: derived, never stored. A test number's is fixed, and is in the settings only.

HOTP (RFC 4226) at counter 0 under a key of its own for each verification, derived from a server key. A
resend therefore repeats the code, a stolen database holds none, and comparison takes constant time.
"""

import hashlib
import hmac
from collections.abc import Mapping
from types import MappingProxyType

from core.secrets import DIGEST_SIZE, Keyring

SHORT, LONG = 6, 8
#: The key id of a verification whose code is its number's fixed one; no server secret is named so.
FIXED = "fixed"


def derive(key: bytes, verification_id: bytes, digits: int) -> str:
    """Derive a verification's code of 6 or 8 digits (RFC 4226 section 5.3, with HMAC-SHA-256)."""
    own_key = hmac.digest(key, verification_id, hashlib.sha256)
    digest = hmac.digest(own_key, (0).to_bytes(8, "big"), hashlib.sha256)
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


class CodeBook:
    """Derives and judges codes with the server's keys; knows those of test numbers by digest."""

    def __init__(self, keyring: Keyring, fixed: Mapping[bytes, str] = MappingProxyType({})) -> None:
        self._keyring = keyring
        self._fixed = fixed

    def code(self, key_id: str, verification_id: bytes, digits: int) -> str | None:
        """Give the code of a verification of 32 bytes, whose first half is its number's digest.

        None once its server secret is no longer accepted, or its number has no fixed code any more.
        """
        if key_id == FIXED:
            code = self._fixed.get(verification_id[:DIGEST_SIZE], "")
            return code if len(code) == digits else None
        key = self._keyring.derive_for(key_id, "codes")
        return None if key is None else derive(key, verification_id, digits)

    def matches(self, key_id: str, verification_id: bytes, digits: int, given: str) -> bool:
        """Compare what was typed with the code, in constant time."""
        code = self.code(key_id, verification_id, digits)
        return code is not None and hmac.compare_digest(code.encode(), given.encode())
