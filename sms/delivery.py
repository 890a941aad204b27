"""Delivery: how far each send is known to have come, whoever says so and in whatever order.

Owns the one state machine of all providers. A provider's answer, its callbacks and its receipts only move
a send forward. Refuses what another provider than the send's own says of it, and a signed report that
was taken before.
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

#: How far a send is known to have come; a report never moves it back (final states are equal).
RANK = {"queued": 0, "unknown": 1, "sent": 2, "delivered": 3, "undelivered": 3, "failed": 3}
#: A send that is still queued after this was cut off by a crash: nobody knows what became of it.
SETTLED_AFTER = timedelta(minutes=5)
#: As long as sends are kept: not every provider's reports say when they were signed.
REPORT_RETENTION = timedelta(days=30)
#: Bytes of a reference: the number's digest, then the send's id.
REFERENCE_SIZE = 2 * DIGEST_SIZE

_SENDS = table(Send)
#: Nothing was sent: its provider failed before it took it.
NEVER_SENT = and_(
    _SENDS.c.status == "failed",
    _SENDS.c.price_micros == 0,
    _SENDS.c.provider_message_id.is_(None),
)


@dataclass(frozen=True)
class Outcome:
    """What is known of a send. `failure` is set when for certain nothing was sent."""

    status: str
    provider_message_id: str | None = None
    error_code: str | None = None
    failure: Problem | None = None


class Proven(NamedTuple):
    """The send that a right code most likely came by."""

    provider: str
    country: str
    channel: str
    first: bool
    created_at: datetime
    #: Whether it can have come by no other.
    certain: bool
    #: When the first send of the verification was queued.
    began_at: datetime


def _before(status: str) -> list[str]:
    return [other for other, rank in RANK.items() if rank < RANK[status]]


@cache
def _recording(status: str, unsent: bool) -> Executable:
    """Write the statement that moves a send forward to a state, from those before it only."""
    columns = _SENDS.c
    error = bindparam("error", type_=columns.error_code.type)
    return (
        update(_SENDS)
        .where(
            columns.number_digest == bindparam("of"),
            columns.id == bindparam("send"),
            columns.provider == bindparam("by"),
            columns.status.in_(_before(status)),
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
            **({"price_micros": 0} if unsent else {}),
        )
        .returning(columns.country)
    )


_OF_VERIFICATION = select(
    _SENDS.c.id,
    _SENDS.c.status,
    _SENDS.c.provider,
    _SENDS.c.country,
    _SENDS.c.channel,
    _SENDS.c.first,
    _SENDS.c.created_at,
).where(
    _SENDS.c.number_digest == bindparam("of"),
    _SENDS.c.verification == bindparam("for_verification"),
)
_PROVING = (
    update(_SENDS)
    .where(_SENDS.c.number_digest == bindparam("of"), _SENDS.c.id == bindparam("send"))
    .values(verified_at=bindparam("now"))
)
_SETTLING = _PROVING.values(
    status=case((_SENDS.c.status.in_(_before("delivered")), "delivered"), else_=_SENDS.c.status),
    error_code=case((_SENDS.c.status.in_(_before("delivered")), None), else_=_SENDS.c.error_code),
    updated_at=bindparam("now"),
)


@cache
def _taking(dialect: str) -> Executable:
    """Write the statement that remembers a report, and gives no row when it was taken before."""
    statement = insert_into(dialect, TakenReport).values(
        number_digest=bindparam("of"), digest=bindparam("report"), taken_at=bindparam("now")
    )
    return statement.on_conflict_do_nothing().returning(TakenReport.taken_at)


class DeliveryService:
    """Keeps what becomes of each send."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime], metrics: SmsMetrics
    ) -> None:
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
        row = connection.execute(
            _recording(outcome.status, outcome.failure is not None),
            {
                "of": number_digest,
                "send": send_id,
                "by": provider,
                "message_id": outcome.provider_message_id,
                "error": outcome.error_code,
                "now": self._clock(),
            },
        ).one_or_none()
        if row and outcome.status == "delivered":
            self._metrics.funnel.labels("delivered", row.country, provider).inc()
        return row is not None

    def report(
        self, provider: str, reference: str, outcome: Outcome, *, once: bytes | None = None
    ) -> bool:
        """Take what a provider reports of the send it knows by a reference; say whether that was news.

        What tells nothing new changes nothing, and so does a reference that names no send of this
        provider. `once` is the 32-byte digest of a signed report, which is remembered together with
        the change; raises CallbackDuplicate when it was before.
        """
        name = decode(reference, REFERENCE_SIZE)
        if name is None:
            return False
        number_digest, send_id = name[:DIGEST_SIZE], name[DIGEST_SIZE:]
        with self._database.write() as connection:
            if once is not None:
                self._take_once(connection, number_digest, once)
            news = self.record(connection, provider, number_digest, send_id, outcome)
        if news:
            self._metrics.deliveries.labels(provider, outcome.status).inc()
        return news

    def prove(
        self, connection: Connection, number_digest: bytes, verification: bytes
    ) -> Proven | None:
        """Take a right code for what it says of a verification's sends; give the one that brought it.

        When several may have, the last of them is marked as verified, and none as delivered. None when
        the verification has no send.
        """
        rows = connection.execute(
            _OF_VERIFICATION, {"of": number_digest, "for_verification": verification}
        ).all()
        arrived = [row for row in rows if row.status not in ("failed", "undelivered")]
        likely = max(arrived or rows, key=lambda row: row.created_at, default=None)
        if likely is None:
            return None
        certain = len(arrived) == 1
        connection.execute(
            _SETTLING if certain else _PROVING,
            {"of": number_digest, "send": likely.id, "now": self._clock()},
        )
        if certain and likely.status in _before("delivered"):
            self._metrics.funnel.labels("delivered", likely.country, likely.provider).inc()
        return Proven(*likely[2:], certain, min(row.created_at for row in rows))

    def _take_once(self, connection: Connection, number_digest: bytes, report: bytes) -> None:
        taken = connection.scalar(
            _taking(dialect_of(connection)),
            {"of": number_digest, "report": report, "now": self._clock()},
        )
        if taken is None:
            raise CallbackDuplicate("It was taken when it came first; nothing was changed now.")

    @staticmethod
    def purge_reports(connection: Connection, now: datetime) -> int:
        """Forget a batch of reports whose sends are gone as well."""
        return purge(connection, TakenReport, TakenReport.taken_at < now - REPORT_RETENTION)

    def settle(self, connection: Connection, now: datetime) -> int:
        """Mark as `unknown` what a crash left queued."""
        result = connection.execute(
            update(Send)
            .where(Send.status == "queued", Send.created_at < now - SETTLED_AFTER)
            .values(status="unknown", updated_at=now)
        )
        return int(cast(Any, result).rowcount)
