"""Sends: queued in the caller's transaction, handed over outside of any.

Owns what is handed to whom. Refuses to send anything twice: an answer that
is lost, and any fault that it does not know, leave the send `unknown`.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from core.database import purge, table
from core.metrics import Metrics
from core.phone_numbers import mask
from core.problems import Problem
from sms.delivery import Outcome
from sms.models import OutboxMessage, Send
from sms.problems import SendBlocked, SendRejected, SendUnavailable
from sms.provider import Ambiguous, Blocked, Channel, Message, Provider, Rejected, SendFailure

log = structlog.get_logger()

SENDS_KEPT = timedelta(days=30)
OUTBOX_KEPT = timedelta(days=7)
DEFAULT_RETRY = 30


_SENDS = table(Send)
_QUEUEING = _SENDS.insert()


class SendService:
    """Hands messages to the provider and keeps what became of them."""

    def __init__(
        self,
        provider: Provider,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: Metrics,
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics

    @property
    def provider_name(self) -> str:
        """Name who sends."""
        return self._provider.name

    def queue(
        self, connection: Connection, number_digest: bytes, verification: bytes, channel: Channel
    ) -> bytes:
        """Record in the caller's transaction that a send is about to happen; give its 16-byte id."""
        now = self._clock()
        send_id = self._entropy(16)
        connection.execute(
            _QUEUEING,
            {
                "number_digest": number_digest,
                "id": send_id,
                "verification": verification,
                "channel": channel,
                "provider": self._provider.name,
                "status": "queued",
                "created_at": now,
                "updated_at": now,
            },
        )
        return send_id

    def dispatch(self, message: Message) -> Outcome:
        """Hand a message to the provider, outside of any transaction, and say how it ended."""
        started = time.perf_counter()
        try:
            outcome = Outcome("sent", provider_message_id=self._provider.send(message))
        except Ambiguous as fault:
            outcome = Outcome("unknown", error_code=fault.error_code)
        except SendFailure as fault:
            outcome = Outcome("failed", error_code=fault.error_code, failure=_problem(fault))
        except Exception as error:
            # The provider may have it by now, so whatever this was, it is not sent again.
            log.error("send.unexpected", error=type(error).__name__, provider=self._provider.name)
            outcome = Outcome("unknown", error_code=type(error).__name__[:32])
        seconds = time.perf_counter() - started
        label = outcome.failure.code if outcome.failure else outcome.status
        self._metrics.sends.labels(self._provider.name, message.channel, label).inc()
        self._metrics.send_seconds.labels(self._provider.name).observe(seconds)
        log.info(
            "send",
            to=mask(message.to),
            channel=message.channel,
            provider=self._provider.name,
            outcome=label,
            error_code=outcome.error_code,
            ms=round(seconds * 1000, 1),
        )
        return outcome

    @staticmethod
    def purge_sends(connection: Connection, now: datetime) -> int:
        """Delete a batch of sends whose time is over."""
        return purge(connection, Send, Send.created_at < now - SENDS_KEPT)

    @staticmethod
    def purge_outbox(connection: Connection, now: datetime) -> int:
        """Delete a batch of old texts of the mock provider."""
        return purge(connection, OutboxMessage, OutboxMessage.sent_at < now - OUTBOX_KEPT)


def _problem(fault: SendFailure) -> Problem:
    if isinstance(fault, Rejected):
        return SendRejected(
            "The provider says it cannot receive this; check the number or ask for a call."
        )
    if isinstance(fault, Blocked):
        return SendBlocked("The provider does not deliver to this destination.")
    return SendUnavailable(
        "Nothing was sent; try again in a moment.", retry_after=fault.retry_after or DEFAULT_RETRY
    )
