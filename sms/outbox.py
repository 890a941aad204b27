"""The mock provider: texts are kept in the database, where tests and developers read them.

Owns the outbox table. Refused at start in production, because it shows every code.
"""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select

from core.database import Database, find_all, table
from sms.models import OutboxMessage
from sms.provider import BOTH, SmsMessage

MAX_SHOWN = 100
_OUTBOX = table(OutboxMessage)
_STORING = _OUTBOX.insert().returning(_OUTBOX.c.id)


class OutboxProvider:
    """Keeps each message durably instead of sending it."""

    name = "outbox"
    channels = BOTH

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def send(self, message: SmsMessage) -> str:
        """Store the message and give its row's number."""
        stored = {
            "to": message.to,
            "body": message.body,
            "channel": message.channel,
            "sent_at": self._clock(),
        }
        with self._database.write() as connection:
            return str(connection.scalar(_STORING, stored))

    def read(self, to: str | None, limit: int = MAX_SHOWN) -> list[OutboxMessage]:
        """Give the newest messages first, of one number or of all."""
        query = select(*_OUTBOX.columns).order_by(_OUTBOX.c.id.desc()).limit(limit)
        if to is not None:
            query = query.where(_OUTBOX.c.to == to)
        with self._database.read() as connection:
            return find_all(connection, OutboxMessage, query)
