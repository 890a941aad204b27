"""Signatures are those of Standard Webhooks, and nothing else passes for one."""

import base64
from datetime import UTC, datetime

import pytest
from werkzeug.datastructures import Headers

from core.standard_webhooks import WebhookSecrets

#: The vector that the reference libraries are tested with (TestWebhookSign of the one for Go).
ID, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
MOMENT = datetime.fromtimestamp(1614265330, UTC)
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
OTHER_KEY = b"o" * 24
SECRETS = WebhookSecrets((KEY,))


def fields(**changed: str) -> Headers:
    """Write the fields of the vector, some of them changed."""
    signed = {"id": ID, "timestamp": "1614265330", "signature": SIGNATURE} | changed
    return Headers({f"webhook-{name}": value for name, value in signed.items()})


def test_published_vector_is_signed_right() -> None:
    """Our signature of the published message is the published one."""
    assert Headers(SECRETS.sign(ID, MOMENT, BODY)) == fields()


def test_published_vector_is_verified() -> None:
    """The published signature proves the message, its moment and what tells it apart."""
    message = SECRETS.verify(fields(), BODY)

    assert message is not None
    assert message.signed_at == MOMENT
    assert len(message.digest) == 32


@pytest.mark.parametrize("keys", [(KEY,), (OTHER_KEY, KEY), (KEY, OTHER_KEY)])
def test_any_secret_and_any_signature_will_do(keys: tuple[bytes, ...]) -> None:
    """The secrets that are accepted and the signatures that came need one pair that fits."""
    others = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v1a,AAAA é"
    given = fields(signature=f"{others} {SIGNATURE} {others}")

    message = WebhookSecrets(keys).verify(given, BODY)

    assert message == SECRETS.verify(fields(), BODY)


def test_what_is_signed_with_both_is_verified_with_each() -> None:
    """While a secret is rotated, either side may be the one that has only one of them."""
    signed = Headers(WebhookSecrets((KEY, OTHER_KEY)).sign(ID, MOMENT, BODY))

    for key in (KEY, OTHER_KEY):
        assert WebhookSecrets((key,)).verify(signed, BODY) is not None
    assert WebhookSecrets((b"x" * 24,)).verify(signed, BODY) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "msg_p5jXN8AQM9LWM0D4loKWxJel"},
        {"id": ""},
        {"id": ID + ".1614265330"},
        {"id": "x" * 129},
        {"id": "é"},
        {"timestamp": "1614265331"},
        {"timestamp": "01614265330"},
        {"timestamp": " 1614265330"},
        {"timestamp": "1614265330.0"},
        {"timestamp": "١٦١٤٢٦٥٣٣٠"},
        {"timestamp": "-1"},
        {"timestamp": "9" * 5000},
        {"timestamp": ""},
        {"signature": ""},
        {"signature": SIGNATURE.removeprefix("v1,")},
        {"signature": SIGNATURE.replace("v1,", "v2,")},
        {"signature": SIGNATURE[:-1]},
        {"signature": SIGNATURE.lower()},
        {"signature": SIGNATURE + "," + SIGNATURE},
        {"signature": "é" * 47},
    ],
    ids=str,
)
def test_whatever_is_changed_is_not_proven(changed: dict[str, str]) -> None:
    """No field can be another, or be written in another way."""
    assert SECRETS.verify(fields(**changed), BODY) is None


def test_id_and_timestamp_cannot_be_cut_elsewhere() -> None:
    """What is signed is split in one way only: an id holds no full stop."""
    assert SECRETS.verify(fields(id=f"{ID}.1614265330", timestamp="1"), BODY) is None


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY.replace(b" ", b""), b"\xff"])
def test_another_body_is_not_proven(body: bytes) -> None:
    """The body is signed byte for byte."""
    assert SECRETS.verify(fields(), body) is None


@pytest.mark.parametrize("field", ["id", "timestamp", "signature"])
def test_a_missing_field_proves_nothing(field: str) -> None:
    """All three fields are needed."""
    given = fields()
    del given[f"webhook-{field}"]

    assert SECRETS.verify(given, BODY) is None


def test_without_a_secret_nothing_is_proven() -> None:
    """Where no secret is set, not even an empty one signs."""
    empty = Headers(WebhookSecrets((b"",)).sign(ID, MOMENT, BODY))

    assert WebhookSecrets(()).verify(empty, BODY) is None
    assert WebhookSecrets(()).verify(fields(signature=""), BODY) is None


def test_messages_are_told_apart() -> None:
    """Another id, moment or body is another message; another spelling of the fields is not."""
    signed = [
        SECRETS.sign(ID, MOMENT, BODY),
        SECRETS.sign(ID + "x", MOMENT, BODY),
        SECRETS.sign(ID, MOMENT.replace(second=0), BODY),
    ]
    digests = {SECRETS.verify(Headers(one), BODY).digest for one in signed}  # type: ignore[union-attr]
    assert len(digests) == 3
    again = SECRETS.verify(fields(signature=f"v1,AAAA  {SIGNATURE}"), BODY)
    assert again is not None
    assert again.digest in digests
