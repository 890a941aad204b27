"""The truth of the directory: which digest is which account, as rows.

Owns the table `directory_entries`, the statements on it, and that each change of it is in the log.
Refuses nothing: who may ask what is judged before.
"""

from datetime import datetime
from functools import cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, text

from core.database import dialect_of, insert_into, table
from discovery import changes
from discovery.hashes import DIGEST_SIZE
from discovery.models import DirectoryEntry

_COLUMNS = (DirectoryEntry.digest, DirectoryEntry.account_id)

# As one text literal: psycopg takes four times as long to adapt 10,000 bytes objects.
MATCH_POSTGRESQL = text(
    "SELECT digest, account_id FROM directory_entries"
    " WHERE epoch = :epoch AND digest = ANY(CAST(:digests AS bytea[]))"
).columns(*_COLUMNS)

# As one blob that SQLite cuts itself: no limit of variables, and a statement that is compiled once.
# IN and not a join, for which SQLite after ANALYZE builds a Bloom filter over the whole table.
MATCH_SQLITE = text(
    "WITH RECURSIVE page(start) AS"
    " (SELECT 1 UNION ALL SELECT start + :size FROM page WHERE start + :size <= length(:digests))"
    " SELECT digest, account_id FROM directory_entries"
    " WHERE digest IN (SELECT substr(:digests, start, :size) FROM page) AND epoch = :epoch"
).columns(*_COLUMNS)


@cache
def _listing(dialect: str) -> Executable:
    entries = table(DirectoryEntry)
    return (
        insert_into(dialect, DirectoryEntry)
        .values(
            digest=bindparam("hash"), epoch=bindparam("salted"), account_id=bindparam("account")
        )
        .on_conflict_do_update(
            index_elements=["digest", "epoch"],
            set_={"account_id": bindparam("account")},
            where=entries.c.account_id != bindparam("account"),
        )
        .returning(entries.c.account_id)
    )


_UNLISTING = delete(table(DirectoryEntry)).where(
    table(DirectoryEntry).c.digest == bindparam("hash"),
    table(DirectoryEntry).c.epoch == bindparam("salted"),
    table(DirectoryEntry).c.account_id == bindparam("account"),
)


def match(connection: Connection, epoch: int, digests: bytes) -> dict[bytes, UUID]:
    """Give the account of each digest that has one in this epoch, in one statement.

    digests: one after the other.
    """
    if not digests:
        return {}
    values: dict[str, int | bytes | str] = {"epoch": epoch}
    if connection.dialect.name == "sqlite":
        rows = connection.execute(MATCH_SQLITE, values | {"digests": digests, "size": DIGEST_SIZE})
    else:
        rows = connection.execute(MATCH_POSTGRESQL, values | {"digests": _array_literal(digests)})
    return {row.digest: row.account_id for row in rows}


def list_account(
    connection: Connection, epoch: int, digest: bytes, account_id: UUID, now: datetime
) -> None:
    """Let a digest lead to an account, whatever it led to before."""
    values = {"hash": digest, "salted": epoch, "account": account_id}
    if connection.execute(_listing(dialect_of(connection)), values).one_or_none() is not None:
        changes.record(connection, epoch, digest, account_id, now)


def unlist(
    connection: Connection, epoch: int, digest: bytes, account_id: UUID, now: datetime
) -> None:
    """Let a digest lead nowhere, unless it already leads to another account."""
    values = {"hash": digest, "salted": epoch, "account": account_id}
    if cast(Any, connection.execute(_UNLISTING, values)).rowcount:
        changes.record(connection, epoch, digest, None, now)


def _array_literal(digests: bytes) -> str:
    text = digests.hex()
    size = 2 * DIGEST_SIZE
    return "{" + ",".join([rf'"\\x{text[i : i + size]}"' for i in range(0, len(text), size)]) + "}"
