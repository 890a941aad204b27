"""Make the test vector of docs/messaging.md: `python -m tests.unit.kith.messaging_vectors`.

Private keys, ids and the text are fixed; what a sender draws at random is new each time.
"""

import hashlib
import json
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from kith.key_models import SignedPrekey, keys_digest
from kith.messaging import agreement, envelopes, payloads
from kith.messaging.agreement import (
    KEM_PREKEY_MARK,
    PREKEY_MARK,
    Party,
    SignedKey,
    TheirKeys,
    signature,
)
from kith.messaging.envelopes import First
from kith.messaging.payloads import Text
from kith.messaging.ratchet import Ratchet
from kith.messaging.safety import safety_number

ANNA = Party("0a0a0a0a-0a0a-4a0a-8a0a-0a0a0a0a0a0a", "0a0a0a0a-0a0a-4a0a-8a0a-0a0a0a0a0a01", 1001)
BEN = Party("0b0b0b0b-0b0b-4b0b-8b0b-0b0b0b0b0b0b", "0b0b0b0b-0b0b-4b0b-8b0b-0b0b0b0b0b01", 2002)
TEXT = Text(bytes(range(16)), "See you at eight", 1_795_514_400_000)


def secret(name: str, size: int = 32) -> bytes:
    """Return a private key that is not private."""
    return hashlib.shake_256(f"kith v1 test vector: {name}".encode()).digest(size)


def vector() -> dict[str, Any]:
    """Return Anna's first message to Ben, and everything that it comes from; binary in hex."""
    anna_seed, ben_seed = secret("anna identity"), secret("ben identity")
    signed, one_time = secret("ben signed prekey"), secret("ben one-time prekey")
    kem_seed = secret("ben kem prekey", 64)
    kem_public = MLKEM1024PrivateKey.from_seed_bytes(kem_seed).public_key().public_bytes_raw()
    keys = TheirKeys(
        _identity(ben_seed),
        SignedKey(_x25519(signed), signature(ben_seed, PREKEY_MARK, _x25519(signed))),
        _x25519(one_time),
        SignedKey(kem_public, signature(ben_seed, KEM_PREKEY_MARK, kem_public)),
    )
    agreed, opening = agreement.begin(anna_seed, ANNA, keys, BEN)
    payload = payloads.write(TEXT)
    _, message = Ratchet.begin(agreed.secret, _x25519(signed), payload, agreed.associated_data)
    first = First(ANNA.registration_id, BEN.registration_id, opening, 7, 8, 9, message)
    assert keys.kem_prekey is not None
    written = {
        "anna": {
            **ANNA._asdict(),
            "identity_seed": anna_seed,
            "identity_key": _identity(anna_seed),
        },
        "ben": {**BEN._asdict(), "identity_seed": ben_seed, "identity_key": keys.identity_key},
        "signed_prekey": {
            "key_id": 7,
            "private_key": signed,
            "public_key": keys.signed_prekey.public_key,
            "signature": keys.signed_prekey.signature,
        },
        "one_time_prekey": {
            "key_id": 8,
            "private_key": one_time,
            "public_key": keys.one_time_prekey,
        },
        "kem_prekey": {
            "key_id": 9,
            "seed": kem_seed,
            "public_key_sha256": hashlib.sha256(kem_public).digest(),
            "signature": keys.kem_prekey.signature,
        },
        "keys_digest": keys_digest(
            keys.identity_key,
            SignedPrekey(7, *keys.signed_prekey),
            SignedPrekey(9, *keys.kem_prekey),
        ),
        "devices_digest": _devices_digest(ANNA, BEN),
        "session_secret": agreed.secret,
        "associated_data": agreed.associated_data,
        "payload": payload,
        "envelope": envelopes.write(first),
        "safety_number": safety_number(
            ANNA.account_id, [_identity(anna_seed)], BEN.account_id, [keys.identity_key]
        ),
    }
    return {name: _hex(value) for name, value in written.items()}


def _devices_digest(*devices: Party) -> bytes:
    return hashlib.sha256(
        b"".join(
            UUID(one.device_id).bytes + one.registration_id.to_bytes(4, "big") for one in devices
        )
    ).digest()


def _hex(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _hex(inner) for name, inner in value.items()}
    return value.hex() if isinstance(value, bytes) else value


def _x25519(private_key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def _identity(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


if __name__ == "__main__":
    print(json.dumps(vector(), indent=2))  # noqa: T201  # what it is for
