"""Known numbers: those of an account, and those that were verified in the last year.

Budgets keep a share for them, so that strangers cannot lock owners out. Each question is one statement
that touches one shard, asked only when somebody would be refused otherwise.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection, Executable, bindparam, select

from core.database import dialect_of, insert_into, purge, table
from tokens.models import AccountNumber
from verification.policy.models import ProvenNumber

RETENTION = timedelta(days=365)
#: How old the note of a number may become before it is written again.
NOTED_AGAIN_AFTER = timedelta(days=1)

_NUMBERS = table(ProvenNumber)
_HAS_ACCOUNT = select(table(AccountNumber).c.account_id).where(
    table(AccountNumber).c.e164 == bindparam("number")
)
_WAS_PROVEN = select(_NUMBERS.c.proven_at).where(_NUMBERS.c.number_digest == bindparam("digest"))


def is_known(connection: Connection, e164: str, digests: Sequence[bytes]) -> bool:
    """Say whether a number has an account or was verified before.

    digests: the number's, under every accepted secret.
    """
    if connection.execute(_HAS_ACCOUNT, {"number": e164}).first():
        return True
    return any(connection.execute(_WAS_PROVEN, {"digest": digest}).first() for digest in digests)


def note_proven(connection: Connection, number_digest: bytes, now: datetime) -> None:
    """Remember that a number was verified."""
    connection.execute(
        _noting(dialect_of(connection)),
        {"digest": number_digest, "now": now, "stale": now - NOTED_AGAIN_AFTER},
    )


@cache
def _noting(dialect: str) -> Executable:
    return (
        insert_into(dialect, ProvenNumber)
        .values(number_digest=bindparam("digest"), proven_at=bindparam("now"))
        .on_conflict_do_update(
            index_elements=["number_digest"],
            set_={"proven_at": bindparam("now")},
            where=_NUMBERS.c.proven_at < bindparam("stale"),
        )
    )


def purge_proven(connection: Connection, now: datetime) -> int:
    """Delete a batch of numbers that were not verified for a year."""
    return purge(connection, ProvenNumber, ProvenNumber.proven_at < now - RETENTION)
