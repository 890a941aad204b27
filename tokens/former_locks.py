"""Former locks: a registration lock guards its number after the account left that, until it would lapse.

Or whoever stole a device's token would delete the account, or move it to another number, and register the
number without its PIN. The number itself is kept as a keyed digest only.
"""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from uuid import UUID

from sqlalchemy import Connection, Executable, RowMapping, bindparam, delete, select

from core.database import dialect_of, insert_into, purge, table
from core.secrets import Keyring
from tokens.models import FormerLock

_PURPOSE = "former-lock"
_ROWS = table(FormerLock).c
_READING = select(_ROWS.account_id, _ROWS.pin_hash, _ROWS.lapses_at).where(
    _ROWS.number_digest == bindparam("digest")
)
_FORGETTING = delete(table(FormerLock)).where(_ROWS.number_digest == bindparam("digest"))


@cache
def _keeping(dialect: str) -> Executable:
    row = insert_into(dialect, FormerLock).values(
        number_digest=bindparam("digest"),
        account_id=bindparam("account"),
        pin_hash=bindparam("pin_hash"),
        lapses_at=bindparam("lapses_at"),
    )
    names = ("account_id", "pin_hash", "lapses_at")
    return row.on_conflict_do_update(
        index_elements=["number_digest"], set_={name: row.excluded[name] for name in names}
    )


class FormerLocks:
    """Keeps the locks of numbers that lead to no account."""

    def __init__(self, keyring: Keyring, clock: Callable[[], datetime]) -> None:
        self._keyring = keyring
        self._clock = clock

    def keep(
        self,
        connection: Connection,
        e164: str,
        account_id: UUID,
        pin_hash: str,
        lapses_at: datetime,
    ) -> None:
        """Guard a number that leads to no account from now on, until `lapses_at`."""
        values = {
            "digest": self._keyring.digest(_PURPOSE, e164),
            "account": account_id,
            "pin_hash": pin_hash,
            "lapses_at": lapses_at,
        }
        connection.execute(_keeping(dialect_of(connection)), values)

    def read(self, connection: Connection, e164: str) -> RowMapping | None:
        """Give account_id, pin_hash and lapses_at of the lock that guards a number now, if one does."""
        for digest in self._keyring.digests(_PURPOSE, e164):
            row = connection.execute(_READING, {"digest": digest}).mappings().one_or_none()
            if row is not None and row["lapses_at"] > self._clock():
                return row
        return None

    def forget(self, connection: Connection, e164: str) -> None:
        """Guard a number no longer, because it leads to an account again."""
        for digest in self._keyring.digests(_PURPOSE, e164):
            connection.execute(_FORGETTING, {"digest": digest})

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of locks that have lapsed."""
        return purge(connection, FormerLock, FormerLock.lapses_at < now)
