"""Signed JSON (appendices of the Matrix specification) under this service's keys.

Each server secret has a key, derived from it; while secrets are rotated, earlier signatures stay valid.
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
from interop.matrix.problems import SigningKeyNotFound


def canonical_json(value: Any) -> bytes:
    """Return canonical JSON, the form that is signed: sorted keys, no spaces, UTF-8."""
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
    )
    return text.encode()


def unpadded(data: bytes) -> str:
    """Encode bytes as Matrix does: base64 without padding."""
    return base64.b64encode(data).rstrip(b"=").decode()


def decode_base64(text: str) -> bytes | None:
    """Decode base64, standard or URL-safe, padded or not; None if it is invalid."""
    standard = text.translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


class Signer:
    """Signs as this service; its name is the host and port of its public URL."""

    def __init__(self, keyring: Keyring, public_url: str) -> None:
        self.name = urlsplit(public_url).netloc
        keys = [SigningKey(seed) for seed in keyring.derive_all("matrix-signing")]
        self._key = keys[0]
        self._public = {_key_id(key): bytes(key.verify_key) for key in keys}

    @property
    def key_id(self) -> str:
        """The id of the key that signs now."""
        return _key_id(self._key)

    def sign(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return an object with this service's signature."""
        signature = unpadded(self._key.sign(canonical_json(value)).signature)
        return value | {"signatures": {self.name: {self.key_id: signature}}}

    def public_key(self, key_id: str) -> str:
        """Return a public key by its id; raises SigningKeyNotFound."""
        key = self._public.get(key_id)
        if key is None:
            raise SigningKeyNotFound("Use the key id of an association's signature.")
        return unpadded(key)

    def is_valid(self, public_key: str) -> bool:
        """Return whether a public key, as base64 of any kind, is this service's."""
        return decode_base64(public_key) in self._public.values()


def _key_id(key: SigningKey) -> str:
    return "ed25519:" + sha256(bytes(key.verify_key), encoder=RawEncoder)[:4].hex()
