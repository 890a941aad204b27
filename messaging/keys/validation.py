"""Validation of key uploads: required parts, unique key ids, usable keys, and valid signatures.

It needs no connection and takes at most some ten milliseconds an upload.
"""

from collections.abc import Iterator, Sequence

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PublicKey
from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_scalarmult
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from core.problems import FieldError, InvalidFields
from messaging.keys.device_keys import replaces_all
from messaging.keys.models import DeviceKeys
from messaging.keys.schemas import KemPrekeyBody, KeysUpload, OneTimePrekeyBody, SignedPrekeyBody

#: Signed data starts with its kind, so that a signature of one kind of key is not valid for another.
X25519_PREFIX = b"\x01"
ML_KEM_PREFIX = b"\x02"
#: X25519 clamps it to a multiple of 8, which maps points of low order to zero.
_ANY_SCALAR = bytes(31) + b"\x40"


def check(upload: KeysUpload, stored: DeviceKeys | None) -> None:
    """Raise InvalidFields with every fault of an upload, given the stored keys."""
    identity_key = upload.identity_key or (stored and stored.identity_key)
    faults = [*_missing_parts(upload, stored), *_duplicate_ids(upload, stored)]
    if not faults and identity_key:
        faults = list(_key_faults(upload, identity_key))
    if faults:
        raise InvalidFields.of(faults)


def _fault(pointer: str, detail: str) -> FieldError:
    return FieldError(pointer=pointer, detail=detail)


def _missing_parts(upload: KeysUpload, stored: DeviceKeys | None) -> Iterator[FieldError]:
    is_replaced = replaces_all(upload, stored)
    if stored is None:
        for name in ("registration_id", "identity_key", "signed_prekey"):
            if getattr(upload, name) is None:
                yield _fault(f"/{name}", "is required in the first upload")
    elif is_replaced and upload.signed_prekey is None:
        yield _fault("/signed_prekey", "is required with a new registration_id")
    elif not is_replaced and upload.identity_key not in (None, stored.identity_key):
        yield _fault("/registration_id", "must be new with a new identity_key")
    kept = None if is_replaced or stored is None else stored.last_resort
    if upload.one_time_kem_prekeys and not upload.last_resort_kem_prekey and not kept:
        yield _fault("/last_resort_kem_prekey", "is required with one-time KEM prekeys")


def _duplicate_ids(upload: KeysUpload, stored: DeviceKeys | None) -> Iterator[FieldError]:
    yield from _repeated_ids("one_time_prekeys", upload.one_time_prekeys or (), set())
    last_resort = None
    if upload.last_resort_kem_prekey:
        last_resort = upload.last_resort_kem_prekey.key_id
    elif stored is not None and not replaces_all(upload, stored):
        last_resort = stored.last_resort_id
    yield from _repeated_ids(
        "one_time_kem_prekeys", upload.one_time_kem_prekeys or (), {last_resort}
    )


def _repeated_ids(
    name: str, keys: Sequence[OneTimePrekeyBody | KemPrekeyBody], seen: set[int | None]
) -> Iterator[FieldError]:
    for index, key in enumerate(keys):
        if key.key_id in seen:
            yield _fault(f"/{name}/{index}/key_id", "is used by another key")
        seen.add(key.key_id)


def _key_faults(upload: KeysUpload, identity_key: bytes) -> Iterator[FieldError]:
    if not crypto_core_ed25519_is_valid_point(identity_key):
        yield _fault("/identity_key", "is not an Ed25519 public key")
        return
    signer = VerifyKey(identity_key)
    if upload.signed_prekey:
        pointer = "/signed_prekey"
        yield from _x25519_faults(pointer, upload.signed_prekey)
        yield from _signature_faults(pointer, signer, X25519_PREFIX, upload.signed_prekey)
    for index, key in enumerate(upload.one_time_prekeys or ()):
        yield from _x25519_faults(f"/one_time_prekeys/{index}", key)
    if upload.last_resort_kem_prekey:
        yield from _kem_faults("/last_resort_kem_prekey", signer, upload.last_resort_kem_prekey)
    for index, kem_key in enumerate(upload.one_time_kem_prekeys or ()):
        yield from _kem_faults(f"/one_time_kem_prekeys/{index}", signer, kem_key)


def _x25519_faults(pointer: str, key: OneTimePrekeyBody | SignedPrekeyBody) -> Iterator[FieldError]:
    """Reject keys of low order, which libsodium detects: every secret is zero (RFC 7748 section 6.1)."""
    try:
        crypto_scalarmult(_ANY_SCALAR, key.public_key)
    except RuntimeError:
        yield _fault(f"{pointer}/public_key", "is not an X25519 public key")


def _kem_faults(pointer: str, signer: VerifyKey, key: KemPrekeyBody) -> Iterator[FieldError]:
    """Reject keys with a coefficient over the modulus (FIPS 203 section 7.2), and bad signatures."""
    try:
        MLKEM1024PublicKey.from_public_bytes(key.public_key)
    except ValueError:
        yield _fault(f"{pointer}/public_key", "is not an ML-KEM-1024 public key")
    yield from _signature_faults(pointer, signer, ML_KEM_PREFIX, key)


def _signature_faults(
    pointer: str, signer: VerifyKey, prefix: bytes, key: SignedPrekeyBody | KemPrekeyBody
) -> Iterator[FieldError]:
    try:
        signer.verify(prefix + key.public_key, key.signature)
    except BadSignatureError:
        yield _fault(f"{pointer}/signature", "is not a signature of this key by the identity key")
