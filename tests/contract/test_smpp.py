"""SMPP's provider against a local SMSC: what is submitted, and what each answer and silence means."""

import struct
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from smpplib import consts
from structlog.testing import capture_logs

from sms.provider import Ambiguous, Blocked, Rejected, SendFailure, SmsMessage, Unavailable
from sms.smpp.codes import BLOCKED, BUSY, REJECTED, status_name
from sms.smpp.connection import SmppCredentials
from sms.smpp.provider import SmppProvider, SourceAddress
from tests.contract.conftest import BuildSmpp
from tests.contract.fake_smsc import (
    FakeSmsc,
    Reaction,
    accept,
    accept_as,
    accept_twice,
    answer_otherwise,
    answer_together,
    hang_up,
    refuse,
    reset,
    say,
    stall,
)
from tests.contract.smpp_providers import PATIENT

NUMBER, CODE = "+4915112345678", "314159"
TEXT = SmsMessage(NUMBER, "sms", f"{CODE} is your Kith code.", "en", "A" * 43)
#: Waits that are meant to end without an answer.
SHORT = replace(PATIENT, connect=1, response=1)


@pytest.fixture
def dialect() -> str:
    """What is said on the wire does not depend on the database."""
    return "sqlite"


def failure(provider: SmppProvider, message: SmsMessage = TEXT) -> SendFailure:
    """Send what must fail and give the failure."""
    with pytest.raises(SendFailure) as caught:
        provider.send(message)
    return caught.value


def sent_at_last(provider: SmppProvider, body: str = "after it") -> str:
    """Send until the provider is bound again."""
    for _ in range(500):
        try:
            return provider.send(replace(TEXT, body=body))
        except Unavailable:
            time.sleep(0.01)
    raise AssertionError("it never bound again")


def texts(smsc: FakeSmsc) -> list[bytes]:
    """Give the texts that were submitted, in their order."""
    return [pdu.short_message for pdu in smsc.submitted]


def test_bind_and_submit_as_given(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """A text arrives once and complete, over one transceiver of SMPP 3.4."""
    login = SmppCredentials("kith", "s3cret", "otp")
    assert build_smpp(credentials=login, code_lifetime=3600).send(TEXT) == "1"

    [bind, submit] = smsc.received
    assert (bind.command, bind.interface_version) == ("bind_transceiver", 0x34)
    assert (bind.system_id, bind.password, bind.system_type) == (b"kith", b"s3cret", b"otp")
    assert (submit.source_addr_ton, submit.source_addr_npi, submit.source_addr) == (5, 0, b"Kith")
    assert (submit.dest_addr_ton, submit.dest_addr_npi) == (1, 1)
    assert submit.destination_addr == NUMBER[1:].encode()
    assert (submit.data_coding, submit.short_message) == (0, TEXT.body.encode())
    assert submit.validity_period == b"000000010000000R"
    assert submit.registered_delivery == 1
    assert (submit.esm_class, submit.protocol_id, submit.schedule_delivery_time) == (0, 0, b"")


@pytest.mark.parametrize(
    ("body", "coding", "octets"),
    [
        ("Code: £12 §5", 0, b"Code: \x0112 \x5f5"),
        ("{1} €2", 0, b"\x1b\x281\x1b\x29 \x1b\x652"),
        ("123456 是", 8, "123456 是".encode("utf-16-be")),
        ("123456 🔑", 8, b"\0001\0002\0003\0004\0005\0006\0 \xd8\x3d\xdd\x11"),
        ("`1`", 8, b"\0`\0001\0`"),
    ],
)
def test_encodings(
    smsc: FakeSmsc, build_smpp: BuildSmpp, body: str, coding: int, octets: bytes
) -> None:
    """GSM's alphabet with its extension where it suffices, else UTF-16 with surrogate pairs."""
    build_smpp().send(replace(TEXT, body=body))

    assert (smsc.submitted[0].data_coding, smsc.submitted[0].short_message) == (coding, octets)


@pytest.mark.parametrize("body", ["a" * 161, "a" * 159 + "€", "是" * 71, "🔑" * 36])
def test_a_long_text_is_refused(smsc: FakeSmsc, build_smpp: BuildSmpp, body: str) -> None:
    """What would take two segments is neither split nor cut, and nothing is submitted."""
    fault = failure(build_smpp(), replace(TEXT, body=body))

    assert isinstance(fault, Unavailable)
    assert fault.error_code == "text-too-long"
    assert smsc.received == []


@pytest.mark.parametrize(
    ("sender", "written"),
    [
        (SourceAddress.parse("Kith"), (5, 0, b"Kith")),
        (SourceAddress.parse("+4915112345670"), (1, 1, b"4915112345670")),
        (SourceAddress.parse("12345"), (3, 0, b"12345")),
        (SourceAddress.parse("12345", ton=6, npi=1), (6, 1, b"12345")),
        (SourceAddress.parse("+4915112345670", ton=0, npi=0), (0, 0, b"4915112345670")),
    ],
)
def test_senders(
    smsc: FakeSmsc, build_smpp: BuildSmpp, sender: SourceAddress, written: Any
) -> None:
    """Type and plan of the sender are what it looks like, unless they are set."""
    build_smpp(sender=sender).send(TEXT)

    pdu = smsc.submitted[0]
    assert (pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr) == written


OTHERS = (consts.SMPP_ESME_RINVSRCADR, consts.SMPP_ESME_RSUBMITFAIL, 0xFF, 0x0401, 0xFFFFFFFF)
REFUSALS = [
    *((status, Rejected) for status in sorted(REJECTED)),
    *((status, Blocked) for status in sorted(BLOCKED)),
    *((status, Unavailable) for status in sorted(BUSY)),
    *((status, Unavailable) for status in OTHERS),
]


@pytest.mark.parametrize(("status", "kind"), REFUSALS)
def test_refusals(
    smsc: FakeSmsc, build_smpp: BuildSmpp, status: int, kind: type[SendFailure]
) -> None:
    """A status that is not ESME_ROK is a definite failure; what is the operator's to mend is logged."""
    smsc.next("submit_sm", refuse(status))
    provider = build_smpp()
    with capture_logs() as logs:
        fault = failure(provider)

    assert (type(fault), fault.error_code) == (kind, status_name(status))
    refused = [line for line in logs if line["event"] == "smpp.refused"]
    assert bool(refused) == (status in OTHERS)
    assert provider.send(TEXT) == "1"


def test_a_second_answer_is_ignored(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """The first answer to a text counts, and the bind is kept."""
    smsc.next("submit_sm", accept_twice)
    provider = build_smpp()
    assert [provider.send(TEXT) for _ in range(3)] == ["1", "2", "3"]
    assert len(smsc.sessions) == 1


def test_an_unreadable_request_was_not_carried_out(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """generic_nack under the request's number says that nothing was submitted."""
    smsc.next("submit_sm", answer_otherwise("generic_nack", status=consts.SMPP_ESME_RINVCMDLEN))
    fault = failure(build_smpp())

    assert (type(fault), fault.error_code) == (Unavailable, "ESME_RINVCMDLEN")


HEADER = struct.Struct(">LLLL")
NONSENSE: dict[str, Reaction] = {
    "garbage": say(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "a length of 2 GB": say(HEADER.pack(0x7FFFFFFF, 0x80000004, 0, 2)),
    "a length below a header's": say(HEADER.pack(8, 0x80000004, 0, 2)),
    "an unknown answer": say(HEADER.pack(16, 0x80000077, 0, 2)),
    "an answer without its body": say(HEADER.pack(16, 0x80000004, 0, 2)),
    "an id that does not end": say(HEADER.pack(19, 0x80000004, 0, 2) + b"123"),
    "a wrong number": answer_otherwise("submit_sm_resp", shift=1000, message_id="1"),
    "another kind of answer": answer_otherwise("enquire_link_resp"),
    "a complaint about nothing": say(HEADER.pack(16, 0x80000000, 3, 0)),
}


@pytest.mark.parametrize("reaction", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_ambiguous(smsc: FakeSmsc, build_smpp: BuildSmpp, reaction: Reaction) -> None:
    """InvalidPdu instead of an answer ends the connection; the text is never submitted again."""
    smsc.next("submit_sm", reaction)
    provider = build_smpp()
    fault = failure(provider)

    assert (type(fault), fault.error_code) == (Ambiguous, "protocol-error")
    assert sent_at_last(provider) == "1"
    assert texts(smsc) == [TEXT.body.encode(), b"after it"]


LOST: dict[str, tuple[Reaction, str]] = {
    "hangs up": (hang_up, "connection-lost"),
    "breaks off": (reset, "connection-lost"),
    "unbinds": (answer_otherwise("unbind"), "connection-lost"),
    "stalls": (stall, "response-timeout"),
    "answers without an id": (accept_as(""), "answer-unreadable"),
    "answers with an id that is none": (accept_as("1\n2"), "answer-unreadable"),
}


@pytest.mark.parametrize(("reaction", "code"), LOST.values(), ids=LOST.keys())
def test_a_lost_answer_is_ambiguous(
    smsc: FakeSmsc, build_smpp: BuildSmpp, reaction: Reaction, code: str
) -> None:
    """A text that was written and not answered is never submitted again, on no connection."""
    smsc.next("submit_sm", reaction)
    provider = build_smpp(timeouts=SHORT)
    fault = failure(provider)

    assert (type(fault), fault.error_code) == (Ambiguous, code)
    assert sent_at_last(provider)
    assert texts(smsc) == [TEXT.body.encode(), b"after it"]


def test_half_an_answer_is_ambiguous(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """A PDU whose rest does not come in time ends the connection."""
    smsc.next("submit_sm", say(HEADER.pack(20, 0x80000004, 0, 2)))
    provider = build_smpp(timeouts=SHORT)
    fault = failure(provider)
    smsc.wait_for(lambda: len(smsc.sessions) == 2)

    # The rest and the answer have equally long, so either may be given up first.
    assert isinstance(fault, Ambiguous)
    assert fault.error_code in ("protocol-error", "response-timeout")
    assert sent_at_last(provider)
    assert texts(smsc) == [TEXT.body.encode(), b"after it"]


def test_fifty_at_once(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """Fifty texts wait for their answers at once, over one bind, and each gets its own."""
    smsc.usual["submit_sm"] = answer_together(50)
    provider = build_smpp()
    bodies = [f"text {number}" for number in range(50)]
    with ThreadPoolExecutor(50) as pool:
        ids = list(pool.map(lambda body: provider.send(replace(TEXT, body=body)), bodies))

    assert smsc.peak == 50
    assert len(smsc.sessions) == 1
    taken = {pdu.short_message.decode(): str(place) for place, pdu in enumerate(smsc.submitted, 1)}
    assert dict(zip(bodies, ids, strict=True)) == taken


def test_a_full_window_is_unavailable(smsc: FakeSmsc, build_smpp: BuildSmpp) -> None:
    """No more texts than the window are submitted; what finds no place in time was not."""
    release = answer_together(3)
    smsc.next("submit_sm", release, release)
    provider = build_smpp(window=2, timeouts=replace(PATIENT, connect=1))
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(provider.send, TEXT) for _ in range(2)]
        smsc.wait_for(lambda: smsc.outstanding == 2)
        fault = failure(provider)
        for pdu in smsc.submitted:
            accept(smsc.sessions[0], pdu)
        assert {each.result() for each in waiting} == {"1", "2"}

    assert (type(fault), fault.error_code) == (Unavailable, "window-full")
    assert smsc.peak == 2
    assert provider.send(TEXT) == "3"
