"""Known numbers: those of an account, and those that were verified in the last year.

Budgets keep a reserve for them, so that strangers cannot lock their owners out. Each lookup is one statement
on one shard, made only if somebody would be refused otherwise.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection, Executable, bindparam, select

from core.database import dialect_of, insert_into, purge, table
from tokens.models import AccountNumber
from verification.policy.models import ProvenNumber

RETENTION = timedelta(days=365)
#: Age at which the row of a number is written again.
REFRESH_AFTER = timedelta(days=1)

_NUMBERS = table(ProvenNumber)
SELECT_ACCOUNT = select(table(AccountNumber).c.account_id).where(
    table(AccountNumber).c.e164 == bindparam("e164")
)
SELECT_PROVEN = select(_NUMBERS.c.proven_at).where(
    _NUMBERS.c.number_digest == bindparam("number_digest")
)


def is_known(connection: Connection, e164: str, digests: Sequence[bytes]) -> bool:
    """Return whether a number has an account or was verified in the last year.

    digests: the number's, under every accepted secret.
    """
    if connection.execute(SELECT_ACCOUNT, {"e164": e164}).first():
        return True
    return any(
        connection.execute(SELECT_PROVEN, {"number_digest": digest}).first() for digest in digests
    )


def remember_proven(connection: Connection, number_digest: bytes, now: datetime) -> None:
    """Store that a number was verified."""
    connection.execute(
        _insert_proven(dialect_of(connection)),
        {"number_digest": number_digest, "proven_at": now, "stale": now - REFRESH_AFTER},
    )


@cache
def _insert_proven(dialect: str) -> Executable:
    statement = insert_into(dialect, ProvenNumber).values(
        number_digest=bindparam("number_digest"), proven_at=bindparam("proven_at")
    )
    return statement.on_conflict_do_update(
        index_elements=["number_digest"],
        set_={"proven_at": statement.excluded.proven_at},
        where=_NUMBERS.c.proven_at < bindparam("stale"),
    )


def purge_proven(connection: Connection, now: datetime) -> int:
    """Delete a batch of numbers that were not verified for a year."""
    return purge(connection, ProvenNumber, ProvenNumber.proven_at < now - RETENTION)
