"""Keys derived from the server secret, and the digests that stand for numbers and requesters.

In production the secret must be set; in development one is generated in the data directory.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from core.private_files import private_directory
from core.settings import CoreSettings

DIGEST_SIZE = 16


@dataclass(frozen=True, repr=False)
class Keyring:
    """The current secret and the one before it, newest first; every key is derived by purpose."""

    secrets: tuple[bytes, ...]

    def derive(self, purpose: str) -> bytes:
        """Return the current 32-byte key of a purpose (HKDF-Expand, one block, RFC 5869)."""
        return _expand(self.secrets[0], purpose)

    def derive_all(self, purpose: str) -> list[bytes]:
        """Return the keys of a purpose from every accepted secret, the current one first."""
        return [_expand(secret, purpose) for secret in self.secrets]

    def key_id(self) -> str:
        """Return the id of the current secret: 8 hex characters that reveal nothing of it."""
        return _key_id(self.secrets[0])

    def derive_for(self, key_id: str, purpose: str) -> bytes | None:
        """Return the key of a purpose under the secret of that name; None once it is gone."""
        for secret in self.secrets:
            if _key_id(secret) == key_id:
                return _expand(secret, purpose)
        return None

    def digest(self, purpose: str, text: str) -> bytes:
        """Return the keyed digest, 16 bytes, that stands for a number or an address in tables."""
        return _digest(self.secrets[0], purpose, text)

    def digests(self, purpose: str, text: str) -> list[bytes]:
        """Return the digests under every accepted secret, the current one first."""
        return [_digest(secret, purpose, text) for secret in self.secrets]


@cache
def _expand(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, b"kith/" + purpose.encode() + b"\x01", hashlib.sha256)


def _digest(secret: bytes, purpose: str, text: str) -> bytes:
    key = _expand(secret, f"digest/{purpose}")
    return hmac.digest(key, text.encode(), hashlib.sha256)[:DIGEST_SIZE]


def _key_id(secret: bytes) -> str:
    return _expand(secret, "key-id")[:4].hex()


def load_keyring(settings: CoreSettings) -> Keyring:
    """Load the secrets from the settings, or in development from a generated 0600 file."""
    current = settings.secret_key
    secret = (
        current.get_secret_value() if current else _development_secret(settings.data_dir)
    ).encode()
    previous = settings.secret_key_previous
    return Keyring((secret, previous.get_secret_value().encode()) if previous else (secret,))


def _development_secret(data_dir: Path) -> str:
    return read_or_create(data_dir / "secret_key", lambda: secrets.token_urlsafe(32))


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """Read a generated file, or create it; of several processes the first to link it wins."""
    private_directory(path.parent)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()
