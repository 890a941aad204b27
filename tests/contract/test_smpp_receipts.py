"""Delivery receipts over SMPP: which send each means, in any order, more than once, and forged."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from smpplib import consts
from sqlalchemy import select, text

from core.base64url import encode
from core.database import Database
from sms.delivery import DeliveryService, Outcome
from sms.metrics import SmsMetrics
from sms.models import Send, SmppMessage
from sms.provider import Ambiguous, SmsMessage
from sms.smpp.codes import STATE_NAMES, STATUSES
from sms.smpp.messages import SmppMessages
from tests.conftest import NUMBER, Clock
from tests.contract.conftest import BuildSmpp
from tests.contract.fake_smsc import FakeSmsc, Session, accept, accept_as, receipt, stall
from tests.contract.smpp_providers import PATIENT
from tests.databases import objects

DIGEST = b"d" * 16
CODE = "314159"


class Sends:
    """The sends in a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock

    def queue(self, number: int = 1, provider: str = "smpp", status: str = "queued") -> SmsMessage:
        """Record a send and give the message to hand over."""
        identity = number.to_bytes(16, "big")
        with objects(self.database) as session:
            session.add(
                Send(
                    number_digest=DIGEST,
                    id=identity,
                    verification_nonce=bytes(16),
                    channel="sms",
                    country="DE",
                    prefix="+4915112",
                    first=True,
                    price_micros=0,
                    provider=provider,
                    status=status,
                    created_at=self.clock(),
                    updated_at=self.clock(),
                )
            )
        return SmsMessage(NUMBER, "sms", f"{CODE} is your code", "en", encode(DIGEST + identity))

    def row(self, number: int = 1) -> Any:
        """Read a send."""
        query = select(Send.status, Send.error_code, Send.provider_message_id)
        with self.database.read() as connection:
            return connection.execute(query.where(Send.id == number.to_bytes(16, "big"))).one()

    def status(self, number: int = 1) -> str:
        """Read how far a send has come."""
        return str(self.row(number).status)

    def finish(self, metrics: SmsMetrics, outcome: Outcome) -> None:
        """Record how the hand-over ended, as the service does after the provider's answer."""
        deliveries = DeliveryService(self.database, self.clock, metrics)
        deliveries.report("smpp", encode(DIGEST + (1).to_bytes(16, "big")), outcome)


@pytest.fixture
def sends(database: Database, clock: Clock) -> Sends:
    """The sends of the test's database."""
    return Sends(database, clock)


def taken(smsc: FakeSmsc, **fields: Any) -> int:
    """Deliver and give the status of the answer."""
    return smsc.answered(smsc.deliver(**fields))


def told(metrics: SmsMetrics, kind: str) -> float:
    """Say how many deliveries of a kind were counted."""
    return metrics.smpp_messages.labels(kind)._value.get()


def option(tag: str, value: bytes) -> bytes:
    """Write an optional parameter."""
    number = consts.OPTIONAL_PARAMS[tag]
    return number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


STATES = [(number, name, STATUSES.get(name)) for number, name in STATE_NAMES.items()]


@pytest.mark.parametrize("form", ["text", "options"])
@pytest.mark.parametrize(("number", "name", "status"), STATES)
def test_states(
    smsc: FakeSmsc,
    build_smpp: BuildSmpp,
    sends: Sends,
    form: str,
    number: int,
    name: str,
    status: Any,
) -> None:
    """Each state of a receipt, in its text or in its options, is one of ours or tells nothing."""
    message_id = build_smpp().send(sends.queue())
    if form == "text":
        delivery = {"short_message": receipt(message_id, name, "012")}
    else:
        # Not each SMSC ends the id with a zero, and each may add options of its own.
        values = option("receipted_message_id", message_id.encode())
        values += option("message_state", bytes((number,))) + b"\x14\x00\x00\x02xy"
        delivery = {"options": values + option("network_error_code", b"\x03\x00\x0c")}
    assert taken(smsc, **delivery) == 0

    failed = status in ("undelivered", "failed")
    code = {"text": f"{name}-012", "options": f"{name}-12"}[form] if failed else None
    assert sends.row()[:2] == (status or "queued", code)


def test_options_count_for_more_than_the_text(
    smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends
) -> None:
    """Where both say something the options are believed; a text in UTF-16 or as payload is read."""
    provider = build_smpp()
    for number in (1, 2, 3):
        provider.send(sends.queue(number))
    values = option("receipted_message_id", b"1\0") + option("message_state", b"\x02")
    taken(smsc, short_message=receipt("2", "UNDELIV"), options=values)
    taken(smsc, short_message=receipt("2").decode().encode("utf-16-be")[:254], data_coding=8)
    taken(smsc, options=option("message_payload", receipt("3", "EXPIRED")))

    assert [sends.status(number) for number in (1, 2, 3)] == [
        "delivered",
        "delivered",
        "undelivered",
    ]


@pytest.mark.parametrize(
    ("ids", "answered", "in_receipt"),
    [
        ("decimal", "1A2b3C", "1715004"),
        ("decimal", "001A2B3C", "1715004"),
        ("hex", "1715004", "1a2b3c"),
        ("hex", "0001715004", "001A2B3C"),
        ("same", "1A2B3C", "1A2B3C"),
        ("decimal", "a-b-c", "a-b-c"),
    ],
)
def test_ids_are_spelled_differently(
    smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends, ids: str, answered: str, in_receipt: str
) -> None:
    """An id that receipts write in another base is still the same; the option writes it as it was."""
    smsc.next("submit_sm", accept_as(answered))
    assert build_smpp(receipt_ids=ids).send(sends.queue()) == answered
    taken(smsc, short_message=receipt(in_receipt, "ENROUTE"))
    assert sends.status() == "sent"
    values = option("receipted_message_id", answered.encode() + b"\0")
    taken(smsc, options=values + option("message_state", b"\x02"))
    assert sends.status() == "delivered"


def test_in_any_order_and_twice(smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends) -> None:
    """Whatever the order, and twice each, the end is the same."""
    provider = build_smpp()
    for number, order in enumerate(permutations(["ACCEPTD", "ENROUTE", "DELIVRD"]), 1):
        message_id = provider.send(sends.queue(number))
        for state in order * 2:
            assert taken(smsc, short_message=receipt(message_id, state)) == 0
        assert sends.status(number) == "delivered"


@pytest.mark.parametrize("order", list(permutations(["ACCEPTD", "ENROUTE", "UNDELIV"])))
def test_receipts_overtake_the_answer(
    smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends, metrics: SmsMetrics, order: tuple[str, ...]
) -> None:
    """What comes before the answer is kept until it is known whose it is, and then applied."""

    def receipts_first(session: Session, pdu: Any) -> None:
        # In another thread: the one that serves the connection must read the answers.
        threading.Thread(target=answer_late, args=(session, pdu)).start()

    def answer_late(session: Session, pdu: Any) -> None:
        for state in order:
            assert taken(smsc, short_message=receipt("1", state, "012")) == 0
        accept(session, pdu)

    smsc.next("submit_sm", receipts_first)
    assert build_smpp().send(sends.queue()) == "1"
    assert told(metrics, "early") == 3
    assert sends.row() == ("undelivered", "UNDELIV-012", "1")
    sends.finish(metrics, Outcome("sent", "1"))
    assert sends.status() == "undelivered"


def test_only_receipts_are_believed(
    smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends, metrics: SmsMetrics
) -> None:
    """A person's text that looks like a receipt changes nothing, nor does any that names no message."""
    message_id = build_smpp().send(sends.queue())
    for esm_class in (0, 0x08, 0x10, 0x18, 0x40, 0x80):
        assert taken(smsc, esm_class=esm_class, short_message=receipt(message_id)) == 0
    assert told(metrics, "text") == 6
    quoted = f"sub:001 text:id:{message_id} stat:DELIVRD"
    for unreadable in (b"", b"\xff" * 100, f"id:{message_id}".encode(), quoted.encode()):
        assert taken(smsc, short_message=unreadable) == 0
    broken = option("receipted_message_id", b"1")[:-1]
    assert taken(smsc, short_message=receipt(message_id), options=broken) == 0
    assert told(metrics, "unreadable") == 5
    taken(smsc, short_message=receipt("4711"))
    assert sends.row() == ("queued", None, None)


def test_another_providers_send(
    smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends, metrics: SmsMetrics
) -> None:
    """A receipt changes only what went out over SMPP."""
    message_id = build_smpp().send(sends.queue(provider="twilio", status="sent"))
    taken(smsc, short_message=receipt(message_id))
    assert (sends.status(), told(metrics, "unchanged")) == ("sent", 1)


def test_only_news_is_counted(
    smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends, metrics: SmsMetrics
) -> None:
    """However often a delivery is reported, it is one."""
    message_id = build_smpp().send(sends.queue())
    for _ in range(3):
        taken(smsc, short_message=receipt(message_id))
    assert metrics.deliveries.labels("smpp", "delivered")._value.get() == 1
    assert (told(metrics, "applied"), told(metrics, "unchanged")) == (1, 2)


def test_another_workers_bind(smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends) -> None:
    """A receipt may come in on the bind of a worker that did not send the text."""
    first = build_smpp()
    first.send(sends.queue(1))
    message_id = build_smpp().send(sends.queue(2))
    taken(smsc, session=0, short_message=receipt(message_id))
    assert [sends.status(number) for number in (1, 2)] == ["queued", "delivered"]


@contextmanager
def without_table(database: Database) -> Iterator[None]:
    """Take the table away in this block, as a database that is ill does."""
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE smpp_messages RENAME TO away"))
    yield
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO smpp_messages"))


def test_an_answer_means_that_it_is_kept(
    smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends, database: Database
) -> None:
    """While the database fails a receipt is refused for now; when it is repeated it counts."""
    message_id = build_smpp().send(sends.queue())
    with without_table(database):
        refused = taken(smsc, short_message=receipt(message_id))

    assert refused == consts.SMPP_ESME_RX_T_APPN
    assert sends.status() == "queued"
    assert taken(smsc, short_message=receipt(message_id)) == 0
    assert sends.status() == "delivered"


def test_an_id_that_is_not_kept_is_sent_all_the_same(
    smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends, database: Database
) -> None:
    """The SMSC has the text when the database fails, so the provider says so."""
    message = sends.queue()
    with without_table(database):
        assert build_smpp().send(message) == "1"


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (accept_as("4711"), ("sent", "response-timeout", "4711")),
        (
            lambda session, pdu: session.send("submit_sm_resp", pdu.sequence, status=0x0B),
            ("failed", "ESME_RINVDSTADR", None),
        ),
    ],
    ids=["taken", "refused"],
)
def test_a_late_answer_settles(
    smsc: FakeSmsc,
    build_smpp: BuildSmpp,
    sends: Sends,
    metrics: SmsMetrics,
    late: Any,
    expected: tuple[str, ...],
) -> None:
    """An answer that nobody waits for any more says what became of a send that was unknown."""
    smsc.next("submit_sm", stall)
    provider = build_smpp(timeouts=replace(PATIENT, response=0.2))
    with pytest.raises(Ambiguous):
        provider.send(sends.queue())
    sends.finish(metrics, Outcome("unknown", error_code="response-timeout"))
    late(smsc.sessions[0], smsc.submitted[0])
    # What comes behind it is answered after it has been dealt with.
    assert taken(smsc, esm_class=0) == 0
    assert sends.row() == expected
    if expected[0] == "sent":
        taken(smsc, short_message=receipt("4711"))
        assert sends.row() == ("delivered", None, "4711")


def test_an_id_given_again_names_the_newest(
    smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends
) -> None:
    """An SMSC that counts anew after a restart is understood; the older send keeps its state."""
    smsc.next("submit_sm", accept_as("1"), accept_as("1"))
    provider = build_smpp()
    provider.send(sends.queue(1))
    taken(smsc, short_message=receipt("1", "UNDELIV"))
    provider.send(sends.queue(2))
    assert sends.status(2) == "queued"
    taken(smsc, short_message=receipt("1", "DELIVRD"))
    assert [sends.status(number) for number in (1, 2)] == ["undelivered", "delivered"]


def test_ids_are_forgotten(
    smsc: FakeSmsc, build_smpp: BuildSmpp, sends: Sends, clock: Clock, database: Database
) -> None:
    """After 7 days an id is deleted, whether it has found its send or not."""
    message_id = build_smpp().send(sends.queue())
    clock.advance(days=3)
    taken(smsc, short_message=receipt("4711"))
    for passed, left in ((timedelta(days=4, seconds=1), ["4711"]), (timedelta(days=3), [])):
        clock.now += passed
        with database.write() as connection:
            assert SmppMessages.purge(connection, clock()) == 1
            assert list(connection.scalars(select(SmppMessage.message_id))) == left
    assert message_id == "1"
