"""The directory: which digest is which account, asked for a whole page at once.

Owns the table `directory_entries` and the statements on it. Refuses nothing: who may ask what is
judged before.
"""

from collections.abc import Sequence
from functools import cache
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, text

from core.database import dialect_of, insert_into
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
    return (
        insert_into(dialect, DirectoryEntry)
        .values(
            digest=bindparam("hash"), epoch=bindparam("salted"), account_id=bindparam("account")
        )
        .on_conflict_do_update(
            index_elements=["digest", "epoch"], set_={"account_id": bindparam("account")}
        )
    )


class Directory:
    """Finds digests in the table, in one statement a page."""

    def match(
        self, connection: Connection, epoch: int, digests: Sequence[bytes]
    ) -> dict[bytes, UUID]:
        """Give the account of each digest that has one in this epoch."""
        if not digests:
            return {}
        values: dict[str, int | bytes | str]
        if connection.dialect.name == "sqlite":
            values = {"epoch": epoch, "digests": b"".join(digests), "size": DIGEST_SIZE}
            rows = connection.execute(MATCH_SQLITE, values)
        else:
            values = {"epoch": epoch, "digests": _array_literal(digests)}
            rows = connection.execute(MATCH_POSTGRESQL, values)
        return {row.digest: row.account_id for row in rows}

    def list_account(
        self, connection: Connection, epoch: int, digest: bytes, account_id: UUID
    ) -> None:
        """Let a digest lead to an account, whatever it led to before."""
        connection.execute(
            _listing(dialect_of(connection)),
            {"hash": digest, "salted": epoch, "account": account_id},
        )

    def unlist(self, connection: Connection, epoch: int, digest: bytes, account_id: UUID) -> None:
        """Let a digest lead nowhere, unless it already leads to another account."""
        connection.execute(
            delete(DirectoryEntry).where(
                DirectoryEntry.digest == digest,
                DirectoryEntry.epoch == epoch,
                DirectoryEntry.account_id == account_id,
            )
        )


def _array_literal(digests: Sequence[bytes]) -> str:
    return "{" + ",".join([rf'"\\x{digest.hex()}"' for digest in digests]) + "}"
