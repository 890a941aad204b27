"""The test vector of docs/messaging.md is what the client makes, and can be read by the text alone."""

import hashlib
import hmac
import json
import re
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.unit.kith.messaging_vectors import vector

PAGE = Path(__file__).parents[3] / "docs" / "messaging.md"
FIELD = 2**255 - 19
DRAWN = {"session_secret", "associated_data", "envelope"}


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """Return the vector that the page shows."""
    section = PAGE.read_text().split("### Test vector")[1]
    found = re.search(r"```json\n(.*?)```", section, re.DOTALL)
    assert found
    vector: dict[str, Any] = json.loads(found[1])
    return vector


def test_it_is_what_the_client_makes(written: dict[str, Any]) -> None:
    """Everything that is not drawn at random is as the page says."""
    made = vector()

    assert made.keys() == written.keys()
    for name in made.keys() - DRAWN:
        assert made[name] == written[name]
    assert {name: len(made[name]) for name in DRAWN} == {name: len(written[name]) for name in DRAWN}
    assert made["associated_data"] == written["associated_data"]


def test_it_can_be_read_by_the_text_alone(written: dict[str, Any]) -> None:
    """Another implementation, of what the page says and of nothing else, decrypts it."""
    signed, one_time, kem = (
        written[name] for name in ("signed_prekey", "one_time_prekey", "kem_prekey")
    )
    envelope = bytes.fromhex(written["envelope"])
    assert envelope[:2] == b"\x01\x01"
    sender, recipient, identity, ephemeral, *key_ids = struct.unpack_from(
        ">II32s32sIII", envelope, 2
    )
    assert [sender, recipient, *key_ids] == [1001, 2002, 7, 8, 9]
    assert identity.hex() == written["anna"]["identity_key"]
    ciphertext, message = envelope[86 : 86 + 1568], envelope[86 + 1568 :]
    header, sealed = message[:40], message[40:]

    kem_key = MLKEM1024PrivateKey.from_seed_bytes(bytes.fromhex(kem["seed"]))
    kem_public = kem_key.public_key().public_bytes_raw()
    bens = Ed25519PublicKey.from_public_bytes(bytes.fromhex(written["ben"]["identity_key"]))
    bens.verify(bytes.fromhex(signed["signature"]), b"\x01" + bytes.fromhex(signed["public_key"]))
    bens.verify(bytes.fromhex(kem["signature"]), b"\x02" + kem_public)
    assert hashlib.sha256(kem_public).hexdigest() == kem["public_key_sha256"]

    identity_private = hashlib.sha512(bytes.fromhex(written["ben"]["identity_seed"])).digest()[:32]
    signed_private = bytes.fromhex(signed["private_key"])
    agreed = b"".join(
        (
            _x25519(signed_private, _montgomery(identity)),
            _x25519(identity_private, ephemeral),
            _x25519(signed_private, ephemeral),
            _x25519(bytes.fromhex(one_time["private_key"]), ephemeral),
        )
    )
    first = _hkdf(bytes(32), b"\xff" * 32 + agreed, b"kith v1 x3dh", 32)
    shared = kem_key.decapsulate(ciphertext)
    secret = _hkdf(bytes(32), first + shared, b"kith v1 session x3dh mlkem1024", 32)
    assert secret.hex() == written["session_secret"]

    chains = _hkdf(secret, _x25519(signed_private, header[:32]), b"kith v1 root chain", 64)
    assert header[32:] == bytes(8)
    message_key = hmac.digest(chains[32:], b"\x01", "sha256")
    material = _hkdf(bytes(32), message_key, b"kith v1 message", 44)
    bound = bytes.fromhex(written["associated_data"]) + header
    payload = AESGCM(material[:32]).decrypt(material[32:], sealed, bound)
    assert payload.hex() == written["payload"]
    assert len(payload) == 160
    assert msgspec.msgpack.decode(payload.rstrip(b"\0")[:-1]) == {
        "type": "text",
        "id": bytes(range(16)),
        "text": "See you at eight",
        "sent_at": 1_795_514_400_000,
        "group": None,
    }


def test_its_associated_data_is_what_the_text_says(written: dict[str, Any]) -> None:
    """Both identity keys, then who is who."""
    parts = [part for name in ("anna", "ben") for part in ("00", written[name]["identity_key"])]
    for name in ("anna", "ben"):
        party = written[name]
        parts += [party["account_id"], party["device_id"], f"{party['registration_id']:08x}"]

    assert "".join(parts).replace("-", "") == written["associated_data"]


def test_its_digests_are_what_the_text_says(written: dict[str, Any]) -> None:
    """Of the keys that the service should hand out, the KEM key as last resort; of two devices."""
    kem_key = MLKEM1024PrivateKey.from_seed_bytes(bytes.fromhex(written["kem_prekey"]["seed"]))
    keys = (
        written["ben"]["identity_key"]
        + f"{7:08x}"
        + written["signed_prekey"]["public_key"]
        + f"{9:08x}"
        + kem_key.public_key().public_bytes_raw().hex()
    )
    devices = "".join(
        written[name]["device_id"].replace("-", "") + f"{written[name]['registration_id']:08x}"
        for name in ("anna", "ben")
    )

    assert hashlib.sha256(bytes.fromhex(keys)).hexdigest() == written["keys_digest"]
    assert hashlib.sha256(bytes.fromhex(devices)).hexdigest() == written["devices_digest"]


def test_its_safety_number_is_what_the_text_says(written: dict[str, Any]) -> None:
    """Two halves of thirty digits, the smaller one first."""
    halves = []
    for name in ("anna", "ben"):
        key = bytes.fromhex(written[name]["identity_key"])
        digest = bytes(2) + key + bytes.fromhex(written[name]["account_id"].replace("-", ""))
        for _ in range(5_200):
            digest = hashlib.sha512(digest + key).digest()
        halves.append(
            "".join(
                f"{int.from_bytes(digest[n : n + 5], 'big') % 100_000:05}" for n in range(0, 30, 5)
            )
        )

    assert "".join(sorted(halves)) == written["safety_number"].replace(" ", "")


def _x25519(private_key: bytes, public_key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private_key).exchange(
        X25519PublicKey.from_public_bytes(public_key)
    )


def _montgomery(ed25519_key: bytes) -> bytes:
    """Return the X25519 form of an Ed25519 public key (RFC 7748, section 4.1)."""
    y = int.from_bytes(ed25519_key, "little") & (2**255 - 1)
    u = (1 + y) * pow(1 - y, -1, FIELD) % FIELD
    return u.to_bytes(32, "little")


def _hkdf(salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt=salt, info=info).derive(material)
