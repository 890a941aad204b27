"""Fixtures of the contract tests."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from flask_openapi3 import OpenAPI

from core import logs
from core.database import Database
from core.metrics import Metrics
from settings import Settings
from sms.metrics import SmsMetrics
from sms.smpp.provider import SmppProvider
from tests.conftest import Clock, MakeApp
from tests.contract.fake_sender import FakeSender
from tests.contract.fake_smsc import FakeSmsc
from tests.contract.fake_twilio import FakeTwilio
from tests.contract.smpp_providers import build_provider
from tests.matrix import Homeserver, MatrixClient, make_matrix_app

BuildSmpp = Callable[..., SmppProvider]


@pytest.fixture
def twilio(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTwilio]:
    """Run Twilio's API on a free port, past whatever proxy the environment names."""
    monkeypatch.setenv("NO_PROXY", "*")
    with FakeTwilio() as fake:
        yield fake


@pytest.fixture
def sender() -> Iterator[FakeSender]:
    """Run an operator's own sender on a free port."""
    with FakeSender() as fake:
        yield fake


@pytest.fixture
def smsc() -> Iterator[FakeSmsc]:
    """Run an SMSC on a free port."""
    with FakeSmsc() as fake:
        yield fake


@pytest.fixture
def all_logged(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[], str]]:
    """Make every logger as talkative as it can be; give what they wrote so far."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    logs.configure(Settings.model_validate({"log_level": "debug"}))
    root.addHandler(caplog.handler)
    for name in (None, "twilio", "twilio.http_client", "urllib3", "urllib3.connectionpool"):
        caplog.set_level(logging.DEBUG, logger=name)
    yield lambda: capsys.readouterr().out + caplog.text
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def metrics() -> SmsMetrics:
    """The metrics of the providers."""
    return SmsMetrics(Metrics())


@pytest.fixture
def build_smpp(
    smsc: FakeSmsc, database: Database, clock: Clock, metrics: SmsMetrics
) -> Iterator[BuildSmpp]:
    """Build providers that talk to the SMSC and close them afterwards."""
    built = []

    def make(**changed: Any) -> SmppProvider:
        built.append(build_provider(smsc, database, clock, metrics, **changed))
        return built[-1]

    yield make
    for provider in built:
        provider.close()


@pytest.fixture
def homeserver() -> Iterator[Homeserver]:
    """Run a homeserver on a free port."""
    with Homeserver() as fake:
        yield fake


@pytest.fixture
def matrix_app(make_app: MakeApp) -> OpenAPI:
    """The application with its Matrix adapter open."""
    return make_matrix_app(make_app)


@pytest.fixture
def alice(matrix_app: OpenAPI, homeserver: Homeserver) -> MatrixClient:
    """A user of the homeserver."""
    return MatrixClient.register(matrix_app, homeserver)


@pytest.fixture
def bob(matrix_app: OpenAPI, homeserver: Homeserver) -> MatrixClient:
    """Another user of it."""
    return MatrixClient.register(matrix_app, homeserver, "bob")
