"""Signed JSON, by the test vectors of the specification's appendices."""

import base64
from typing import Any

import pytest
from nacl.signing import SigningKey, VerifyKey

from core.secrets import Keyring
from interop.matrix.problems import SigningKeyNotFound
from interop.matrix.signing import Signer, canonical_json, unpadded

#: Of the appendix "Cryptographic Test Vectors".
SEED = base64.b64decode("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1=")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "{}"),
        ({"one": 1, "two": "Two"}, '{"one":1,"two":"Two"}'),
        ({"b": "2", "a": "1"}, '{"a":"1","b":"2"}'),
        (
            {
                "auth": {
                    "success": True,
                    "mxid": "@john.doe:example.com",
                    "profile": {
                        "display_name": "John Doe",
                        "three_pids": [
                            {"medium": "email", "address": "john.doe@example.org"},
                            {"medium": "msisdn", "address": "123456789"},
                        ],
                    },
                }
            },
            '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe",'
            '"three_pids":[{"address":"john.doe@example.org","medium":"email"},'
            '{"address":"123456789","medium":"msisdn"}]},"success":true}}',
        ),
        ({"a": "日本語"}, '{"a":"日本語"}'),
        ({"本": 2, "日": 1}, '{"日":1,"本":2}'),
        ({"a": "\u65e5"}, '{"a":"日"}'),
        ({"a": None}, '{"a":null}'),
    ],
)
def test_canonical_json(value: Any, expected: str) -> None:
    """Each example of the appendix is written as it stands there."""
    assert canonical_json(value) == expected.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {},
            "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ",
        ),
        (
            {"one": 1, "two": "Two"},
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ],
)
def test_signatures_are_those_of_the_specification(value: dict[str, Any], expected: str) -> None:
    """With the key of the appendix, the signatures are the ones that it gives."""
    assert unpadded(SigningKey(SEED).sign(canonical_json(value)).signature) == expected


def test_an_object_is_signed_in_our_name() -> None:
    """The name is where clients reach us, port included, and the key is found by its id."""
    signer = Signer(Keyring((b"secret",)), "https://id.example.com:8443/kith")
    signed = signer.sign({"a": 1})
    signature = signed.pop("signatures")["id.example.com:8443"][signer.key_id]
    public = signer.public_key(signer.key_id)
    VerifyKey(base64.b64decode(public + "=")).verify(
        canonical_json(signed), base64.b64decode(signature + "==")
    )


def test_the_key_before_stays_valid_while_secrets_rotate() -> None:
    """What was signed under the previous secret is verified until that secret is gone."""
    before = Signer(Keyring((b"old",)), "https://id.example.com")
    during = Signer(Keyring((b"new", b"old")), "https://id.example.com")
    after = Signer(Keyring((b"new",)), "https://id.example.com")
    public = before.public_key(before.key_id)
    assert during.key_id == after.key_id != before.key_id
    assert during.public_key(before.key_id) == public
    assert during.is_valid(public)
    with pytest.raises(SigningKeyNotFound):
        after.public_key(before.key_id)
    assert not after.is_valid(public)
