"""Sends: queued in the caller's transaction, handed over outside of any, recorded when known.

Owns the record of every send and its delivery state. Refuses to send anything twice: an answer that
is lost, and any fault that it does not know, leave the send `unknown`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

import structlog
from sqlalchemy import Connection, Executable, bindparam, func, update

from core.database import Database, purge, table
from core.metrics import Metrics
from core.phone_numbers import mask
from core.problems import Problem
from sms.models import OutboxMessage, Send
from sms.problems import SendBlocked, SendRejected, SendUnavailable
from sms.provider import Ambiguous, Blocked, Channel, Message, Provider, Rejected, SendFailure

log = structlog.get_logger()

#: How far a send is known to have come; a report never moves it back (final states are equal).
RANK = {"queued": 0, "unknown": 1, "sent": 2, "delivered": 3, "undelivered": 3, "failed": 3}
#: A send that is still queued after this was cut off by a crash: nobody knows what became of it.
SETTLED_AFTER = timedelta(minutes=5)
SENDS_KEPT = timedelta(days=30)
OUTBOX_KEPT = timedelta(days=7)
DEFAULT_RETRY = 30


_SENDS = table(Send)
_QUEUEING = _SENDS.insert()


@cache
def _recording(status: str) -> Executable:
    """Write the statement that moves a send forward to a state, from those before it only."""
    columns = _SENDS.c
    earlier = [other for other, rank in RANK.items() if rank < RANK[status]]
    error = bindparam("error", type_=columns.error_code.type)
    return (
        update(_SENDS)
        .where(
            columns.number_digest == bindparam("of"),
            columns.id == bindparam("send"),
            columns.status.in_(earlier),
        )
        .values(
            status=status,
            provider_message_id=func.coalesce(
                columns.provider_message_id,
                bindparam("message_id", type_=columns.provider_message_id.type),
            ),
            # What went wrong on the way no longer matters once it is delivered.
            error_code=None if status == "delivered" else func.coalesce(error, columns.error_code),
            updated_at=bindparam("now"),
        )
    )


@dataclass(frozen=True)
class Outcome:
    """How a hand-over ended. `failure` is set when for certain nothing was sent."""

    status: str
    provider_message_id: str | None = None
    error_code: str | None = None
    failure: Problem | None = None


class SendService:
    """Hands messages to the provider and keeps what became of them."""

    def __init__(
        self,
        database: Database,
        provider: Provider,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._provider = provider
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics

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

    def record(
        self, connection: Connection, number_digest: bytes, send_id: bytes, outcome: Outcome
    ) -> bool:
        """Move a send forward to what is known now; say whether that was news.

        Safe to repeat and to reorder: a later state is never replaced by an earlier one.
        """
        result = connection.execute(
            _recording(outcome.status),
            {
                "of": number_digest,
                "send": send_id,
                "message_id": outcome.provider_message_id,
                "error": outcome.error_code,
                "now": self._clock(),
            },
        )
        return bool(cast(Any, result).rowcount)

    def report(self, number_digest: bytes, send_id: bytes, outcome: Outcome) -> None:
        """Take a provider's delivery report; one that tells nothing new changes nothing."""
        with self._database.write() as connection:
            news = self.record(connection, number_digest, send_id, outcome)
        if news:
            self._metrics.deliveries.labels(self._provider.name, outcome.status).inc()

    def settle(self, connection: Connection, now: datetime) -> int:
        """Mark as `unknown` what a crash left queued."""
        result = connection.execute(
            update(Send)
            .where(Send.status == "queued", Send.created_at < now - SETTLED_AFTER)
            .values(status="unknown", updated_at=now)
        )
        return int(cast(Any, result).rowcount)

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
