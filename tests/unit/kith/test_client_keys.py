"""Keys cross the wire as the API writes them, and come back as bytes."""

import hashlib

import pytest

from kith import (
    FetchedKeys,
    Kith,
    KithAnswerUnreadable,
    KithProblem,
    Prekey,
    SignedPrekey,
    keys_digest,
)
from tests.unit.kith.canned import Script, ok, problem

PUT = "PUT /v1/keys"
SIGNED = SignedPrekey(7, b"\xfb\xff", b"\x01")
BUNDLE = {
    "device_id": "d1",
    "registration_id": 5,
    "identity_key": "AQ",
    "signed_prekey": {"key_id": 7, "public_key": "-_8", "signature": "AQ"},
    "one_time_prekey": {"key_id": 8, "public_key": "Ag"},
    "kem_prekey": None,
}


def test_every_part_of_an_upload_is_written(client: Kith, script: Script) -> None:
    """Binary is base64url without padding, and lists keep their order."""
    script.on(PUT, ok())

    client.upload_keys(
        registration_id=5,
        identity_key=b"\x01",
        signed_prekey=SIGNED,
        last_resort_kem_prekey=SIGNED,
        one_time_prekeys=[Prekey(8, b"\x02"), Prekey(3, b"\x03")],
        one_time_kem_prekeys=[SIGNED],
    )

    signed = BUNDLE["signed_prekey"]
    assert script.bodies(PUT) == [
        {
            "registration_id": 5,
            "identity_key": "AQ",
            "signed_prekey": signed,
            "last_resort_kem_prekey": signed,
            "one_time_prekeys": [
                {"key_id": 8, "public_key": "Ag"},
                {"key_id": 3, "public_key": "Aw"},
            ],
            "one_time_kem_prekeys": [signed],
        }
    ]


def test_an_upload_has_only_what_was_given(client: Kith, script: Script) -> None:
    """What is left out stays as it is on the server."""
    script.on(PUT, ok())

    client.upload_keys(one_time_prekeys=[Prekey(0, b"\x02")])

    assert script.bodies(PUT) == [{"one_time_prekeys": [{"key_id": 0, "public_key": "Ag"}]}]


def test_taken_keys_are_typed(client: Kith, script: Script) -> None:
    """A bundle is bytes and numbers; of one device it is asked for by the query."""
    script.on("GET /v1/keys/a1", ok({"devices": [BUNDLE], "without_keys": ["d2"]}))

    taken = client.fetch_keys("a1")
    client.fetch_keys("a1", device_id="d1")

    assert isinstance(taken, FetchedKeys)
    (bundle,) = taken.devices
    assert (bundle.device_id, bundle.registration_id, bundle.identity_key) == ("d1", 5, b"\x01")
    assert bundle.signed_prekey == SIGNED
    assert bundle.one_time_prekey == Prekey(8, b"\x02")
    assert bundle.kem_prekey is None
    assert taken.without_keys == ("d2",)
    assert [str(request.url.query, "ascii") for request in script.requests] == ["", "device_id=d1"]


def test_a_bundle_without_a_signed_prekey_is_unreadable(client: Kith, script: Script) -> None:
    """A server cannot leave out what a session needs."""
    script.on(
        "GET /v1/keys/a1", ok({"devices": [{**BUNDLE, "signed_prekey": None}], "without_keys": []})
    )

    with pytest.raises(KithAnswerUnreadable, match="signed_prekey"):
        client.fetch_keys("a1")


def test_keys_are_counted(client: Kith, script: Script) -> None:
    """Both kinds are told."""
    script.on("GET /v1/keys/count", ok({"one_time_prekeys": 3, "one_time_kem_prekeys": 0}))

    counts = client.count_keys()

    assert (counts.one_time_prekeys, counts.one_time_kem_prekeys) == (3, 0)


def test_a_digest_is_compared(client: Kith, script: Script) -> None:
    """The same keys are True, others False, and any other refusal is raised."""
    script.on(
        "POST /v1/keys/check", ok(), problem("keys-differ", 409), problem("token-invalid", 401)
    )

    assert client.keys_are_as_published(b"\xfb\xff")
    assert not client.keys_are_as_published(b"\xfb\xff")
    with pytest.raises(KithProblem, match="token-invalid"):
        client.keys_are_as_published(b"\xfb\xff")
    assert script.bodies("POST /v1/keys/check")[0] == {"digest": "-_8"}


def test_the_digest_is_over_what_is_handed_out() -> None:
    """Key ids are written in four bytes, big endian; the last resort is at the end, if there is one."""
    shorter = b"I" * 32 + b"\0\0\0\x07" + b"\xfb\xff"

    assert keys_digest(b"I" * 32, SIGNED, None) == hashlib.sha256(shorter).digest()
    assert (
        keys_digest(b"I" * 32, SIGNED, SignedPrekey(2**31 - 1, b"L", b"S"))
        == hashlib.sha256(shorter + b"\x7f\xff\xff\xffL").digest()
    )
