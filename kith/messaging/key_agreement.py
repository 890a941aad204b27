"""Key agreement of two devices: X3DH combined with ML-KEM-1024, as in PQXDH.

https://signal.org/docs/specifications/x3dh/. An attacker who records everything and breaks X25519 one day
still lacks the ML-KEM secret. Prekeys with a wrong signature and weak public keys are rejected.
"""

import time
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import x3dh
import xeddsa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey, MLKEM1024PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from x3dh.models import BaseStateModel, IdentityKeyPairModel, SignedPreKeyPairModel
from x3dh.types import SecretType

from kith.api.keys import KeyBundle
from kith.messaging.ratchet import run_sync

#: Prefixes of signed content, so that no key can stand for one of another kind.
PREKEY_MARK, KEM_PREKEY_MARK, RECOVERY_MARK = b"\x01", b"\x02", b"\x03"
_IDENTITY_MARK = b"\x00"


class KeyAgreementFailed(Exception):
    """The keys cannot start a session; the message says why."""


class Party(NamedTuple):
    """A device, with ids as the API writes them."""

    account_id: str
    device_id: str
    registration_id: int


@dataclass(frozen=True, repr=False)
class KeySecrets:
    """The private keys that an initial message names: the seed of the identity key, X25519 keys,
    and the seed of an ML-KEM key.
    """

    identity_seed: bytes
    signed_prekey: bytes
    one_time_prekey: bytes | None
    kem_prekey: bytes | None


class KeyExchange(NamedTuple):
    """What the other device needs to derive the same secret; without a KEM key the ciphertext is
    empty.
    """

    identity_key: bytes
    ephemeral_key: bytes
    kem_ciphertext: bytes


@dataclass(frozen=True, repr=False)
class SharedSecret:
    """The secret, and the associated data of every message."""

    secret: bytes
    associated_data: bytes


class _State(x3dh.BaseState):
    @staticmethod
    def _encode_public_key(key_format: x3dh.IdentityKeyFormat, pub: bytes) -> bytes:
        is_identity = key_format is x3dh.IdentityKeyFormat.ED_25519
        return (_IDENTITY_MARK if is_identity else PREKEY_MARK) + pub


def initiate(
    identity_seed: bytes, own: Party, bundle: KeyBundle, them: Party
) -> tuple[SharedSecret, KeyExchange]:
    """Return the secret shared with the device that published `bundle`; raise
    KeyAgreementFailed.
    """
    kem_secret, kem_ciphertext = _encapsulate(bundle)
    state = _state(KeySecrets(identity_seed, bytes(32), None, None))
    one_time = bundle.one_time_prekey
    keys = x3dh.Bundle(
        identity_key=bundle.identity_key,
        signed_pre_key=bundle.signed_prekey.public_key,
        signed_pre_key_sig=bundle.signed_prekey.signature,
        pre_keys=frozenset() if one_time is None else frozenset({one_time.public_key}),
    )
    try:
        secret, associated_data, header = run_sync(
            state.get_shared_secret_active(keys, _parties(own, them), require_pre_key=False)
        )
    except _LIBRARY_ERRORS as error:
        raise KeyAgreementFailed(f"The keys of that device are not good: {error}") from None
    shared = SharedSecret(_combine(secret, kem_secret), associated_data)
    return shared, KeyExchange(header.identity_key, header.ephemeral_key, kem_ciphertext)


def respond(
    own_secrets: KeySecrets, own: Party, exchange: KeyExchange, them: Party
) -> SharedSecret:
    """Return the secret shared with the sender of an initial message; raise KeyAgreementFailed."""
    one_time = own_secrets.one_time_prekey
    header = x3dh.Header(
        identity_key=exchange.identity_key,
        ephemeral_key=exchange.ephemeral_key,
        signed_pre_key=xeddsa.priv_to_curve25519_pub(own_secrets.signed_prekey),
        pre_key=None if one_time is None else xeddsa.priv_to_curve25519_pub(one_time),
    )
    try:
        secret, associated_data, _ = run_sync(
            _state(own_secrets).get_shared_secret_passive(
                header, _parties(them, own), require_pre_key=False
            )
        )
        kem_secret = b""
        if own_secrets.kem_prekey is not None:
            kem_key = MLKEM1024PrivateKey.from_seed_bytes(own_secrets.kem_prekey)
            kem_secret = kem_key.decapsulate(exchange.kem_ciphertext)
    except _LIBRARY_ERRORS as error:
        raise KeyAgreementFailed(f"A first message was not made as it should be: {error}") from None
    return SharedSecret(_combine(secret, kem_secret), associated_data)


def sign(identity_seed: bytes, mark: bytes, content: bytes) -> bytes:
    """Return the identity key's Ed25519 signature over `mark ‖ content`, such as a public key."""
    return Ed25519PrivateKey.from_private_bytes(identity_seed).sign(mark + content)


_LIBRARY_ERRORS = (x3dh.KeyAgreementException, xeddsa.XEdDSAException, InvalidSignature, ValueError)


def _state(secrets: KeySecrets) -> _State:
    """Return the library's state with just the keys of one agreement."""
    one_time = secrets.one_time_prekey
    model = BaseStateModel(
        identity_key=IdentityKeyPairModel(
            secret=secrets.identity_seed, secret_type=SecretType.SEED
        ),
        signed_pre_key=SignedPreKeyPairModel(
            priv=secrets.signed_prekey, sig=bytes(64), timestamp=int(time.time())
        ),
        old_signed_pre_key=None,
        pre_keys=frozenset() if one_time is None else frozenset({one_time}),
    )
    return _State.from_model(
        model, x3dh.IdentityKeyFormat.ED_25519, x3dh.HashFunction.SHA_256, b"kith v1 x3dh"
    )


def _encapsulate(bundle: KeyBundle) -> tuple[bytes, bytes]:
    kem = bundle.kem_prekey
    if kem is None:
        return b"", b""
    try:
        identity = Ed25519PublicKey.from_public_bytes(bundle.identity_key)
        identity.verify(kem.signature, KEM_PREKEY_MARK + kem.public_key)
        return MLKEM1024PublicKey.from_public_bytes(kem.public_key).encapsulate()
    except (InvalidSignature, ValueError):
        raise KeyAgreementFailed("The KEM key of that device is not signed by it.") from None


def _combine(secret: bytes, kem_secret: bytes) -> bytes:
    info = b"kith v1 session x3dh mlkem1024" if kem_secret else b"kith v1 session x3dh"
    return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(secret + kem_secret)


def _parties(initiator: Party, responder: Party) -> bytes:
    return b"".join(
        UUID(party.account_id).bytes
        + UUID(party.device_id).bytes
        + party.registration_id.to_bytes(4, "big")
        for party in (initiator, responder)
    )
