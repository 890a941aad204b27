"""The threads that wake devices beside the server."""

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from flask_openapi3 import OpenAPI

from core.metrics import Metrics
from messaging.push.metrics import PushMetrics
from messaging.push.provider import PushTarget
from messaging.push.waker import Waker
from tests.api.messages.conftest import anna, ben, link, send
from tests.conftest import Clock, MakeApp, Person
from tests.contract.fake_sender import SECRET

__all__ = ["anna", "ben", "link", "send"]


class Broken:
    """A provider with a fault in its code, whose message holds what must not be logged."""

    name = "webhook"

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)

    def wake(self, target: PushTarget) -> None:
        """Raise."""
        self.asked.release()
        raise ZeroDivisionError("https://push.example/capability")


@pytest.fixture
def app(make_app: MakeApp) -> OpenAPI:
    """An application that would tell a webhook; the test's own waker does."""
    return make_app(
        push=("webhook",), push_webhook_url="http://127.0.0.1:1", push_webhook_secret=SECRET
    )


def test_they_run_until_they_are_stopped(
    app: OpenAPI,
    clock: Clock,
    ben: Person,
    send: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is stored while they run is sent, a fault in a provider is an outcome, and the end is one."""
    kith = app.extensions["kith"]
    before = set(threading.enumerate())
    provider, metrics = Broken(), PushMetrics(Metrics())
    waker = Waker(kith.runtime.database, clock, metrics, [provider], gather_seconds=0.01)
    kith.messaging.messages.registry.offline_handlers[:] = [waker.wake]
    swept, sweep = threading.Semaphore(0), waker.sweep
    monkeypatch.setattr(waker, "sweep", lambda after: [sweep(after), swept.release()][0])
    waker.start()
    try:
        send(ben)
        assert provider.asked.acquire(timeout=30)
        assert swept.acquire(timeout=30)
    finally:
        waker.stop()
    assert metrics.wakeups.labels("webhook", "unknown")._value.get() == 1
    assert "capability" not in capsys.readouterr().out
    assert set(threading.enumerate()) <= before


def test_they_outlive_a_database_that_is_away(clock: Clock) -> None:
    """It is tried again, and who was to be woken is not forgotten."""
    tries = threading.Semaphore(0)

    def away() -> None:
        tries.release()
        raise ZeroDivisionError

    database = SimpleNamespace(read=away, write=away)
    waker = Waker(
        database, clock, PushMetrics(Metrics()), [Broken()], gather_seconds=0.01, poll_seconds=0.01
    )
    waker.start()
    try:
        assert all(tries.acquire(timeout=30) for _ in range(5))
    finally:
        waker.stop()


def test_without_a_provider_there_is_no_thread(clock: Clock) -> None:
    """Nothing gathers either."""
    waker = Waker(SimpleNamespace(), clock, PushMetrics(Metrics()), [])
    waker.start()
    waker.wake([])
    assert not any(thread.name.startswith("push") for thread in threading.enumerate())
