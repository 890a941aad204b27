"""The send behind each SMSC message id, in the database: a receipt may arrive on any worker's bind.

A response and a receipt may arrive in either order. A receipt and the status that it changes are stored
together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Executable, case

from core.base64url import decode
from core.database import Database, insert_into, purge, table
from core.secrets import DIGEST_SIZE
from sms.delivery import DeliveryService, Outcome, lower_statuses
from sms.metrics import SmsMetrics
from sms.models import SmppMessage
from sms.smpp.receipts import Receipt

PROVIDER = "smpp"
#: SMSCs report within the validity of a message, or some days later.
RETENTION = timedelta(days=7)

_MESSAGES = table(SmppMessage)


@cache
def _upsert_send(dialect: str) -> Executable:
    """Return the statement that stores the send of an id and returns the status of earlier receipts.

    An id that an SMSC uses again names the newest send; earlier receipts are dropped.
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
def _upsert_status(dialect: str, status: str) -> Executable:
    """Return the statement that stores a receipt's status, unless it is lower, and returns its send."""
    inserting = insert_into(dialect, SmppMessage)
    columns, new = _MESSAGES.c, inserting.excluded
    forward = columns.status.is_(None) | columns.status.in_(lower_statuses(status))
    return inserting.on_conflict_do_update(
        index_elements=["message_id"],
        set_={
            "status": case((forward, new.status), else_=columns.status),
            "error_code": case((forward, new.error_code), else_=columns.error_code),
        },
    ).returning(columns.number_digest, columns.send_id)


@dataclass(frozen=True)
class SmppMessages:
    """Stores message ids and receipts, and updates sends."""

    database: Database
    clock: Callable[[], datetime]
    deliveries: DeliveryService
    metrics: SmsMetrics

    def record_response(
        self, canonical: str, message_id: str, reference: str, *, late: bool = False
    ) -> None:
        """Store the send of a message id, and apply receipts that arrived before the response.

        late: nobody waits for the response, so the send is marked as sent here too.
        """
        name = decode(reference, 2 * DIGEST_SIZE)
        if name is None:
            return
        send = (name[:DIGEST_SIZE], name[DIGEST_SIZE:])
        with self.database.write() as connection:
            earlier, error_code = self._execute(
                connection,
                _upsert_send(self.database.dialect),
                message_id=canonical,
                number_digest=send[0],
                send_id=send[1],
            ).one()
            status = earlier or ("sent" if late else None)
            if status is None:
                return
            outcome = Outcome(status, message_id, error_code)
            changed = self.deliveries.record(connection, PROVIDER, *send, outcome)
        if changed:
            self.metrics.deliveries.labels(PROVIDER, status).inc()

    def record_refusal(self, reference: str, error_code: str) -> None:
        """Record that the SMSC refused a send that nobody waits for."""
        self.deliveries.report(PROVIDER, reference, Outcome("failed", error_code=error_code))

    def record_receipt(self, receipt: Receipt) -> str:
        """Store a receipt and move its send forward, in one transaction.

        Returns `applied`, `unchanged`, or `early` if the id has no send yet.
        """
        if receipt.status is None:
            return "unchanged"
        failed = receipt.status in ("undelivered", "failed")
        outcome = Outcome(receipt.status, error_code=receipt.error_code if failed else None)
        with self.database.write() as connection:
            digest, send_id = self._execute(
                connection,
                _upsert_status(self.database.dialect, receipt.status),
                message_id=receipt.message_id,
                status=outcome.status,
                error_code=outcome.error_code,
            ).one()
            changed = digest is not None and self.deliveries.record(
                connection, PROVIDER, digest, send_id, outcome
            )
        if changed:
            self.metrics.deliveries.labels(PROVIDER, outcome.status).inc()
        return "early" if digest is None else "applied" if changed else "unchanged"

    def _execute(self, connection: Connection, statement: Executable, **values: object) -> Any:
        row = dict.fromkeys(_MESSAGES.columns.keys()) | values | {"created_at": self.clock()}
        return connection.execute(statement, row)

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of ids whose receipts are no longer expected."""
        return purge(connection, SmppMessage, SmppMessage.created_at < now - RETENTION)
