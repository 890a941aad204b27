"""Fixtures of the contract tests."""

from collections.abc import Iterator

import pytest

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
