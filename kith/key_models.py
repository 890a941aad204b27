"""Own the shapes of public keys as devices publish and take them, and the digest over those that the
server should hand out.

Refuse to know private keys, and to check a signature.
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Prekey:
    """An X25519 public key, 32 bytes, for one session."""

    key_id: int
    public_key: bytes


@dataclass(frozen=True)
class SignedPrekey:
    """A public key with the identity key's signature, 64 bytes: X25519, 32 bytes, signed as
    `0x01 || public_key`, or ML-KEM-1024, 1,568 bytes, signed as `0x02 || public_key`.
    """

    key_id: int
    public_key: bytes
    signature: bytes


@dataclass(frozen=True)
class DeviceRecovery:
    """Which device returns at a registration, and its identity key's signature, 64 bytes, over
    `0x03` and the verification's id in ASCII.
    """

    device_id: str
    signature: bytes


@dataclass(frozen=True)
class KeyBundle:
    """What a session with one device begins with; identity_key is Ed25519, 32 bytes.

    one_time_prekey: None when none was left. kem_prekey: one for this session or the last resort,
    None when the device has neither.
    """

    device_id: str
    registration_id: int
    identity_key: bytes
    signed_prekey: SignedPrekey
    one_time_prekey: Prekey | None
    kem_prekey: SignedPrekey | None


@dataclass(frozen=True)
class TakenKeys:
    """A bundle for each device of an account, and the ids of the devices that have published none."""

    devices: tuple[KeyBundle, ...]
    without_keys: tuple[str, ...]


@dataclass(frozen=True)
class DeviceIdentity:
    """The identity key of a device, Ed25519, 32 bytes."""

    device_id: str
    registration_id: int
    identity_key: bytes


@dataclass(frozen=True)
class Identities:
    """The identity keys of an account's devices, and the ids of devices that have published none."""

    devices: tuple[DeviceIdentity, ...]
    without_keys: tuple[str, ...]


@dataclass(frozen=True)
class KeyCounts:
    """How many one-time keys of each kind the server has left of the own device."""

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
