"""Two people, one of them with a browser that is woken."""

from collections.abc import Callable, Iterator

import pytest
from flask_openapi3 import OpenAPI

from core.database import table
from messaging.push.models import PushSubscription
from tests.api.messages.conftest import (
    acknowledge,
    anna,
    ben,
    fetch,
    link,
    send,
)
from tests.conftest import MakeApp
from tests.contract.fake_push import Browser, FakePushService

__all__ = ["acknowledge", "anna", "ben", "fetch", "link", "send"]


@pytest.fixture
def service() -> Iterator[FakePushService]:
    """Run a push service."""
    with FakePushService() as fake:
        yield fake


@pytest.fixture
def app(make_app: MakeApp) -> OpenAPI:
    """The application, which wakes browsers."""
    return make_app(push=("webpush",), vapid_subject="mailto:ops@example.com")


@pytest.fixture
def turn(app: OpenAPI) -> Callable[[], None]:
    """Let the waker do what there is to do, and write down what came of it."""
    waker = app.extensions["kith"].messaging.push.waker

    def turn() -> None:
        waker.run_once()
        waker.drain()

    return turn


@pytest.fixture
def browser(service: FakePushService) -> Browser:
    """Ben's browser."""
    return service.browser()


@pytest.fixture
def subscribed(client, ben, browser):
    """Ben, who is woken through his browser."""
    answer = client.put("/v1/push-subscription", json=browser.subscription(), headers=ben.headers)
    assert answer.status_code == 204, answer.text
    return ben


@pytest.fixture
def rows(app):
    """Read what subscriptions remember."""

    def rows():
        with app.extensions["kith"].runtime.database.read() as connection:
            return connection.execute(table(PushSubscription).select()).all()

    return rows
