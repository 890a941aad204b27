"""The format of tokens, and the issuer of their secrets.

A device token is `kith_` and 91 characters of base64url: account id (16 bytes), device id (16), a 256-bit
secret and a CRC-32. Secret scanners recognise one offline, and reading its row takes one key on one shard.
Only the SHA-256 of the secret is stored: with 256 bits of entropy a slow hash would cost every request and
protect nothing (docs/adr/0002).
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
    """A secret and the ids it stands for: account and device of a token, account of a link code."""

    ids: tuple[UUID, ...]
    secret: bytes

    @property
    def secret_hash(self) -> bytes:
        """The SHA-256 of the secret, 32 bytes: all that is stored of it."""
        return hashlib.sha256(self.secret).digest()

    def format(self, prefix: str) -> str:
        """Return the token text."""
        payload = b"".join(identity.bytes for identity in self.ids) + self.secret
        return prefix + encode(payload + _checksum(prefix, payload))

    @classmethod
    def parse(cls, prefix: str, ids: int, text: str) -> "Credential | None":
        """Parse a token with this many ids; return None if it is malformed, truncated or altered."""
        payload = decode(text[len(prefix) :], 16 * ids + SECRET_SIZE + 4)
        if not text.startswith(prefix) or payload is None:
            return None
        payload, checksum = payload[:-4], payload[-4:]
        if checksum != _checksum(prefix, payload):
            return None
        names = tuple(UUID(bytes=payload[16 * n : 16 * n + 16]) for n in range(ids))
        return cls(names, payload[16 * ids :])


@dataclass(frozen=True)
class TokenIssuer:
    """Makes the secrets of tokens."""

    keyring: Keyring
    entropy: Callable[[int], bytes]

    def secrets(self, context: bytes, idempotency_key: str | None) -> list[bytes]:
        """Return the secret of a new token under every accepted server secret, the current one first.

        context: what the token is issued for, a value that never repeats. A request repeated after a lost
        answer must get the same token, which is not stored. So it is derived: HMAC of the context and the
        idempotency key under a server key; random without a key.
        """
        if idempotency_key is None:
            return [self.entropy(SECRET_SIZE)]
        message = context + b"\x00" + idempotency_key.encode()
        return [
            hmac.digest(key, message, hashlib.sha256)
            for key in self.keyring.derive_all("device-token")
        ]


def _checksum(prefix: str, payload: bytes) -> bytes:
    return binascii.crc32(prefix.encode() + payload).to_bytes(4, "big")
