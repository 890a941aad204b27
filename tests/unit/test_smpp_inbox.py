"""The inbox: nothing it is given keeps the thread that reads, and nothing ends it."""

import threading
from collections.abc import Iterator

import pytest
from smpplib import consts
from structlog.testing import capture_logs

from core.metrics import Metrics
from sms.metrics import SmsMetrics
from sms.smpp.connection import SubmitResponse
from sms.smpp.inbox import SmppInbox
from sms.smpp.pdus import HEADER_SIZE, write
from sms.smpp.receipts import Receipt

RECEIPT = write("deliver_sm", 1, esm_class=4, short_message=b"id:1 stat:DELIVRD")[HEADER_SIZE:]


class Messages:
    """A database that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.refused: list[str] = []

    def record_receipt(self, receipt: Receipt) -> str:
        """Take a receipt, after a while."""
        self.asked.set()
        assert self.go_on.wait(5)
        return "applied"

    def record_refusal(self, reference: str, error_code: str) -> None:
        """Take a refusal, or fail."""
        if reference == "bad":
            raise RuntimeError("no such send")
        self.refused.append(error_code)


class Connection:
    """A connection that keeps what it is told to answer."""

    def __init__(self) -> None:
        self.answers: dict[int, int] = {}

    def answer(self, name: str, sequence: int, status: int = consts.SMPP_ESME_ROK) -> None:
        """Keep an answer."""
        assert name == "deliver_sm_resp"
        self.answers[sequence] = status


@pytest.fixture
def messages() -> Messages:
    """What the inbox writes to."""
    return Messages()


@pytest.fixture
def inbox(messages: Messages) -> Iterator[SmppInbox]:
    """An inbox that holds two."""
    inbox = SmppInbox(messages, "same", SmsMetrics(Metrics()), max_queued=2)  # type: ignore[arg-type]
    yield inbox
    messages.go_on.set()
    inbox.close()


def test_a_full_inbox_refuses(inbox: SmppInbox, messages: Messages) -> None:
    """What it cannot hold is refused for now, at once, while the rest waits for the database."""
    connection = Connection()
    inbox.handle_deliver_sm(connection, 1, RECEIPT)  # type: ignore[arg-type]
    assert messages.asked.wait(5)
    for sequence in (2, 3, 4):
        inbox.handle_deliver_sm(connection, sequence, RECEIPT)  # type: ignore[arg-type]
    assert connection.answers == {4: consts.SMPP_ESME_RMSGQFUL}
    with capture_logs() as lines:
        inbox.handle_late_response("reference", SubmitResponse(consts.SMPP_ESME_RINVDSTADR, None))
    assert [line["event"] for line in lines] == ["smpp.inbox_full"]

    messages.go_on.set()
    inbox.close()
    assert connection.answers == {1: 0, 2: 0, 3: 0, 4: consts.SMPP_ESME_RMSGQFUL}
    assert messages.refused == []


def test_nothing_ends_it(inbox: SmppInbox, messages: Messages) -> None:
    """A fault is told, and what comes after it is dealt with; an answer without an id tells nothing."""
    with capture_logs() as lines:
        inbox.handle_late_response("bad", SubmitResponse(consts.SMPP_ESME_RINVDSTADR, None))
        inbox.handle_late_response("good", SubmitResponse(consts.SMPP_ESME_ROK, None))
        inbox.close()
    assert ("smpp.unexpected", "RuntimeError") in [(x["event"], x["error"]) for x in lines]
