"""Whose message an SMSC's id names, kept in the database: a receipt may come in on any worker's bind.

Owns the table `smpp_messages`. An answer and a receipt find each other whichever comes first, and what a
receipt says is on disk together with what it changes of the send.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Executable, case

from core.base64url import decode
from core.database import Database, insert_into, purge, table
from core.secrets import DIGEST_SIZE
from sms.delivery import STATUS_RANKS, DeliveryService, Outcome
from sms.metrics import SmsMetrics
from sms.models import SmppMessage
from sms.smpp_receipts import Receipt

PROVIDER = "smpp"
#: SMSCs tell what became of a message within its validity, and some days later at the latest.
RETENTION = timedelta(days=7)

_MESSAGES = table(SmppMessage)


@cache
def _naming(dialect: str) -> Executable:
    """Write the statement that keeps which send an id names, and gives what receipts said before.

    An SMSC that counts anew gives an id again: it names the newest send, and what was said is forgotten.
    """
    inserting = insert_into(dialect, SmppMessage)
    columns, new = _MESSAGES.c, inserting.excluded
    ours = columns.send_id.is_(None) | (columns.send_id == new.send_id)
    return inserting.on_conflict_do_update(
        index_elements=["message_id"],
        set_={
            "number_digest": new.number_digest,
            "send_id": new.send_id,
            "status": case((ours, columns.status), else_=None),
            "error_code": case((ours, columns.error_code), else_=None),
            "created_at": new.created_at,
        },
    ).returning(columns.status, columns.error_code)


@cache
def _telling(dialect: str, status: str) -> Executable:
    """Write the statement that keeps what a receipt says, unless more is known, and finds its send."""
    inserting = insert_into(dialect, SmppMessage)
    columns, new = _MESSAGES.c, inserting.excluded
    earlier = [other for other, rank in STATUS_RANKS.items() if rank < STATUS_RANKS[status]]
    forward = columns.status.is_(None) | columns.status.in_(earlier)
    return inserting.on_conflict_do_update(
        index_elements=["message_id"],
        set_={
            "status": case((forward, new.status), else_=columns.status),
            "error_code": case((forward, new.error_code), else_=columns.error_code),
        },
    ).returning(columns.number_digest, columns.send_id)


class SmppMessages:
    """Brings receipts and sends together."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        deliveries: DeliveryService,
        metrics: SmsMetrics,
    ) -> None:
        self._database = database
        self._clock = clock
        self._deliveries = deliveries
        self._metrics = metrics

    def record_response(
        self, canonical: str, message_id: str, reference: str, *, late: bool = False
    ) -> None:
        """Keep which send the SMSC took under an id, and apply the receipts that overtook the answer.

        late: nobody waits for the answer any more, so that the SMSC has it is recorded here too.
        """
        name = decode(reference, 2 * DIGEST_SIZE)
        if name is None:
            return
        send = (name[:DIGEST_SIZE], name[DIGEST_SIZE:])
        with self._database.write() as connection:
            told, error_code = self._execute(
                connection,
                _naming(self._database.dialect),
                message_id=canonical,
                number_digest=send[0],
                send_id=send[1],
            ).one()
            status = told or ("sent" if late else None)
            if status is None:
                return
            outcome = Outcome(status, message_id, error_code)
            news = self._deliveries.record(connection, PROVIDER, *send, outcome)
        if news:
            self._metrics.deliveries.labels(PROVIDER, status).inc()

    def record_refusal(self, reference: str, error_code: str) -> None:
        """Record that the SMSC refused a send that nobody waits for any more."""
        self._deliveries.report(PROVIDER, reference, Outcome("failed", error_code=error_code))

    def record_receipt(self, receipt: Receipt) -> str:
        """Keep what a receipt says and move its send forward, in one transaction.

        Says what it was: `news`, `repeated`, or `early` when no send is known by that id yet.
        """
        if receipt.status is None:
            return "unchanged"
        failed = receipt.status in ("undelivered", "failed")
        outcome = Outcome(receipt.status, error_code=receipt.error_code if failed else None)
        with self._database.write() as connection:
            digest, send_id = self._execute(
                connection,
                _telling(self._database.dialect, receipt.status),
                message_id=receipt.message_id,
                status=outcome.status,
                error_code=outcome.error_code,
            ).one()
            news = digest is not None and self._deliveries.record(
                connection, PROVIDER, digest, send_id, outcome
            )
        if news:
            self._metrics.deliveries.labels(PROVIDER, outcome.status).inc()
        return "early" if digest is None else "applied" if news else "unchanged"

    def _execute(self, connection: Connection, statement: Executable, **values: object) -> Any:
        row = dict.fromkeys(_MESSAGES.columns.keys()) | values | {"created_at": self._clock()}
        return connection.execute(statement, row)

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of ids that no receipt is to be expected for any more."""
        return purge(connection, SmppMessage, SmppMessage.created_at < now - RETENTION)
