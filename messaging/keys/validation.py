"""What an upload of keys must hold, and whether its keys and signatures are sound.

Owns the arithmetic, which takes no connection: at most some ten milliseconds an upload. Refuses, naming each
field: parts that are missing, key ids that are ambiguous, keys with which a session has no secret, and
signatures that are not the identity key's.
"""

from collections.abc import Iterator, Sequence

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PublicKey
from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_scalarmult
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from core.problems import FieldFault, InvalidFields
from messaging.keys.device_keys import begins_anew
from messaging.keys.models import DeviceKeys
from messaging.keys.schemas import KemPrekeyBody, KeysUpload, OneTimePrekeyBody, SignedPrekeyBody

#: What is signed begins with what it is, so that a signature over a key of one kind is not one over another.
X25519_PREFIX = b"\x01"
ML_KEM_PREFIX = b"\x02"
#: X25519 clamps it, so it is a multiple of 8, which takes points of low order to zero.
_ANY_SCALAR = bytes(31) + b"\x40"


def check(upload: KeysUpload, stored: DeviceKeys | None) -> None:
    """Raise InvalidFields, with every fault, unless an upload is sound over what is stored."""
    identity_key = upload.identity_key or (stored and stored.identity_key)
    faults = [*_missing(upload, stored), *_ambiguous(upload, stored)]
    if not faults and identity_key:
        faults = list(_unsound(upload, identity_key))
    if faults:
        raise InvalidFields.of(faults)


def _fault(pointer: str, detail: str) -> FieldFault:
    return FieldFault(pointer=pointer, detail=detail)


def _missing(upload: KeysUpload, stored: DeviceKeys | None) -> Iterator[FieldFault]:
    anew = begins_anew(upload, stored)
    if stored is None:
        for name in ("registration_id", "identity_key", "signed_prekey"):
            if getattr(upload, name) is None:
                yield _fault(f"/{name}", "is needed in the first upload")
    elif anew and upload.signed_prekey is None:
        yield _fault("/signed_prekey", "is needed with a new registration_id")
    elif not anew and upload.identity_key not in (None, stored.identity_key):
        yield _fault("/registration_id", "must be a new one with a new identity_key")
    kept = None if anew or stored is None else stored.last_resort
    if upload.one_time_kem_prekeys and not upload.last_resort_kem_prekey and not kept:
        yield _fault("/last_resort_kem_prekey", "is needed with one-time KEM prekeys")


def _ambiguous(upload: KeysUpload, stored: DeviceKeys | None) -> Iterator[FieldFault]:
    yield from _repeated("one_time_prekeys", upload.one_time_prekeys or (), set())
    last_resort = None
    if upload.last_resort_kem_prekey:
        last_resort = upload.last_resort_kem_prekey.key_id
    elif stored is not None and not begins_anew(upload, stored):
        last_resort = stored.last_resort_id
    yield from _repeated("one_time_kem_prekeys", upload.one_time_kem_prekeys or (), {last_resort})


def _repeated(
    name: str, keys: Sequence[OneTimePrekeyBody | KemPrekeyBody], seen: set[int | None]
) -> Iterator[FieldFault]:
    for place, key in enumerate(keys):
        if key.key_id in seen:
            yield _fault(f"/{name}/{place}/key_id", "another key has it")
        seen.add(key.key_id)


def _unsound(upload: KeysUpload, identity_key: bytes) -> Iterator[FieldFault]:
    if not crypto_core_ed25519_is_valid_point(identity_key):
        yield _fault("/identity_key", "is not an Ed25519 public key")
        return
    signer = VerifyKey(identity_key)
    if upload.signed_prekey:
        where = "/signed_prekey"
        yield from _unsound_x25519(where, upload.signed_prekey)
        yield from _unsigned(where, signer, X25519_PREFIX, upload.signed_prekey)
    for place, key in enumerate(upload.one_time_prekeys or ()):
        yield from _unsound_x25519(f"/one_time_prekeys/{place}", key)
    if upload.last_resort_kem_prekey:
        yield from _unsound_kem("/last_resort_kem_prekey", signer, upload.last_resort_kem_prekey)
    for place, kem_key in enumerate(upload.one_time_kem_prekeys or ()):
        yield from _unsound_kem(f"/one_time_kem_prekeys/{place}", signer, kem_key)


def _unsound_x25519(where: str, key: OneTimePrekeyBody | SignedPrekeyBody) -> Iterator[FieldFault]:
    """Name a key of low order: with it every secret is zero, which libsodium tells (RFC 7748 section 6.1)."""
    try:
        crypto_scalarmult(_ANY_SCALAR, key.public_key)
    except RuntimeError:
        yield _fault(f"{where}/public_key", "is not an X25519 public key")


def _unsound_kem(where: str, signer: VerifyKey, key: KemPrekeyBody) -> Iterator[FieldFault]:
    """Name a key with a coefficient that is not below the modulus (FIPS 203 section 7.2), or unsigned."""
    try:
        MLKEM1024PublicKey.from_public_bytes(key.public_key)
    except ValueError:
        yield _fault(f"{where}/public_key", "is not an ML-KEM-1024 public key")
    yield from _unsigned(where, signer, ML_KEM_PREFIX, key)


def _unsigned(
    where: str, signer: VerifyKey, prefix: bytes, key: SignedPrekeyBody | KemPrekeyBody
) -> Iterator[FieldFault]:
    try:
        signer.verify(prefix + key.public_key, key.signature)
    except BadSignatureError:
        yield _fault(f"{where}/signature", "is not the identity key's over this key")
