"""Fixtures of the contract tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.database import Database
from core.metrics import Metrics
from sms.delivery import DeliveryService
from sms.smpp import Sender, SmppProvider
from sms.smpp_connection import Login, Times
from sms.smpp_messages import SmppMessages
from sms.smpp_socket import Address
from tests.conftest import Clock
from tests.contract.fake_smsc import PASSWORD, SYSTEM_ID, FakeSmsc
from tests.contract.fake_twilio import FakeTwilio

#: Long enough for a busy machine, and with retries that keep no test waiting.
PATIENT = Times(connect=5, response=5, idle=60, first_retry=0.01, longest_retry=0.02)
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
        deliveries = DeliveryService(database, clock, metrics)
        arguments: dict[str, Any] = {
            "address": Address("127.0.0.1", smsc.port),
            "login": Login(SYSTEM_ID, PASSWORD),
            "sender": Sender.read("Kith"),
            "window": 50,
            "times": PATIENT,
            "receipt_ids": "same",
            "code_lifetime": 600,
        }
        messages = SmppMessages(database, clock, deliveries, metrics)
        built.append(SmppProvider(messages, metrics, **arguments | changed))
        return built[-1]

    yield make
    for provider in built:
        provider.close()
