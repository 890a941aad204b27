"""The mock provider: it stores messages in the database, where developers and tests read them.

Production refuses to start with it, because it shows every code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from core.database import Database, find_all, table
from sms.models import OutboxMessage
from sms.provider import BOTH, Channel, SmsMessage

MAX_LISTED = 100
_OUTBOX = table(OutboxMessage)
INSERT_MESSAGE = _OUTBOX.insert().returning(_OUTBOX.c.id)


@dataclass
class OutboxProvider:
    """Stores each message instead of sending it."""

    database: Database
    clock: Callable[[], datetime]
    name: str = "outbox"
    channels: frozenset[Channel] = BOTH

    def send(self, message: SmsMessage) -> str:
        """Store the message and return the number of its row."""
        stored = {
            "to": message.to,
            "body": message.body,
            "channel": message.channel,
            "sent_at": self.clock(),
        }
        with self.database.write() as connection:
            return str(connection.scalar(INSERT_MESSAGE, stored))

    def read(self, to: str | None, limit: int = MAX_LISTED) -> list[OutboxMessage]:
        """Return the newest messages first, of one number or of all."""
        query = select(*_OUTBOX.columns).order_by(_OUTBOX.c.id.desc()).limit(limit)
        if to is not None:
            query = query.where(_OUTBOX.c.to == to)
        with self.database.read() as connection:
            return find_all(connection, OutboxMessage, query)
