"""SMPP's bind: made when it is needed, kept alive, made again, and what of it the SMSC may ask."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from smpplib import consts

from sms.provider import Ambiguous, Unavailable
from sms.smpp.connection import SmppCredentials
from tests.contract.conftest import BuildSmpp
from tests.contract.fake_smsc import (
    FakeSmsc,
    Reaction,
    accept,
    answer_otherwise,
    hang_up,
    refuse,
    reset,
    say,
    stall,
)
from tests.contract.test_smpp import HEADER, SHORT, TEXT, failure, sent_at_last, texts


@pytest.fixture
def dialect() -> str:
    """What is said on the wire does not depend on the database."""
    return "sqlite"


BIND_FAULTS: dict[str, tuple[Reaction, str]] = {
    "refuses": (refuse(consts.SMPP_ESME_RINVPASWD), "ESME_RINVPASWD"),
    "complains": (answer_otherwise("generic_nack", status=3), "ESME_RINVCMDID"),
    "hangs up": (hang_up, "connection-closed"),
    "breaks off": (reset, "connection-lost"),
    "stalls": (stall, "bind-timeout"),
    "says nonsense": (say(b"SSH-2.0-OpenSSH_9.2\r\n"), "protocol-error"),
    "answers something else": (
        answer_otherwise("submit_sm_resp", message_id="1"),
        "protocol-error",
    ),
    "answers another": (answer_otherwise("bind_transceiver_resp", shift=1), "protocol-error"),
}


@pytest.mark.parametrize(("reaction", "code"), BIND_FAULTS.values(), ids=BIND_FAULTS.keys())
def test_a_failed_bind_is_unavailable(
    smsc: FakeSmsc, build_smpp: BuildSmpp, reaction: Reaction, code: str
) -> None:
    """Without a bind nothing was submitted; the next sends fail at once until one is made."""
    smsc.usual["bind_transceiver"] = reaction
    provider = build_smpp(timeouts=replace(SHORT, first_retry=60, max_retry=60))
    for _ in range(2):
        fault = failure(provider)
        assert isinstance(fault, Unavailable)
        # A bind that is not answered takes as long as a send waits for it, so either may end first.
        assert fault.error_code in (code, "bind-timeout")
    assert fault.error_code == code
    assert fault.retry_after is not None
    assert 1 <= fault.retry_after <= 60
    assert smsc.commands() == ["bind_transceiver"]


def test_nobody_there(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """An SMSC that is down is unavailable, and found once it is there."""
    smsc.stop()
    provider = build_smpp()
    assert (type(fault := failure(provider)), fault.error_code) == (Unavailable, "connect-failed")
    smsc.start()
    assert sent_at_last(provider) == "1"


def test_reconnect_after_a_restart(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """After a restart of the SMSC the provider binds again by itself, and repeats nothing."""
    provider = build_smpp()
    smsc.next("submit_sm", stall)
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(provider.send, TEXT)
        smsc.wait_for(lambda: smsc.submitted)
        smsc.stop()
        assert isinstance(lost.exception(), Ambiguous)
    smsc.start()
    smsc.wait_for(lambda: len(smsc.sessions) == 2 and smsc.sessions[1].bound)

    assert sent_at_last(provider)
    assert texts(smsc) == [TEXT.body.encode(), b"after it"]


def test_a_stalled_connection_is_replaced(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """When a window of texts went without an answer, another connection is made."""
    smsc.next("submit_sm", stall, stall)
    provider = build_smpp(window=2, timeouts=SHORT)
    with ThreadPoolExecutor(2) as pool:
        lost = [pool.submit(provider.send, TEXT) for _ in range(2)]
    assert [type(each.exception()) for each in lost] == [Ambiguous] * 2
    smsc.wait_for(lambda: len(smsc.sessions) == 2)
    assert sent_at_last(provider) == "1"
    assert len(smsc.submitted) == 3


def test_a_silent_smsc_is_asked_and_given_up(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """Silence is asked about; as long as there is an answer the bind is kept, then it is replaced."""
    smsc.next("enquire_link", accept, stall)
    provider = build_smpp(timeouts=replace(SHORT, idle=0.05))
    provider.send(TEXT)
    smsc.wait_for(lambda: smsc.commands().count("bind_transceiver") == 2)

    expected = ["bind_transceiver", "submit_sm", *["enquire_link"] * 2, "bind_transceiver"]
    assert smsc.commands()[:5] == expected


@pytest.mark.parametrize(
    ("number", "answered"),
    [(0x15, "enquire_link_resp"), (0x06, "unbind_resp")]
    + [(number, "generic_nack") for number in (0x04, 0x103, 0x10203)],
)
def test_requests_of_the_smsc(
    smsc: FakeSmsc, build_smpp: BuildSmpp, number: int, answered: str
) -> None:
    """What the SMSC asks is answered under its number; what is not known is said to be so."""
    build_smpp().send(TEXT)
    smsc.sessions[0].say(HEADER.pack(16, number, 0, 4711))
    smsc.wait_for(lambda: answered in smsc.commands())

    answer = smsc.received[smsc.commands().index(answered)]
    assert answer.sequence == 4711
    assert answer.status == (consts.SMPP_ESME_RINVCMDID if answered == "generic_nack" else 0)


def test_news_of_other_phones_is_no_request(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """alert_notification has no answer, and does no harm."""
    provider = build_smpp()
    provider.send(TEXT)
    smsc.sessions[0].say(HEADER.pack(16, 0x102, 0, 1))
    assert provider.send(TEXT) == "2"
    assert smsc.commands() == ["bind_transceiver", "submit_sm", "submit_sm"]


def test_close_waits_for_nobody(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """An SMSC that does not answer the leave-taking is left all the same."""
    smsc.usual["unbind"] = stall
    provider = build_smpp(timeouts=SHORT)
    provider.send(TEXT)
    provider.close()
    assert smsc.commands() == ["bind_transceiver", "submit_sm", "unbind"]


def test_close_takes_leave(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """Closing unbinds; after it nothing is sent, and nobody binds again."""
    provider = build_smpp()
    provider.send(TEXT)
    provider.close()

    assert isinstance(failure(provider), Unavailable)
    assert smsc.commands() == ["bind_transceiver", "submit_sm", "unbind"]
    assert len(smsc.sessions) == 1


def test_the_password_is_not_shown() -> None:
    """Nobody who prints the login sees it."""
    assert "s3cret" not in repr(SmppCredentials("kith", "s3cret"))
