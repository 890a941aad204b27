"""The test vector of docs/messaging.md is what the client makes, and can be read by the text alone."""

import hashlib
import hmac
import json
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

VECTORS = Path(__file__).parents[3] / "docs" / "vectors"
FIELD = 2**255 - 19
DRAWN = {"session_secret", "associated_data", "envelope"}


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """Return the vector of a first message."""
    vector: dict[str, Any] = json.loads((VECTORS / "first_message.json").read_text())
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
    shared = b"".join(
        (
            _x25519(signed_private, _montgomery(identity)),
            _x25519(identity_private, ephemeral),
            _x25519(signed_private, ephemeral),
            _x25519(bytes.fromhex(one_time["private_key"]), ephemeral),
        )
    )
    first = _hkdf(bytes(32), b"\xff" * 32 + shared, b"kith v1 x3dh", 32)
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


class Reader:
    """A Double Ratchet written from the page: reads what the other end writes, in any order."""

    def __init__(self, secret: bytes, bound: bytes, own_keys: list[bytes]) -> None:
        """Take the private ratchet keys of this end, in the order of their use."""
        self.root, self.bound, self.own_keys = secret, bound, own_keys
        self.their_key, self.chain, self.number = b"", b"", 0
        self.skipped: dict[tuple[bytes, int], bytes] = {}

    def read(self, message: bytes) -> bytes:
        """Return the payload of a message."""
        header, sealed = message[:40], message[40:]
        key, (previous, number) = header[:32], struct.unpack(">II", header[32:])
        if (key, number) in self.skipped:
            return self._open(self.skipped.pop((key, number)), header, sealed)
        if key != self.their_key:
            self._skip(previous)
            if self.their_key:
                # The step with which this end wrote since, under a key that it drew for that.
                self.own_keys.pop(0)
                self._step(self.their_key, self.own_keys[0], keep_newest=False)
            self._step(key, self.own_keys[0], keep_newest=True)
        self._skip(number)
        return self._open(self._next(), header, sealed)

    def _step(self, their_key: bytes, own_key: bytes, *, keep_newest: bool) -> None:
        made = _hkdf(self.root, _x25519(own_key, their_key), b"kith v1 root chain", 64)
        self.root = made[:32]
        if keep_newest:
            self.their_key, self.chain, self.number = their_key, made[32:], 0

    def _skip(self, until: int) -> None:
        while self.chain and self.number < until:
            number = self.number
            self.skipped[self.their_key, number] = self._next()

    def _next(self) -> bytes:
        message_key = hmac.digest(self.chain, b"\x01", "sha256")
        self.chain, self.number = hmac.digest(self.chain, b"\x02", "sha256"), self.number + 1
        return message_key

    def _open(self, message_key: bytes, header: bytes, sealed: bytes) -> bytes:
        material = _hkdf(bytes(32), message_key, b"kith v1 message", 44)
        return AESGCM(material[:32]).decrypt(material[32:], sealed, self.bound + header)


@pytest.mark.parametrize("which", [0, 1])
def test_a_conversation_can_be_read_by_the_text_alone(written: dict[str, Any], which: int) -> None:
    """Both ends, in each order that the vector names; a session without KEM and one-time key."""
    spoken = json.loads((VECTORS / "conversation.json").read_text())
    signed = bytes.fromhex(written["signed_prekey"]["private_key"])
    identity = bytes.fromhex(written["anna"]["identity_key"])
    bens = hashlib.sha512(bytes.fromhex(written["ben"]["identity_seed"])).digest()[:32]
    first = bytes.fromhex(spoken["messages"][0]["envelope"])
    ephemeral, key_ids = first[42:74], struct.unpack(">III", first[74:86])
    assert key_ids == (7, 2**32 - 1, 2**32 - 1)
    shared = b"".join(
        (
            _x25519(signed, _montgomery(identity)),
            _x25519(bens, ephemeral),
            _x25519(signed, ephemeral),
        )
    )
    x3dh = _hkdf(bytes(32), b"\xff" * 32 + shared, b"kith v1 x3dh", 32)
    secret = _hkdf(bytes(32), x3dh, b"kith v1 session x3dh", 32)
    assert secret.hex() == spoken["session_secret"]
    assert spoken["associated_data"] == written["associated_data"]

    drawn = {name: bytes.fromhex(value) for name, value in spoken["ratchet_private_keys"].items()}
    bound = bytes.fromhex(spoken["associated_data"])
    ben = Reader(secret, bound, [signed, drawn["ben_reply"]])
    for place in spoken["orders_in_which_all_can_be_read"][which]:
        message = spoken["messages"][place]
        if message["from"] == "anna":
            envelope = bytes.fromhex(message["envelope"])
            header = {b"\x01\x01": 86, b"\x01\x02": 2}[envelope[:2]]
            assert ben.read(envelope[header:]).hex() == message["payload"]
    # Anna wrote first: her end begins with the step that made her sending chain.
    anna = Reader(secret, bound, [drawn["anna_first"]])
    anna._step(_x25519_public(signed), drawn["anna_first"], keep_newest=False)
    (reply,) = (one for one in spoken["messages"] if one["from"] == "ben")
    assert anna.read(bytes.fromhex(reply["envelope"])[2:]).hex() == reply["payload"]


def _x25519_public(private_key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()
