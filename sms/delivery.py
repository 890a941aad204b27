"""Delivery: how far each send is known to have come, whoever says so and in whatever order.

Owns the one state machine of all providers. A provider's answer, its callbacks and its receipts only move
a send forward. Refuses what another provider than the send's own says of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, Executable, bindparam, func, update

from core.base64url import decode
from core.database import Database, table
from core.metrics import Metrics
from core.problems import Problem
from core.secrets import DIGEST_SIZE
from sms.models import Send

#: How far a send is known to have come; a report never moves it back (final states are equal).
RANK = {"queued": 0, "unknown": 1, "sent": 2, "delivered": 3, "undelivered": 3, "failed": 3}
#: A send that is still queued after this was cut off by a crash: nobody knows what became of it.
SETTLED_AFTER = timedelta(minutes=5)

_SENDS = table(Send)


@dataclass(frozen=True)
class Outcome:
    """What is known of a send. `failure` is set when for certain nothing was sent."""

    status: str
    provider_message_id: str | None = None
    error_code: str | None = None
    failure: Problem | None = None


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
            columns.provider == bindparam("by"),
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


class DeliveryService:
    """Keeps what becomes of each send."""

    def __init__(self, database: Database, clock: Callable[[], datetime], metrics: Metrics) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics

    def record(
        self,
        connection: Connection,
        provider: str,
        number_digest: bytes,
        send_id: bytes,
        outcome: Outcome,
    ) -> bool:
        """Move a provider's send forward to what is known now; say whether that was news.

        Safe to repeat and to reorder: a later state is never replaced by an earlier one.
        """
        result = connection.execute(
            _recording(outcome.status),
            {
                "of": number_digest,
                "send": send_id,
                "by": provider,
                "message_id": outcome.provider_message_id,
                "error": outcome.error_code,
                "now": self._clock(),
            },
        )
        return bool(cast(Any, result).rowcount)

    def report(self, provider: str, reference: str, outcome: Outcome) -> bool:
        """Take what a provider reports of the send it knows by a reference; say whether that was news.

        What tells nothing new changes nothing, and so does a reference that names no send of this
        provider.
        """
        name = decode(reference, 2 * DIGEST_SIZE)
        if name is None:
            return False
        with self._database.write() as connection:
            news = self.record(
                connection, provider, name[:DIGEST_SIZE], name[DIGEST_SIZE:], outcome
            )
        if news:
            self._metrics.deliveries.labels(provider, outcome.status).inc()
        return news

    def settle(self, connection: Connection, now: datetime) -> int:
        """Mark as `unknown` what a crash left queued."""
        result = connection.execute(
            update(Send)
            .where(Send.status == "queued", Send.created_at < now - SETTLED_AFTER)
            .values(status="unknown", updated_at=now)
        )
        return int(cast(Any, result).rowcount)
