"""Former numbers: what stands for a number in blocks and limits outlives the account that it led to.

Blocks and limits belong to the number: whoever deletes an account and registers the number again goes on with
them. A number is its holder's until it was idle for 120 days; then it is a new person's, and what it owed is
forgotten. The number itself is kept as a keyed digest only.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import cast
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, select

from core.database import PURGE_BATCH, dialect_of, insert_into, table
from core.secrets import Keyring
from tokens.events import AccountEvents
from tokens.models import FormerNumber

#: A number that nobody used for so long is a new person's.
RECYCLED_AFTER = timedelta(days=120)

_PURPOSE = "former-number"
_ROWS = table(FormerNumber).c
_TAKING = (
    delete(table(FormerNumber))
    .where(_ROWS.number_digest == bindparam("digest"))
    .returning(_ROWS.number_id, _ROWS.last_seen_at)
)


@cache
def _keeping(dialect: str) -> Executable:
    row = insert_into(dialect, FormerNumber).values(
        number_digest=bindparam("digest"),
        number_id=bindparam("number"),
        last_seen_at=bindparam("seen"),
    )
    return row.on_conflict_do_update(
        index_elements=["number_digest"],
        set_={"number_id": row.excluded.number_id, "last_seen_at": row.excluded.last_seen_at},
    )


class FormerNumbers:
    """Keeps what stands for a number while it leads to no account."""

    def __init__(
        self, keyring: Keyring, clock: Callable[[], datetime], events: AccountEvents
    ) -> None:
        self._keyring = keyring
        self._clock = clock
        self._events = events

    def keep(
        self, connection: Connection, e164: str, number_id: UUID, last_seen_at: datetime
    ) -> None:
        """Keep what stands for a number that leads to no account from now on."""
        digest = self._keyring.digest(_PURPOSE, e164)
        values = {"digest": digest, "number": number_id, "seen": last_seen_at}
        connection.execute(_keeping(dialect_of(connection)), values)

    def take(self, connection: Connection, e164: str) -> UUID | None:
        """Give what stands for a number that leads to an account from now on; None: nothing did."""
        for digest in self._keyring.digests(_PURPOSE, e164):
            row = connection.execute(_TAKING, {"digest": digest}).one_or_none()
            if row is None:
                continue
            if self._clock() - row.last_seen_at < RECYCLED_AFTER:
                return cast(UUID, row.number_id)
            self._events.forget_numbers(connection, [row.number_id])
        return None

    def purge(self, connection: Connection, now: datetime) -> int:
        """Forget a batch of numbers that were idle for so long that they are a new person's."""
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
        self._events.forget_numbers(connection, gone)
        return len(gone)
