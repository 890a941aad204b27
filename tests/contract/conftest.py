"""Fixtures of the contract tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.database import Database
from core.metrics import Metrics
from sms.smpp import SmppProvider
from tests.conftest import Clock
from tests.contract.fake_smsc import FakeSmsc
from tests.contract.fake_twilio import FakeTwilio
from tests.contract.smpp_providers import build_provider

BuildSmpp = Callable[..., SmppProvider]


@pytest.fixture
def twilio(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTwilio]:
    """Run Twilio's API on a free port, past whatever proxy the environment names."""
    monkeypatch.setenv("NO_PROXY", "*")
    with FakeTwilio() as fake:
        yield fake


@pytest.fixture
def smsc() -> Iterator[FakeSmsc]:
    """Run an SMSC on a free port."""
    with FakeSmsc() as fake:
        yield fake


@pytest.fixture
def metrics() -> Metrics:
    """The metrics of the providers."""
    return Metrics()


@pytest.fixture
def build_smpp(
    smsc: FakeSmsc, database: Database, clock: Clock, metrics: Metrics
) -> Iterator[BuildSmpp]:
    """Build providers that talk to the SMSC and close them afterwards."""
    built = []

    def make(**changed: Any) -> SmppProvider:
        built.append(build_provider(smsc, database, clock, metrics, **changed))
        return built[-1]

    yield make
    for provider in built:
        provider.close()
