"""Keys that went over the service begin the session that they were made for."""

import asyncio
import json
from pathlib import Path

import x3dh
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PublicKey
from nacl.public import PrivateKey
from nacl.signing import SigningKey, VerifyKey
from x3dh import Bundle, HashFunction, Header, IdentityKeyFormat

from core.base64url import decode, encode
from tests.device_keys import KEM_KEY_SIZE, DeviceKeys


class State(x3dh.BaseState):
    """X3DH as docs/messaging.md has it: what is signed begins with 0x01."""

    @staticmethod
    def _encode_public_key(key_format, pub):
        return (b"\x01" if key_format is IdentityKeyFormat.CURVE_25519 else b"\x00") + pub


def test_the_documented_vector_is_taken(client, ben, upload):
    """The vector's keys, signature and digest are those that the service accepts."""
    path = Path(__file__).parents[3] / "docs" / "vectors" / "keys.json"
    vector = json.loads(path.read_text())
    identity_key, public_key, signature, digest = (
        vector[name] for name in ("identity_key", "public_key", "signature", "digest")
    )
    assert vector["identity_seed"] == "01" * 32
    signer = SigningKey(bytes.fromhex(vector["identity_seed"]))
    assert decode(identity_key, 32) == bytes(signer.verify_key)
    private_key = PrivateKey(bytes.fromhex(vector["signed_prekey_private"]))
    assert decode(public_key, 32) == bytes(private_key.public_key)
    signed = {"key_id": vector["key_id"], "public_key": public_key, "signature": signature}
    body = {"registration_id": 1, "identity_key": identity_key, "signed_prekey": signed}
    assert upload(ben, body).status_code == 204
    answer = client.post("/v1/keys/check", json={"digest": digest}, headers=ben.headers)
    assert answer.status_code == 204


def state():
    """Make the keys of one device."""
    return State.create(IdentityKeyFormat.ED_25519, HashFunction.SHA_256, b"Kith")


def test_x3dh_agrees_over_a_bundle_that_was_taken(ben, upload, take):
    """Both sides reach one secret, and the library accepts the signature that the service did."""
    bens, annas = state(), state()
    bens.generate_pre_keys(3)
    made = bens.bundle
    ids = dict(enumerate(sorted(made.pre_keys)))
    body = {
        "registration_id": 1,
        "identity_key": encode(made.identity_key),
        "signed_prekey": {
            "key_id": 0,
            "public_key": encode(made.signed_pre_key),
            "signature": encode(made.signed_pre_key_sig),
        },
        "one_time_prekeys": [
            {"key_id": key_id, "public_key": encode(key)} for key_id, key in ids.items()
        ],
    }
    assert upload(ben, body).status_code == 204

    (taken,) = take(ben).json["devices"]
    bundle = Bundle(
        decode(taken["identity_key"], 32),
        decode(taken["signed_prekey"]["public_key"], 32),
        decode(taken["signed_prekey"]["signature"], 64),
        frozenset({decode(taken["one_time_prekey"]["public_key"], 32)}),
    )

    async def agree():
        ours, data, header = await annas.get_shared_secret_active(bundle)
        # On the wire the one-time key is its id.
        header = Header(
            header.identity_key,
            header.ephemeral_key,
            header.signed_pre_key,
            ids[taken["one_time_prekey"]["key_id"]],
        )
        theirs, their_data, _ = await bens.get_shared_secret_passive(header)
        return (ours, data), (theirs, their_data)

    active, passive = asyncio.run(agree())
    assert active == passive
    assert len(active[0]) == 32


def test_a_kem_key_that_was_taken_encapsulates(ben, upload, take):
    """For the one-time key and for the last resort, whose ids find the secret keys."""
    keys = DeviceKeys()
    upload(ben, keys.first(0, 1))
    for _ in range(2):
        (taken,) = take(ben).json["devices"]
        kem = taken["kem_prekey"]
        public_key = decode(kem["public_key"], KEM_KEY_SIZE)
        VerifyKey(decode(taken["identity_key"], 32)).verify(
            b"\x02" + public_key, decode(kem["signature"], 64)
        )
        secret, ciphertext = MLKEM1024PublicKey.from_public_bytes(public_key).encapsulate()
        assert keys.kem_secrets[kem["key_id"]].decapsulate(ciphertext) == secret
