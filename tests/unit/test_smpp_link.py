"""The link: another bind after each that failed or ended, later each time, whatever the reason."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from core.metrics import Metrics
from sms.metrics import SmsMetrics
from sms.provider import Unavailable
from sms.smpp.connection import SmppConnection, SmppTimeouts
from sms.smpp.link import SmppLink

TIMES = SmppTimeouts(connect=5, response=5, idle=60, first_retry=0.1, max_retry=0.4)
#: No wait is a whole one: a part is taken off by chance, at most half.
WAITS = (0.1, 0.2, 0.4, 0.4)


class Binds:
    """Makes of each try what the script says, and tells when it is at its end."""

    def __init__(self, *script: Callable[[], Any]) -> None:
        self.script = list(script)
        self.at_the_end = threading.Event()

    def __call__(self) -> SmppConnection:
        """Do what comes next; at the end, fail."""
        if not self.script:
            self.at_the_end.set()
            raise Unavailable("at-the-end")
        return self.script.pop(0)()


class Connection:
    """A connection that ends at once, as it is told."""

    def __init__(self, fault: str | Exception) -> None:
        self.fault = fault

    def run(self) -> str:
        """Say why it ended, or fail."""
        if isinstance(self.fault, Exception):
            raise self.fault
        return self.fault

    def unbind(self) -> None:
        """Take leave of nobody."""


def fail(fault: Exception) -> Callable[[], Any]:
    """Fail to bind."""

    def bind() -> Any:
        raise fault

    return bind


def test_binds_again_later_each_time() -> None:
    """A refusal, a hang-up and faults of ours are all waited after, longer each time, up to a bound."""
    binds = Binds(
        fail(Unavailable("refused")),
        lambda: Connection("connection-closed"),
        fail(RuntimeError("a bug")),
        lambda: Connection(RuntimeError("another")),
    )
    metrics = SmsMetrics(Metrics())
    link = SmppLink(binds, TIMES, metrics)
    with capture_logs() as lines:
        with pytest.raises(Unavailable):
            link.connection(0)
        assert binds.at_the_end.wait(5)
        link.close()

    lost = [line for line in lines if line["event"] == "smpp.lost"][:4]
    codes = ["refused", "connection-closed", "bind-failed", "connection-lost"]
    assert [line["error_code"] for line in lost] == codes
    for line, wait in zip(lost, WAITS, strict=True):
        assert wait / 2 - 0.01 <= line["retry_in"] <= wait + 0.01
    assert [line["error"] for line in lines if line["event"] == "smpp.unexpected"] == [
        "RuntimeError"
    ] * 2
    assert metrics.smpp_bound._value.get() == 0


def test_a_send_waits_for_the_first_try_only() -> None:
    """The first send waits until it is known whether there is a bind; the next fail at once."""
    go_on = threading.Event()

    def bind() -> Any:
        assert go_on.wait(5)
        raise Unavailable("refused")

    link = SmppLink(Binds(bind), SmppTimeouts(5, 5, 60, first_retry=60), SmsMetrics(Metrics()))
    with pytest.raises(Unavailable) as early:
        link.connection(0.01)
    assert early.value.error_code == "bind-timeout"
    go_on.set()
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            link.connection(60)
        assert refused.value.error_code == "refused"
        assert refused.value.retry_after is not None
        assert 29 <= refused.value.retry_after <= 60
    link.close()


def test_a_link_that_was_never_used() -> None:
    """Closing it calls nobody, and neither does a send after that."""
    binds = Binds()
    link = SmppLink(binds, TIMES, SmsMetrics(Metrics()))
    link.close()
    with pytest.raises(Unavailable) as closed:
        link.connection(5)
    assert closed.value.error_code == "closed"
    assert not binds.at_the_end.is_set()
