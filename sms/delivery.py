"""Delivery: the status of each send, moved forward by answers, callbacks and receipts in any order.

This is the one state machine of all providers. Reports of another provider than the send's own, and signed
reports that were processed before, change nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Executable, and_, bindparam, case, func, select, update

from core.base64url import decode
from core.database import Database, dialect_of, insert_into, purge, table
from core.problems import Problem
from core.secrets import DIGEST_SIZE
from sms.metrics import SmsMetrics
from sms.models import Send, TakenReport
from sms.problems import CallbackDuplicate

#: A report never moves a send to a lower rank or within one; final statuses are equal.
STATUS_RANKS = {"queued": 0, "unknown": 1, "sent": 2, "delivered": 3, "undelivered": 3, "failed": 3}
#: A send that is queued for longer was cut off by a crash, and its outcome is unknown.
QUEUED_TIMEOUT = timedelta(minutes=5)
#: As long as sends are kept: not every provider's reports carry a timestamp.
REPORT_RETENTION = timedelta(days=30)
#: Bytes of a reference: the number's digest, then the send's id.
REFERENCE_SIZE = 2 * DIGEST_SIZE

_SENDS = table(Send)
#: The provider failed before it accepted the message.
NEVER_SENT = and_(
    _SENDS.c.status == "failed",
    _SENDS.c.price_micros == 0,
    _SENDS.c.provider_message_id.is_(None),
)


@dataclass(frozen=True)
class Outcome:
    """The known status of a send. `problem` is set if certainly nothing was sent."""

    status: str
    provider_message_id: str | None = None
    error_code: str | None = None
    problem: Problem | None = None


class VerifiedSend(NamedTuple):
    """The send that most likely delivered a code that was entered."""

    provider: str
    country: str
    channel: str
    first: bool
    created_at: datetime
    #: Whether no other send can have delivered it.
    certain: bool
    #: When the first send of the verification was queued.
    started_at: datetime


def lower_statuses(status: str) -> list[str]:
    """Return the statuses from which a send may move to this one."""
    return [other for other, rank in STATUS_RANKS.items() if rank < STATUS_RANKS[status]]


@cache
def _update_status(status: str, never_sent: bool) -> Executable:
    """Return the statement that moves a send forward to a status, from lower ones only."""
    columns = _SENDS.c
    error_code = bindparam("error", type_=columns.error_code.type)
    message_id = bindparam("message_id", type_=columns.provider_message_id.type)
    return (
        update(_SENDS)
        .where(
            columns.number_digest == bindparam("digest"),
            columns.id == bindparam("send_id"),
            columns.provider == bindparam("sent_by"),
            columns.status.in_(lower_statuses(status)),
        )
        .values(
            status=status,
            provider_message_id=func.coalesce(columns.provider_message_id, message_id),
            # An earlier error no longer matters once it is delivered.
            error_code=None
            if status == "delivered"
            else func.coalesce(error_code, columns.error_code),
            updated_at=bindparam("now"),
            **({"price_micros": 0} if never_sent else {}),
        )
        .returning(columns.country)
    )


SELECT_SENDS = select(
    _SENDS.c.id,
    _SENDS.c.status,
    _SENDS.c.provider,
    _SENDS.c.country,
    _SENDS.c.channel,
    _SENDS.c.first,
    _SENDS.c.created_at,
).where(
    _SENDS.c.number_digest == bindparam("number_digest"),
    _SENDS.c.verification_nonce == bindparam("verification_nonce"),
)
UPDATE_VERIFIED = (
    update(_SENDS)
    .where(_SENDS.c.number_digest == bindparam("digest"), _SENDS.c.id == bindparam("send_id"))
    .values(verified_at=bindparam("now"))
)
_UNDELIVERED = _SENDS.c.status.in_(lower_statuses("delivered"))
UPDATE_VERIFIED_AND_DELIVERED = UPDATE_VERIFIED.values(
    status=case((_UNDELIVERED, "delivered"), else_=_SENDS.c.status),
    error_code=case((_UNDELIVERED, None), else_=_SENDS.c.error_code),
    updated_at=bindparam("now"),
)


@cache
def _insert_report(dialect: str) -> Executable:
    """Return the statement that stores a report; it returns no row for a duplicate."""
    return (
        insert_into(dialect, TakenReport).on_conflict_do_nothing().returning(TakenReport.taken_at)
    )


@dataclass(frozen=True)
class DeliveryService:
    """Records the status of sends."""

    database: Database
    clock: Callable[[], datetime]
    metrics: SmsMetrics

    def record(
        self,
        connection: Connection,
        provider: str,
        number_digest: bytes,
        send_id: bytes,
        outcome: Outcome,
    ) -> bool:
        """Move a provider's send forward; return whether its status changed.

        Safe to repeat and to reorder: a later status is never replaced by an earlier one.
        """
        row = connection.execute(
            _update_status(outcome.status, outcome.problem is not None),
            {
                "digest": number_digest,
                "send_id": send_id,
                "sent_by": provider,
                "message_id": outcome.provider_message_id,
                "error": outcome.error_code,
                "now": self.clock(),
            },
        ).one_or_none()
        if row and outcome.status == "delivered":
            self.metrics.funnel.labels("delivered", row.country, provider).inc()
        return row is not None

    def report(
        self, provider: str, reference: str, outcome: Outcome, *, digest: bytes | None = None
    ) -> bool:
        """Record a provider's report on the send with a reference; return whether its status changed.

        A reference that names no send of this provider changes nothing. `digest` is the 32-byte digest of a
        signed report, stored in the same transaction; raises CallbackDuplicate if it was stored before.
        """
        name = decode(reference, REFERENCE_SIZE)
        if name is None:
            return False
        number_digest, send_id = name[:DIGEST_SIZE], name[DIGEST_SIZE:]
        with self.database.write() as connection:
            if digest is not None:
                self._store_report(connection, number_digest, digest)
            changed = self.record(connection, provider, number_digest, send_id, outcome)
        if changed:
            self.metrics.deliveries.labels(provider, outcome.status).inc()
        return changed

    def record_verified(
        self, connection: Connection, number_digest: bytes, verification_nonce: bytes
    ) -> VerifiedSend | None:
        """Mark the send that most likely delivered a verification's code as verified, and return it.

        If only one send can have delivered the code it is marked as delivered too; of several, the last one
        is verified and none is delivered. Returns None if the verification has no send.
        """
        key = {"number_digest": number_digest, "verification_nonce": verification_nonce}
        rows = connection.execute(SELECT_SENDS, key).all()
        arrived = [row for row in rows if row.status not in ("failed", "undelivered")]
        likely = max(arrived or rows, key=lambda row: row.created_at, default=None)
        if likely is None:
            return None
        certain = len(arrived) == 1
        connection.execute(
            UPDATE_VERIFIED_AND_DELIVERED if certain else UPDATE_VERIFIED,
            {"digest": number_digest, "send_id": likely.id, "now": self.clock()},
        )
        if certain and likely.status in lower_statuses("delivered"):
            self.metrics.funnel.labels("delivered", likely.country, likely.provider).inc()
        return VerifiedSend(*likely[2:], certain, min(row.created_at for row in rows))

    def _store_report(self, connection: Connection, number_digest: bytes, digest: bytes) -> None:
        row = {"number_digest": number_digest, "digest": digest, "taken_at": self.clock()}
        if connection.scalar(_insert_report(dialect_of(connection)), row) is None:
            raise CallbackDuplicate("It was processed when it first arrived; nothing has changed.")

    @staticmethod
    def purge_reports(connection: Connection, now: datetime) -> int:
        """Delete a batch of reports whose sends were deleted too."""
        return purge(connection, TakenReport, TakenReport.taken_at < now - REPORT_RETENTION)

    @staticmethod
    def settle(connection: Connection, now: datetime) -> int:
        """Mark sends that a crash left queued as `unknown`."""
        result = connection.execute(
            update(Send)
            .where(Send.status == "queued", Send.created_at < now - QUEUED_TIMEOUT)
            .values(status="unknown", updated_at=now)
        )
        return int(cast(Any, result).rowcount)
