"""The operator's endpoint: what is posted, under which signature, and what each answer means."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from flask_openapi3 import OpenAPI
from pydantic import SecretStr

from core.standard_webhooks import WebhookSecrets
from messaging.push.provider import PushTarget, WakeupFailed
from messaging.push.webhook import PushWebhookProvider
from tests.api.push.conftest import anna, ben, link, send, turn
from tests.conftest import Clock, MakeApp
from tests.contract.fake_http import Answer
from tests.contract.fake_push import FakeEndpoint
from tests.contract.fake_sender import OLD_SECRET, SECRET, is_signed

__all__ = ["anna", "ben", "link", "send", "turn"]


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    """Run it."""
    with FakeEndpoint() as fake:
        yield fake


@pytest.fixture
def app(make_app: MakeApp, endpoint: FakeEndpoint) -> OpenAPI:
    """An application that tells it."""
    return make_app(
        push=("webhook",),
        push_webhook_url=endpoint.url,
        push_webhook_secret=SECRET,
        push_webhook_secret_previous=OLD_SECRET,
    )


def test_it_is_told_of_each_device(endpoint, ben, link, send, turn) -> None:
    """None had to subscribe; nothing but two ids is told, and twice sent is once told."""
    other = link(ben)
    for _ in range(2):
        send(ben, ben, other, content=b"a secret")
        turn()

    told = sorted(endpoint.received, key=lambda request: request.document["device_id"])
    assert [request.document for request in told] == [
        {"type": "messages.waiting", "account_id": ben.account_id, "device_id": device_id}
        for device_id in sorted((ben.device_id, other.device_id))
    ]
    assert all(is_signed(request.headers, request.body, SECRET) for request in told)
    assert all(is_signed(request.headers, request.body, OLD_SECRET) for request in told)


def test_it_is_told_again_when_it_failed(endpoint, ben, send, turn, clock) -> None:
    """No endpoint of the operator's is ever gone for good."""
    endpoint.next(Answer(410), Answer(503, headers={"Retry-After": "300"}))
    send(ben)
    turn()
    clock.advance(60)
    turn()
    clock.advance(299)
    turn()
    assert len(endpoint.received) == 2
    clock.advance(1)
    turn()
    assert len(endpoint.received) == 3


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(401), "refused"),
        (Answer(302, headers={"Location": "https://elsewhere.example/"}), "refused"),
        (Answer(429), "unavailable"),
        (Answer(500), "unavailable"),
        (Answer(drop=True), "unknown"),
    ],
)
def test_what_answers_mean(
    endpoint: FakeEndpoint, clock: Clock, answer: Answer, outcome: str
) -> None:
    """Nothing but a 2xx is a yes."""
    provider = PushWebhookProvider(endpoint.url, WebhookSecrets.of(SecretStr(SECRET)), clock)
    endpoint.next(answer)
    nobody = UUID(int=1)
    with pytest.raises(WakeupFailed, match=outcome):
        provider.wake(PushTarget(nobody, nobody))
