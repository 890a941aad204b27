"""FCM against a local service: the access token, what is sent, and what each answer means."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from messaging.push.fcm import SCOPE, FcmProvider
from messaging.push.provider import PushTarget, SubscriptionGone, WakeupFailed
from messaging.push.settings import ServiceAccount
from tests.conftest import Clock
from tests.contract.fake_fcm import SEND, FakeFcm
from tests.contract.fake_http import Answer

KEY = rsa.generate_private_key(65_537, 2048)
TARGET = PushTarget(uuid4(), uuid4(), "registration:token")
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


@pytest.fixture
def fcm() -> Iterator[FakeFcm]:
    """Run it."""
    with FakeFcm() as fake:
        yield fake


@pytest.fixture
def account(fcm: FakeFcm) -> ServiceAccount:
    """A service account whose token endpoint is here."""
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return ServiceAccount(
        project_id="kith-test",
        client_email="push@kith-test.example",
        private_key=pem,
        token_uri=f"{fcm.url}/token",
    )


@pytest.fixture
def provider(
    fcm: FakeFcm, account: ServiceAccount, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> FcmProvider:
    """Build the provider, past whatever proxy the environment names."""
    monkeypatch.setenv("NO_PROXY", "*")
    return FcmProvider(fcm.url, account, clock)


def error(status: int, *details: dict[str, Any], **headers: str) -> Answer:
    """Answer as Google's APIs refuse."""
    body = {"error": {"code": status, "message": "no", "details": list(details)}}
    return Answer(status, json.dumps(body).encode(), headers)


def test_a_message_has_no_content(
    fcm: FakeFcm, provider: FcmProvider, account: ServiceAccount, clock: Clock
) -> None:
    """Data that says that something waits, under the token that the assertion was good for."""
    provider.wake(TARGET)

    asked, sent = fcm.received
    form = asked.form
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    claims = jwt.decode(
        form["assertion"][0],
        KEY.public_key(),
        ["RS256"],
        audience=account.token_uri,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert (claims["iss"], claims["scope"]) == (account.client_email, SCOPE)
    assert claims["exp"] - claims["iat"] == 3600
    assert (sent.path, sent.headers["Authorization"]) == (SEND, "Bearer ya29.1")
    assert sent.document == {
        "message": {
            "token": "registration:token",
            "data": {"type": "messages.waiting"},
            "android": {"priority": "high", "collapse_key": "messages", "ttl": "86400s"},
        }
    }


def test_the_access_token_is_used_until_shortly_before_its_end(
    fcm: FakeFcm, provider: FcmProvider, clock: Clock
) -> None:
    """Not asked for with each message."""
    provider.wake(TARGET)
    clock.advance(3599 - 301)
    provider.wake(TARGET)
    assert len(fcm.at("/token")) == 1
    clock.advance(1)
    provider.wake(TARGET)
    assert len(fcm.at("/token")) == 2


def test_an_access_token_that_is_refused_is_not_used_again(
    fcm: FakeFcm, provider: FcmProvider
) -> None:
    """It was revoked; the wake-up is tried again with another."""
    provider.wake(TARGET)
    fcm.next(error(401))
    with pytest.raises(WakeupFailed, match="unavailable"):
        provider.wake(TARGET)
    provider.wake(TARGET)
    assert len(fcm.at("/token")) == 2


@pytest.mark.parametrize(
    "answer",
    [
        error(404, {"@type": FCM_ERROR, "errorCode": "UNREGISTERED"}),
        error(403, {"@type": FCM_ERROR, "errorCode": "SENDER_ID_MISMATCH"}),
        error(
            400,
            {"@type": FCM_ERROR, "errorCode": "INVALID_ARGUMENT"},
            {"@type": BAD_REQUEST, "fieldViolations": [{"field": "message.token"}]},
        ),
    ],
)
def test_addresses_that_are_gone(fcm: FakeFcm, provider: FcmProvider, answer: Answer) -> None:
    """By Google's word; a token that cannot be read is one of them."""
    provider.wake(TARGET)
    fcm.next(answer)
    with pytest.raises(SubscriptionGone):
        provider.wake(TARGET)


@pytest.mark.parametrize(
    ("answer", "outcome", "retry_after"),
    [
        (error(429, {"errorCode": "QUOTA_EXCEEDED"}, **{"Retry-After": "60"}), "unavailable", 60),
        (error(503, {"errorCode": "UNAVAILABLE"}), "unavailable", None),
        (error(403, {"errorCode": "THIRD_PARTY_AUTH_ERROR"}), "refused", None),
        (
            error(400, {"errorCode": "INVALID_ARGUMENT"}, {"fieldViolations": [{"field": "x"}]}),
            "refused",
            None,
        ),
        (error(404), "refused", None),
        (Answer(400, b'{"error": {"details": ["x", {"fieldViolations": "y"}]}}'), "refused", None),
        (Answer(400, b'["no object"]'), "refused", None),
        (Answer(drop=True), "unknown", None),
    ],
)
def test_what_fails_may_work_later(
    fcm: FakeFcm, provider: FcmProvider, answer: Answer, outcome: str, retry_after: int | None
) -> None:
    """A project that is not found says nothing about the device."""
    provider.wake(TARGET)
    fcm.next(answer)
    with pytest.raises(WakeupFailed) as failed:
        provider.wake(TARGET)
    assert (failed.value.outcome, failed.value.retry_after) == (outcome, retry_after)
    provider.wake(TARGET)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(400, b'{"error": "invalid_grant"}'), "refused"),
        (Answer(503), "unavailable"),
        (Answer(200, b"{}"), "unknown"),
        (Answer(200, b"no JSON"), "unknown"),
    ],
)
def test_without_an_access_token_nothing_is_sent(
    fcm: FakeFcm, provider: FcmProvider, answer: Answer, outcome: str
) -> None:
    """And it is asked for again the next time."""
    fcm.next(answer)
    with pytest.raises(WakeupFailed, match=outcome):
        provider.wake(TARGET)
    assert fcm.at(SEND) == []
    provider.wake(TARGET)
    assert len(fcm.at(SEND)) == 1
