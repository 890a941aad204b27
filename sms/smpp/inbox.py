"""The queue of deliver_sm and late responses, processed one by one beside the reading thread.

A deliver_sm is answered after it is stored, so the SMSC repeats one that a crash or an unavailable database
has lost. When the queue is full the SMSC keeps the rest.
"""

import queue
import threading
from collections.abc import Callable
from functools import partial

import structlog
from smpplib import consts

from sms.metrics import SmsMetrics
from sms.smpp import pdus
from sms.smpp.codes import status_name
from sms.smpp.connection import SmppConnection, SubmitResponse
from sms.smpp.messages import SmppMessages
from sms.smpp.pdus import InvalidPdu
from sms.smpp.receipts import ReceiptIds, canonical_id, is_receipt, read_receipt

log = structlog.get_logger()

MAX_QUEUED = 1000


class SmppInbox:
    """Processes receipts and late responses in a background thread (a greenlet under gevent)."""

    def __init__(
        self,
        messages: SmppMessages,
        ids: ReceiptIds,
        metrics: SmsMetrics,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self._messages = messages
        self._ids = ids
        self._metrics = metrics
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(max_queued)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """Process what is queued, and nothing after it."""
        if self._thread:
            self._waiting.put(None)
            self._thread.join()

    def handle_deliver_sm(self, connection: SmppConnection, sequence: int, octets: bytes) -> None:
        """Queue the body of a deliver_sm; it is answered once it is stored."""
        try:
            self._put(partial(self._deliver, connection, sequence, octets))
        except queue.Full:
            self._metrics.smpp_messages.labels("refused").inc()
            connection.answer("deliver_sm_resp", sequence, consts.SMPP_ESME_RMSGQFUL)

    def handle_late_response(self, reference: str, answer: SubmitResponse) -> None:
        """Queue the response to a submit_sm that nobody waits for; it settles the send."""
        try:
            self._put(partial(self._settle, reference, answer))
        except queue.Full:
            # The send stays `unknown`, as without this response.
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
                # The thread must survive any error, or no receipt is ever answered again.
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
        """Store a receipt; return the kind of the deliver_sm. Repeating any other kind would not help."""
        try:
            body = pdus.read_body("deliver_sm", octets)
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
