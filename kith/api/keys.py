"""Calls that publish this device's public keys and fetch those of others, and the shapes of keys.

Private keys, signatures and trust are the caller's; `kith.messaging` has them.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from kith.api import ApiCalls, path_segment
from kith.models import Answer, Binary, base64url
from kith.problems import KeysDiffer


class Prekey(Answer, frozen=True):
    """An X25519 public key, 32 bytes, for one session."""

    key_id: int
    public_key: Binary


class SignedPrekey(Answer, frozen=True):
    """A public key with the identity key's signature, 64 bytes: X25519, 32 bytes, signed as
    `0x01 || public_key`, or ML-KEM-1024, 1,568 bytes, signed as `0x02 || public_key`.
    """

    key_id: int
    public_key: Binary
    signature: Binary


class KeyBundle(Answer, frozen=True):
    """The public keys that start a session with one device; identity_key is Ed25519, 32 bytes.

    one_time_prekey: None when none is left. kem_prekey: a one-time or the last-resort key, None
    when the device has neither.
    """

    device_id: str
    registration_id: int
    identity_key: Binary
    signed_prekey: SignedPrekey
    one_time_prekey: Prekey | None = None
    kem_prekey: SignedPrekey | None = None


class FetchedKeys(Answer, frozen=True):
    """A bundle for each device of an account, and the ids of devices without keys."""

    devices: tuple[KeyBundle, ...]
    without_keys: tuple[str, ...]


class DeviceIdentity(Answer, frozen=True):
    """The identity key of a device, Ed25519, 32 bytes."""

    device_id: str
    registration_id: int
    identity_key: Binary


class Identities(Answer, frozen=True):
    """The identity keys of an account's devices, and the ids of devices without keys."""

    devices: tuple[DeviceIdentity, ...]
    without_keys: tuple[str, ...]


class KeyCounts(Answer, frozen=True):
    """How many one-time keys of this device the server has left."""

    one_time_prekeys: int
    one_time_kem_prekeys: int


def keys_digest(
    identity_key: bytes, signed_prekey: SignedPrekey, last_resort: SignedPrekey | None
) -> bytes:
    """Return SHA-256 over the keys that `Kith.keys_are_as_published` compares."""
    parts = [identity_key]
    for prekey in (signed_prekey, last_resort):
        if prekey is not None:
            parts += [prekey.key_id.to_bytes(4, "big"), prekey.public_key]
    return hashlib.sha256(b"".join(parts)).digest()


class KeyCalls(ApiCalls):
    """Publish, fetch, count and compare public keys."""

    def upload_keys(
        self,
        *,
        registration_id: int | None = None,
        identity_key: bytes | None = None,
        signed_prekey: SignedPrekey | None = None,
        last_resort_kem_prekey: SignedPrekey | None = None,
        one_time_prekeys: Sequence[Prekey] | None = None,
        one_time_kem_prekeys: Sequence[SignedPrekey] | None = None,
    ) -> None:
        """Publish keys of this device: the first three at first, any of them later.

        One-time keys, 1 to 100 of a kind, replace those that are left. Another registration_id
        starts over: it needs a signed_prekey and removes all keys that are not in the same call
        except the identity key; another identity_key needs another registration_id. Raise
        InvalidFields, with nothing changed, for an invalid key or signature.
        """
        body = {
            "registration_id": registration_id,
            "identity_key": identity_key,
            "signed_prekey": signed_prekey,
            "last_resort_kem_prekey": last_resort_kem_prekey,
            "one_time_prekeys": one_time_prekeys,
            "one_time_kem_prekeys": one_time_kem_prekeys,
        }
        given = {name: _builtins(value) for name, value in body.items() if value is not None}
        self._transport.call("PUT", "/v1/keys", given)

    def fetch_keys(self, account_id: str, *, device_id: str | None = None) -> FetchedKeys:
        """Fetch a bundle for each device of an account, or for one; of this account, for each other
        device.

        The server hands out each one-time key once. Raise TooManyKeyFetches, with no key handed
        out, over the account's limit.
        """
        query = None if device_id is None else {"device_id": device_id}
        return self._read(FetchedKeys, "GET", f"/v1/keys/{path_segment(account_id)}", query=query)

    def identities(self, account_id: str) -> Identities:
        """Return the identity keys of all devices of an account; this uses up no key."""
        return self._read(Identities, "GET", f"/v1/keys/{path_segment(account_id)}/identities")

    def count_keys(self) -> KeyCounts:
        """Return how many one-time keys of this device are left."""
        return self._read(KeyCounts, "GET", "/v1/keys/count")

    def keys_are_as_published(self, digest: bytes) -> bool:
        """Return whether the server hands out the keys of this `keys_digest`."""
        try:
            self._transport.call("POST", "/v1/keys/check", {"digest": base64url(digest)})
        except KeysDiffer:
            return False
        return True


def _builtins(value: object) -> Any:
    """Return a request member for JSON, with binary as base64url."""
    if isinstance(value, bytes):
        return base64url(value)
    if isinstance(value, msgspec.Struct):
        return {name: _builtins(getattr(value, name)) for name in value.__struct_fields__}
    return [_builtins(one) for one in value] if isinstance(value, list | tuple) else value
