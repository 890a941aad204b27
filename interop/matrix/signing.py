"""Signed JSON (appendices of the Matrix specification) under the keys of this service.

Owns the keys: one a server secret, derived from it, so that while secrets are rotated what was signed
under the previous one still verifies. Refuses nothing.
"""

import base64
import binascii
import json
from typing import Any
from urllib.parse import urlsplit

from nacl.encoding import RawEncoder
from nacl.hash import sha256
from nacl.signing import SigningKey

from core.secrets import Keyring


def canonical_json(value: Any) -> bytes:
    """Write JSON in the one way that is signed: sorted keys, no blanks, UTF-8."""
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
    )
    return text.encode()


def unpadded(data: bytes) -> str:
    """Write bytes as Matrix does: base64 without padding."""
    return base64.b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes | None:
    """Read base64, standard or URL-safe, padded or not; None for what cannot be it."""
    standard = text.translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


class Signer:
    """Signs as this service, whose name is where clients reach it."""

    def __init__(self, keyring: Keyring, public_url: str) -> None:
        self.name = urlsplit(public_url).netloc
        keys = [SigningKey(seed) for seed in keyring.derive_all("matrix-signing")]
        self._key = keys[0]
        self._public = {_key_id(key): bytes(key.verify_key) for key in keys}

    @property
    def key_id(self) -> str:
        """The name of the key that signs now."""
        return _key_id(self._key)

    def sign(self, value: dict[str, Any]) -> dict[str, Any]:
        """Give an object with our signature."""
        signature = unpadded(self._key.sign(canonical_json(value)).signature)
        return value | {"signatures": {self.name: {self.key_id: signature}}}

    def public_key(self, key_id: str) -> str | None:
        """Give a public key by its name; None when there is no such key."""
        key = self._public.get(key_id)
        return None if key is None else unpadded(key)

    def is_valid(self, public_key: str) -> bool:
        """Say whether a public key, as standard or URL-safe base64, is one of ours."""
        return decoded(public_key) in self._public.values()


def _key_id(key: SigningKey) -> str:
    return "ed25519:" + sha256(bytes(key.verify_key), encoder=RawEncoder)[:4].hex()
