"""Sync tokens: proof of which hashes were paid for, kept by the client and not by us.

A token is an HMAC over its version, the asker (an account or a service), the epoch and the digest of the
sorted set of hashes. It proves nothing for another asker, another epoch or another set, and tells nothing
about the set. Refuses nothing: a token that does not prove a set has merely no effect.
"""

import hashlib
import hmac
from uuid import UUID

from core.base64url import decode, encode
from core.secrets import Keyring
from discovery.hashes import DigestSet

VERSION = b"\x01"
LENGTH = 44
_SIZE = len(VERSION) + hashlib.sha256().digest_size


class SyncTokens:
    """Makes tokens and checks them; while secrets are rotated those of the previous one hold."""

    def __init__(self, keyring: Keyring) -> None:
        self._keys = keyring.derive_all("sync-token")

    def make(self, asker_id: UUID, epoch_id: str, known: DigestSet) -> str:
        """Prove that an asker has paid for a set of hashes in an epoch."""
        return encode(VERSION + _proof(self._keys[0], asker_id, epoch_id, known))

    def prove(self, token: str, asker_id: UUID, epoch_id: str, known: DigestSet) -> bool:
        """Say whether a token proves that an asker has paid for exactly this set."""
        given = decode(token, _SIZE)
        if given is None:
            return False
        return any(
            hmac.compare_digest(given, VERSION + _proof(key, asker_id, epoch_id, known))
            for key in self._keys
        )


def _proof(key: bytes, asker_id: UUID, epoch_id: str, known: DigestSet) -> bytes:
    # All but the last are of fixed length, the epoch's id is not: the set's digest goes before it.
    message = VERSION + asker_id.bytes + known.fingerprint + epoch_id.encode()
    return hmac.digest(key, message, hashlib.sha256)
