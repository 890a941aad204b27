"""Fixtures of the contract tests."""

import logging
from collections.abc import Callable, Iterator

import pytest
import structlog

from core import logs
from core.settings import Settings
from tests.contract.fake_sender import FakeSender
from tests.contract.fake_twilio import FakeTwilio


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
