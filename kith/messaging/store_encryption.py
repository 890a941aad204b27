"""Encryption of the message store, and how its key is protected.

The random store key is wrapped by a passphrase (Argon2id) or by the secret in a key file, so that changing
the passphrase does not re-encrypt everything. A key file protects a store that is copied without it, such as
in a backup, but not from a person who can read both; a passphrase does. A wrong passphrase
and a changed file look the same.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

import msgspec
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
# RFC 9106, section 4, the second recommended option: 64 MiB, three passes, four lanes.
_MEMORY_KIB, _PASSES, _LANES = 65_536, 3, 4
_SALT_BYTES = 16


class StoreBroken(Exception):
    """A message store cannot be read or written; the message says what to do."""


class StoreLocked(Exception):
    """The passphrase or key file of a store is missing or wrong."""


class WrappedKey(msgspec.Struct, frozen=True):
    """The wrapped key in the store; salt is None with a key file."""

    salt: bytes | None
    sealed_key: bytes


class StoreCipher:
    """Encrypts values, each with a context that must be the same to decrypt it."""

    def __init__(self, key: bytes) -> None:
        """Take a key of 32 bytes."""
        self._cipher = AESGCM(key)
        self._naming = hashlib.sha256(b"kith v1 names" + key).digest()

    def encrypt(self, value: bytes, context: bytes) -> bytes:
        """Return the nonce and AES-256-GCM over `value`; random nonces are safe for 2^32 values."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, context)

    def decrypt(self, sealed: bytes, context: bytes) -> bytes:
        """Return the value; raise InvalidTag for another context or changed content."""
        if len(sealed) < NONCE_BYTES:
            raise InvalidTag
        return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)

    def hash_name(self, text: str) -> bytes:
        """Return 16 bytes for a name, so that the store can find it without revealing it."""
        return hmac.digest(self._naming, text.encode("utf-8", "surrogatepass"), "sha256")[:16]


class UnlockMethod:
    """What unlocks a store: a passphrase if given, else the secret in a key file."""

    def __init__(self, key_file: Path, passphrase: str | None = None) -> None:
        """Take the path of the key file; nothing is opened yet."""
        self.key_file = key_file
        self._passphrase = passphrase

    def wrap(self, key: bytes) -> WrappedKey:
        """Return a store's key wrapped; a missing key file is created."""
        salt = None if self._passphrase is None else secrets.token_bytes(_SALT_BYTES)
        wrapping = self._file_secret(make=True) if salt is None else self._derive_key(salt)
        return WrappedKey(salt, StoreCipher(wrapping).encrypt(key, _context(salt)))

    def unwrap(self, wrapped: WrappedKey) -> bytes:
        """Return a store's key; raise StoreLocked."""
        if wrapped.salt is None:
            wrapping, advice = self._file_secret(make=False), f"{self.key_file} is not its key."
        else:
            if self._passphrase is None:
                raise StoreLocked("The messages kept here are locked by a passphrase.")
            wrapping, advice = self._derive_key(wrapped.salt), "That is not the passphrase."
        try:
            return StoreCipher(wrapping).decrypt(wrapped.sealed_key, _context(wrapped.salt))
        except InvalidTag:
            raise StoreLocked(advice) from None

    def _derive_key(self, salt: bytes) -> bytes:
        return hash_secret_raw(
            (self._passphrase or "").encode("utf-8", "surrogatepass"),
            salt,
            time_cost=_PASSES,
            memory_cost=_MEMORY_KIB,
            parallelism=_LANES,
            hash_len=KEY_BYTES,
            type=Type.ID,
        )

    def _file_secret(self, *, make: bool) -> bytes:
        try:
            if make and not self.key_file.exists():
                self.key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with os.fdopen(os.open(self.key_file, flags, 0o600), "wb") as file:
                    file.write(secrets.token_bytes(KEY_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
            if os.name == "posix" and self.key_file.stat().st_mode & 0o077:
                raise StoreLocked(f"Others can read {self.key_file}; run: chmod 600 on it")
            secret = self.key_file.read_bytes()
        except FileNotFoundError:
            raise StoreLocked(
                f"{self.key_file}, which opens the messages kept here, is gone."
            ) from None
        except OSError as error:
            raise StoreBroken(f"{self.key_file} cannot be used: {error.strerror}.") from None
        if len(secret) != KEY_BYTES:
            raise StoreLocked(f"{self.key_file} is not a key file.")
        return secret


def _context(salt: bytes | None) -> bytes:
    return b"kith v1 store key" + (salt or b"")
