"""The device token: what it looks like, how it is minted, and what of it is stored.

`kith_` and 91 characters of base64url over account id (16 bytes), device id (16), a 256-bit secret and
a CRC-32, so that secret scanners recognise a leak without asking and a lookup needs one key, on one
shard. Only SHA-256 of the secret is stored: it has 256 bits of entropy, so a slow hash would cost every
request and protect nothing (docs/adr/0002).
"""

import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from core.base64url import decode, encode
from core.secrets import Keyring

TOKEN_PREFIX = "kith_"
LINK_PREFIX = "kithlink_"
SECRET_SIZE = 32


@dataclass(frozen=True, repr=False)
class Credential:
    """A secret and whom it speaks for: account and device of a token, account of a link code."""

    ids: tuple[UUID, ...]
    secret: bytes

    @property
    def secret_hash(self) -> bytes:
        """What is stored of the secret: its SHA-256, 32 bytes."""
        return hashlib.sha256(self.secret).digest()

    def format(self, prefix: str) -> str:
        """Write the credential as its holder carries it."""
        payload = b"".join(identity.bytes for identity in self.ids) + self.secret
        return prefix + encode(payload + _checksum(prefix, payload))

    @classmethod
    def parse(cls, prefix: str, ids: int, text: str) -> "Credential | None":
        """Read a credential with so many ids; None when it is not one, whole and unaltered."""
        payload = decode(text[len(prefix) :], 16 * ids + SECRET_SIZE + 4)
        if not text.startswith(prefix) or payload is None:
            return None
        payload, checksum = payload[:-4], payload[-4:]
        if checksum != _checksum(prefix, payload):
            return None
        names = tuple(UUID(bytes=payload[16 * n : 16 * n + 16]) for n in range(ids))
        return cls(names, payload[16 * ids :])


class TokenIssuer:
    """Makes the secrets of tokens; with an idempotency key the same one again, without storing it."""

    def __init__(self, keyring: Keyring, entropy: Callable[[int], bytes]) -> None:
        self._keyring = keyring
        self._entropy = entropy

    def secret(self, occasion: bytes, idempotency_key: str | None) -> bytes:
        """Make the secret for what happens at `occasion`, a value that never comes back.

        A request repeated after a lost answer must get the token it was given. The token cannot be
        stored, so it is derived: HMAC of the occasion and the client's key under a server key.
        """
        return self.secrets(occasion, idempotency_key)[0]

    def secrets(self, occasion: bytes, idempotency_key: str | None) -> list[bytes]:
        """Give the secrets under every accepted server secret, the current one first."""
        if idempotency_key is None:
            return [self._entropy(SECRET_SIZE)]
        material = occasion + b"\x00" + idempotency_key.encode()
        return [
            hmac.digest(key, material, hashlib.sha256)
            for key in self._keyring.derive_all("device-token")
        ]


def _checksum(prefix: str, payload: bytes) -> bytes:
    return binascii.crc32(prefix.encode() + payload).to_bytes(4, "big")
