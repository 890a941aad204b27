"""Rows of the directory, the table `directory_entries`; every change of them is logged (changes.py)."""

from datetime import datetime
from functools import cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, text

from core.database import dialect_of, insert_into, table
from discovery import changes
from discovery.digests import DIGEST_SIZE
from discovery.models import DirectoryEntry

_ENTRIES = table(DirectoryEntry).c
_COLUMNS = (DirectoryEntry.digest, DirectoryEntry.account_id)

# As one text literal: psycopg takes four times as long to adapt 10,000 bytes objects.
SELECT_MATCHES_POSTGRESQL = text(
    "SELECT digest, account_id FROM directory_entries"
    " WHERE epoch = :epoch AND digest = ANY(CAST(:digests AS bytea[]))"
).columns(*_COLUMNS)

# As one blob that SQLite cuts itself: no limit of variables, and a statement that is compiled once.
# IN and not a join, for which SQLite after ANALYZE builds a Bloom filter over the whole table.
SELECT_MATCHES_SQLITE = text(
    "WITH RECURSIVE page(start) AS"
    " (SELECT 1 UNION ALL SELECT start + :size FROM page WHERE start + :size <= length(:digests))"
    " SELECT digest, account_id FROM directory_entries"
    " WHERE digest IN (SELECT substr(:digests, start, :size) FROM page) AND epoch = :epoch"
).columns(*_COLUMNS)

_DELETE_ENTRY = delete(table(DirectoryEntry)).where(
    _ENTRIES.digest == bindparam("digest"),
    _ENTRIES.epoch == bindparam("epoch"),
    _ENTRIES.account_id == bindparam("account_id"),
)


@cache
def _upsert_entry(dialect: str) -> Executable:
    row = insert_into(dialect, DirectoryEntry)
    return row.on_conflict_do_update(
        index_elements=["digest", "epoch"],
        set_={"account_id": row.excluded.account_id},
        where=_ENTRIES.account_id != row.excluded.account_id,
    ).returning(_ENTRIES.account_id)


def match(connection: Connection, epoch: int, digests: bytes) -> dict[bytes, UUID]:
    """Return the account of each of the concatenated digests that has one, in one statement."""
    if not digests:
        return {}
    values: dict[str, int | bytes | str] = {"epoch": epoch}
    if connection.dialect.name == "sqlite":
        values |= {"digests": digests, "size": DIGEST_SIZE}
        rows = connection.execute(SELECT_MATCHES_SQLITE, values)
    else:
        values["digests"] = _array_literal(digests)
        rows = connection.execute(SELECT_MATCHES_POSTGRESQL, values)
    return {row.digest: row.account_id for row in rows}


def upsert(
    connection: Connection, epoch: int, digest: bytes, account_id: UUID, now: datetime
) -> None:
    """Make a digest lead to an account, whatever it led to before."""
    values = {"digest": digest, "epoch": epoch, "account_id": account_id}
    if connection.execute(_upsert_entry(dialect_of(connection)), values).one_or_none() is not None:
        changes.record(connection, epoch, digest, account_id, now)


def remove(
    connection: Connection, epoch: int, digest: bytes, account_id: UUID, now: datetime
) -> None:
    """Remove the entry of a digest, unless it leads to another account by now."""
    values = {"digest": digest, "epoch": epoch, "account_id": account_id}
    if cast(Any, connection.execute(_DELETE_ENTRY, values)).rowcount:
        changes.record(connection, epoch, digest, None, now)


def _array_literal(digests: bytes) -> str:
    text = digests.hex()
    size = 2 * DIGEST_SIZE
    return "{" + ",".join([rf'"\\x{text[i : i + size]}"' for i in range(0, len(text), size)]) + "}"
