"""A device's keys as its client makes them, for tests that upload and take them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from core.base64url import decode, encode

KEM_KEY_SIZE = 1_568


@dataclass
class DeviceKeys:
    """One device's identity and the keys it has made under it."""

    registration_id: int = 7
    identity: SigningKey = field(default_factory=SigningKey.generate)
    #: By key id.
    kem_secrets: dict[int, MLKEM1024PrivateKey] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=count)

    def prekey(self) -> dict[str, Any]:
        """Make a one-time key."""
        return {
            "key_id": next(self._ids),
            "public_key": encode(bytes(PrivateKey.generate().public_key)),
        }

    def signed(self) -> dict[str, Any]:
        """Make a signed prekey."""
        return self.sign(self.prekey(), b"\x01", 32)

    def kem(self) -> dict[str, Any]:
        """Make a KEM key."""
        secret, key_id = MLKEM1024PrivateKey.generate(), next(self._ids)
        self.kem_secrets[key_id] = secret
        key = {"key_id": key_id, "public_key": encode(secret.public_key().public_bytes_raw())}
        return self.sign(key, b"\x02", KEM_KEY_SIZE)

    def sign(self, key: dict[str, Any], prefix: bytes, size: int) -> dict[str, Any]:
        """Sign a key that was made, or tampered with."""
        public_key = decode(key["public_key"], size)
        assert public_key is not None
        return key | {"signature": encode(self.identity.sign(prefix + public_key).signature)}

    def first(self, prekeys: int = 0, kem_prekeys: int = 0, **changes: Any) -> dict[str, Any]:
        """Make a first upload, with so many one-time keys; with some of the second kind a last resort."""
        body = {
            "registration_id": self.registration_id,
            "identity_key": encode(bytes(self.identity.verify_key)),
            "signed_prekey": self.signed(),
        }
        if prekeys:
            body["one_time_prekeys"] = [self.prekey() for _ in range(prekeys)]
        if kem_prekeys:
            body["last_resort_kem_prekey"] = self.kem()
            body["one_time_kem_prekeys"] = [self.kem() for _ in range(kem_prekeys)]
        return body | changes


def digest_of(body: dict[str, Any]) -> str:
    """Write the digest of what an upload publishes for more than one session."""
    parts = [decode(body["identity_key"], 32)]
    for name, size in (("signed_prekey", 32), ("last_resort_kem_prekey", KEM_KEY_SIZE)):
        if name in body:
            key = body[name]
            parts += [key["key_id"].to_bytes(4), decode(key["public_key"], size)]
    return encode(hashlib.sha256(b"".join(part for part in parts if part)).digest())
