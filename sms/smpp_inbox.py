"""What an SMSC says by itself, dealt with beside the thread that reads, one thing after the other.

Owns when a deliver_sm is answered: what it says is on disk by then, so an SMSC repeats what a crash, or a
database that is away, has cost. Refuses more than it can hold, for the SMSC to keep.
"""

import queue
import threading
from collections.abc import Callable
from functools import partial

import structlog
from smpplib import consts

from sms import smpp_pdus
from sms.metrics import SmsMetrics
from sms.smpp_codes import status_name
from sms.smpp_connection import SmppConnection, SubmitResponse
from sms.smpp_messages import SmppMessages
from sms.smpp_pdus import InvalidPdu
from sms.smpp_receipts import ReceiptIds, canonical_id, is_receipt, read_receipt

log = structlog.get_logger()

MAX_WAITING = 1000


class SmppInbox:
    """Deals with receipts and late answers in a background thread (a greenlet under gevent)."""

    def __init__(
        self,
        messages: SmppMessages,
        ids: ReceiptIds,
        metrics: SmsMetrics,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._messages = messages
        self._ids = ids
        self._metrics = metrics
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(max_waiting)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Deal with what is there, and with nothing after it."""
        if self._thread:
            self._waiting.put(None)
            self._thread.join()

    def handle_deliver_sm(self, connection: SmppConnection, sequence: int, octets: bytes) -> None:
        """Take the body of a deliver_sm, and answer it once what it says is on disk."""
        try:
            self._put(partial(self._deliver, connection, sequence, octets))
        except queue.Full:
            self._metrics.smpp_messages.labels("refused").inc()
            connection.answer("deliver_sm_resp", sequence, consts.SMPP_ESME_RMSGQFUL)

    def handle_late_response(self, reference: str, answer: SubmitResponse) -> None:
        """Take the answer to a submit_sm that nobody waits for any more; it settles the send."""
        try:
            self._put(partial(self._settle, reference, answer))
        except queue.Full:
            # The send stays `unknown`, as it would have without this answer.
            log.warning("smpp.inbox_full")

    def _put(self, job: Callable[[], None]) -> None:
        self._waiting.put_nowait(job)
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="smpp-inbox", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while job := self._waiting.get():
            try:
                job()
            except Exception as error:
                # The thread must outlive whatever it was, or no receipt is ever answered again.
                log.error("smpp.unexpected", error=type(error).__name__)

    def _deliver(self, connection: SmppConnection, sequence: int, octets: bytes) -> None:
        try:
            kind, status = self._receive(octets), consts.SMPP_ESME_ROK
        except Exception as error:
            log.error("smpp.receipt_failed", error=type(error).__name__)
            kind, status = "failed", consts.SMPP_ESME_RX_T_APPN
        self._metrics.smpp_messages.labels(kind).inc()
        connection.answer("deliver_sm_resp", sequence, status)

    def _receive(self, octets: bytes) -> str:
        """Keep what a deliver_sm says, and say what it was; a repetition would help none of the others."""
        try:
            body = smpp_pdus.read_body("deliver_sm", octets)
        except InvalidPdu:
            return "unreadable"
        if not is_receipt(body):
            return "text"
        receipt = read_receipt(body, self._ids)
        return self._messages.record_receipt(receipt) if receipt else "unreadable"

    def _settle(self, reference: str, answer: SubmitResponse) -> None:
        if answer.status:
            self._messages.record_refusal(reference, status_name(answer.status))
        elif answer.message_id:
            canonical = canonical_id(answer.message_id, self._ids)
            self._messages.record_response(canonical, answer.message_id, reference, late=True)
