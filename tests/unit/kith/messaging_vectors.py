"""Make the test vectors of docs/messaging.md: `python -m tests.unit.kith.messaging_vectors [conversation]`.

Private keys, ids and the texts are fixed; what a sender draws at random is new each time.
"""

import hashlib
import json
import sys
from typing import Any, cast
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from kith.api.keys import KeyBundle, Prekey, SignedPrekey, keys_digest
from kith.messaging import formats, key_agreement
from kith.messaging.accounts import safety_number
from kith.messaging.formats import InitialMessage, Text
from kith.messaging.key_agreement import (
    KEM_PREKEY_MARK,
    PREKEY_MARK,
    Party,
    sign,
)
from kith.messaging.ratchet import Ratchet

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
    keys = KeyBundle(
        BEN.device_id,
        BEN.registration_id,
        _identity(ben_seed),
        SignedPrekey(7, _x25519(signed), sign(ben_seed, PREKEY_MARK, _x25519(signed))),
        Prekey(8, _x25519(one_time)),
        SignedPrekey(9, kem_public, sign(ben_seed, KEM_PREKEY_MARK, kem_public)),
    )
    shared, exchange = key_agreement.initiate(anna_seed, ANNA, keys, BEN)
    payload = formats.encode_payload(TEXT)
    _, message = Ratchet.initiate(shared.secret, _x25519(signed), payload, shared.associated_data)
    first = InitialMessage(ANNA.registration_id, BEN.registration_id, exchange, 7, 8, 9, message)
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
            "public_key": _x25519(one_time),
        },
        "kem_prekey": {
            "key_id": 9,
            "seed": kem_seed,
            "public_key_sha256": hashlib.sha256(kem_public).digest(),
            "signature": keys.kem_prekey.signature,
        },
        "keys_digest": keys_digest(keys.identity_key, keys.signed_prekey, keys.kem_prekey),
        "devices_digest": _devices_digest(ANNA, BEN),
        "session_secret": shared.secret,
        "associated_data": shared.associated_data,
        "payload": payload,
        "envelope": formats.encode_envelope(first),
        "safety_number": safety_number(
            ANNA.account_id, [_identity(anna_seed)], BEN.account_id, [keys.identity_key]
        ),
    }
    return {name: _hex(value) for name, value in written.items()}


def conversation() -> dict[str, Any]:
    """Return messages in both directions after the first one, lost order included; binary in hex.

    Each message names what reads it: the keys of the session, and the ratchet key that was drawn for it.
    """
    anna_seed, ben_seed = secret("anna identity"), secret("ben identity")
    signed = secret("ben signed prekey")
    bundle = KeyBundle(
        BEN.device_id,
        BEN.registration_id,
        _identity(ben_seed),
        SignedPrekey(7, _x25519(signed), sign(ben_seed, PREKEY_MARK, _x25519(signed))),
    )
    shared, exchange = key_agreement.initiate(anna_seed, ANNA, bundle, BEN)
    bound = shared.associated_data
    texts = [
        Text(bytes([n] * 16), words, 1_795_514_400_000 + n)
        for n, words in enumerate(("One", "Two", "Three", "Four", "Five", "Six"), 1)
    ]
    plain = [formats.encode_payload(text) for text in texts]
    first = InitialMessage(ANNA.registration_id, BEN.registration_id, exchange, 7, None, None, b"")
    prefix = formats.encode_envelope(first)
    later = formats.encode_envelope(formats.SessionMessage(b""))

    anna, one = Ratchet.initiate(shared.secret, _x25519(signed), plain[0], bound)
    two, three = (anna.encrypt(payload, bound) for payload in plain[1:3])
    drawn = {"anna_first": _ratchet_key(anna)}
    # Ben has the third before the others.
    ben, _ = Ratchet.respond(shared.secret, signed, three, bound)
    for message in (one, two):
        ben.decrypt(message, bound)
    four = ben.encrypt(plain[3], bound)
    drawn["ben_reply"] = _ratchet_key(ben)
    anna.decrypt(four, bound)
    five, six = anna.encrypt(plain[4], bound), anna.encrypt(plain[5], bound)
    drawn["anna_after_reply"] = _ratchet_key(anna)
    ben.decrypt(six, bound)
    ben.decrypt(five, bound)

    messages = [
        ("anna", prefix + one, plain[0]),
        ("anna", prefix + two, plain[1]),
        ("anna", prefix + three, plain[2]),
        ("ben", later + four, plain[3]),
        ("anna", later + five, plain[4]),
        ("anna", later + six, plain[5]),
    ]
    written = {
        "about": "A session begun without a one-time key and without a KEM key; keys as in messaging.md.",
        "session_secret": shared.secret,
        "associated_data": bound,
        "ratchet_private_keys": drawn,
        "messages": [
            {"from": who, "envelope": envelope, "payload": payload}
            for who, envelope, payload in messages
        ],
        "orders_in_which_all_can_be_read": [[0, 1, 2, 3, 4, 5], [2, 0, 1, 3, 5, 4]],
    }
    return cast(dict[str, Any], _hex(written))


def _ratchet_key(ratchet: Ratchet) -> bytes:
    state = json.loads(ratchet.state())
    return str(state["diffie_hellman_ratchet"]["own_ratchet_priv"]).encode("latin-1")


def _devices_digest(*devices: Party) -> bytes:
    return hashlib.sha256(
        b"".join(
            UUID(one.device_id).bytes + one.registration_id.to_bytes(4, "big") for one in devices
        )
    ).digest()


def _hex(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _hex(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hex(inner) for inner in value]
    return value.hex() if isinstance(value, bytes) else value


def _x25519(private_key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def _identity(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


if __name__ == "__main__":
    make = conversation if sys.argv[1:] == ["conversation"] else vector
    print(json.dumps(make(), indent=2))  # noqa: T201  # what it is for
