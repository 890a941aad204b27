"""Former numbers: the id of a number in blocks and limits outlives the account that had it.

Whoever deletes an account and registers its number again keeps its blocks and limits. After 120 idle days
the number is recycled: it belongs to a new person, and the id is forgotten. The number itself is stored
only as a keyed digest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import cast
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, select

from core.database import PURGE_BATCH, dialect_of, insert_into, table
from core.secrets import Keyring
from tokens.events import AccountEvents
from tokens.models import FormerNumber

#: A number that was idle this long belongs to a new person.
RECYCLED_AFTER = timedelta(days=120)

_PURPOSE = "former-number"
_ROWS = table(FormerNumber).c
_DELETE_NUMBER = (
    delete(table(FormerNumber))
    .where(_ROWS.number_digest == bindparam("number_digest"))
    .returning(_ROWS.number_id, _ROWS.last_seen_at)
)


@cache
def _upsert_number(dialect: str) -> Executable:
    row = insert_into(dialect, FormerNumber)
    return row.on_conflict_do_update(
        index_elements=["number_digest"],
        set_={"number_id": row.excluded.number_id, "last_seen_at": row.excluded.last_seen_at},
    )


@dataclass(frozen=True)
class FormerNumbers:
    """Keeps the ids of numbers that lead to no account."""

    keyring: Keyring
    clock: Callable[[], datetime]
    events: AccountEvents

    def save(
        self, connection: Connection, e164: str, number_id: UUID, last_seen_at: datetime
    ) -> None:
        """Keep the id of a number that no longer leads to an account."""
        digest = self.keyring.digest(_PURPOSE, e164)
        values = {"number_digest": digest, "number_id": number_id, "last_seen_at": last_seen_at}
        connection.execute(_upsert_number(dialect_of(connection)), values)

    def take(self, connection: Connection, e164: str) -> UUID | None:
        """Return the id of a number that leads to an account from now on; None if there is none."""
        for digest in self.keyring.digests(_PURPOSE, e164):
            row = connection.execute(_DELETE_NUMBER, {"number_digest": digest}).one_or_none()
            if row is None:
                continue
            if self.clock() - row.last_seen_at < RECYCLED_AFTER:
                return cast(UUID, row.number_id)
            self.events.numbers_forgotten.emit(connection, [row.number_id])
        return None

    def purge(self, connection: Connection, now: datetime) -> int:
        """Forget a batch of recycled numbers; return how many."""
        batch = (
            select(_ROWS.number_digest)
            .where(_ROWS.last_seen_at <= now - RECYCLED_AFTER)
            .limit(PURGE_BATCH)
        )
        if connection.dialect.name == "postgresql":
            batch = batch.with_for_update(skip_locked=True)
        gone = connection.scalars(
            delete(table(FormerNumber))
            .where(_ROWS.number_digest.in_(batch))
            .returning(_ROWS.number_id)
        ).all()
        if gone:
            self.events.numbers_forgotten.emit(connection, gone)
        return len(gone)
