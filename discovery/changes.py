"""The log of directory changes (table `directory_changes`), and what a position in it means.

A change is logged in the transaction that makes it, after the directory's row was written. That row is
locked, so the numbers of one digest's changes are in the order of the changes.

Numbers are assigned before transactions commit: a reader that has seen 10 may see 9 later. So on PostgreSQL
a position is a transaction id: everything before it was seen completely, and what later ones wrote is read
again the next time, which is harmless. On SQLite writers are serialized, and a position is the next number.

Two cases reuse transaction ids. A standby that takes over assigns ids that the lost primary had used, on a
timeline of its own: a position is valid only in the `History` that it was read from. A server that recovers
from a crash assigns ids again of which nothing was on disk, as of a transaction that was rolled back: so a
position is at most the transaction after the newest change seen, whose commit was on disk before.
"""

from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Connection,
    Executable,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from core.database import PURGE_BATCH, dialect_of, table
from core.database_history import History, columns, read_history
from discovery.models import DirectoryChange, DiscoveryEpoch

#: How long changes are kept; snapshots are rebuilt before that.
RETENTION = timedelta(days=2)
#: A reader that is further behind reads the whole table.
MAX_READ = 250_000

_CHANGES = table(DirectoryChange).c
_EPOCHS = table(DiscoveryEpoch).c


class Change(NamedTuple):
    """A digest and the account it leads to from now on; None: nowhere."""

    seq: int
    digest: bytes
    account_id: UUID | None


class ChangeBatch(NamedTuple):
    """Unread changes, and the position to read from the next time."""

    changes: list[Change]
    position: int
    #: False: some unread changes were deleted, or they are too many; read the table.
    complete: bool


class LogMarker(NamedTuple):
    """A change of a random digest, which proves that a copy of the directory belongs to this log."""

    seq: int
    digest: bytes
    history: History


def current_transaction(dialect: str) -> ColumnElement[int]:
    """Return the id of the current transaction; 0 on SQLite."""
    if dialect == "sqlite":
        return literal(0, BigInteger)
    return cast(cast(func.pg_current_xact_id(), Text), BigInteger)


def oldest_transaction() -> ColumnElement[int]:
    """Return the id of PostgreSQL's oldest running transaction."""
    return cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Text), BigInteger)


@cache
def _insert_change(dialect: str) -> Executable:
    inserted = (
        table(DirectoryChange)
        .insert()
        .values(
            epoch=bindparam("epoch"),
            transaction_id=current_transaction(dialect),
            digest=bindparam("digest"),
            account_id=bindparam("account_id"),
            changed_at=bindparam("changed_at"),
        )
    )
    return inserted.returning(_CHANGES.seq)


def record(
    connection: Connection, epoch: int, digest: bytes, account_id: UUID | None, now: datetime
) -> int:
    """Log that a digest leads to an account or nowhere; return the number of the change.

    The transaction has locked or written the digest's row in the directory.
    """
    values = {"epoch": epoch, "digest": digest, "account_id": account_id, "changed_at": now}
    seq: int = connection.execute(_insert_change(dialect_of(connection)), values).scalar_one()
    return seq


def write_marker(connection: Connection, epoch: int, digest: bytes, now: datetime) -> LogMarker:
    """Log a change of a random digest, by which a copy of the directory is recognized."""
    history = read_history(connection)
    if history.cluster:
        _renumber(connection, epoch)
    return LogMarker(record(connection, epoch, digest, None, now), digest, history)


def has_marker(connection: Connection, marker: LogMarker) -> bool:
    """Return whether the log still has a marker: not after a failover, a restore, or its retention."""
    found = connection.execute(select(_CHANGES.digest).where(_CHANGES.seq == marker.seq))
    return (
        found.scalar_one_or_none() == marker.digest and read_history(connection) == marker.history
    )


def _renumber(connection: Connection, epoch: int) -> None:
    """Reset transaction ids of another cluster, which this database was restored from.

    They are recognized by being ahead of the current one. Nobody has read this log in this cluster yet.
    """
    current = current_transaction("postgresql")
    connection.execute(
        update(DirectoryChange)
        .where(DirectoryChange.epoch == epoch, DirectoryChange.transaction_id > current)
        .values(transaction_id=0)
    )
    connection.execute(
        update(DiscoveryEpoch)
        .where(DiscoveryEpoch.number == epoch, DiscoveryEpoch.forgotten > current)
        .values(forgotten=0)
    )


def position(connection: Connection, epoch: int) -> int:
    """Return the position from which a reader continues that reads the table after this statement."""
    if dialect_of(connection) == "sqlite":
        newest = select(func.coalesce(func.max(_CHANGES.seq), 0) + 1).where(
            _CHANGES.epoch == epoch, _CHANGES.transaction_id == 0
        )
        return int(connection.execute(newest).scalar_one())
    newest = select(func.coalesce(func.max(_CHANGES.transaction_id), 0) + 1).where(
        _CHANGES.epoch == epoch
    )
    begins = func.least(oldest_transaction(), newest.scalar_subquery())
    return int(connection.execute(select(begins)).scalar_one())


@cache
def _select_changes(dialect: str) -> Executable:
    """Return a statement that yields one row at least, with the position up to which rows are deleted."""
    position = bindparam("position", type_=BigInteger)
    if dialect == "sqlite":
        unread = and_(_CHANGES.transaction_id == 0, _CHANGES.seq >= position)
        begins: ColumnElement[int] = literal(0, BigInteger)
    else:
        unread, begins = _CHANGES.transaction_id >= position, oldest_transaction()
    change = (_CHANGES.transaction_id, _CHANGES.seq, _CHANGES.digest, _CHANGES.account_id)
    return (
        select(*columns(dialect), _EPOCHS.forgotten, begins, *change)
        .select_from(
            table(DiscoveryEpoch).outerjoin(
                table(DirectoryChange), and_(_CHANGES.epoch == _EPOCHS.number, unread)
            )
        )
        .where(_EPOCHS.number == bindparam("epoch"))
        .order_by(_CHANGES.seq)
        .limit(MAX_READ)
    )


def read_changes(
    connection: Connection, epoch: int, history: History, position: int
) -> ChangeBatch:
    """Return the changes of an epoch from a position on, in one statement that usually finds none."""
    dialect = dialect_of(connection)
    values = {"epoch": epoch, "position": position}
    rows = connection.execute(_select_changes(dialect), values).all()
    if not rows or History.of(*rows[0][:2]) != history:
        return ChangeBatch([], position, complete=False)
    forgotten, begins = rows[0][2:4]
    rows = [row for row in rows if row.seq is not None]
    changes = [Change(*row[5:]) for row in rows]
    if not changes:
        begins = position
    elif dialect == "sqlite":
        begins = changes[-1].seq + 1
    else:
        begins = min(begins, 1 + max(row.transaction_id for row in rows))
    complete = position > forgotten and len(rows) < MAX_READ
    return ChangeBatch(changes, max(begins, position), complete)


def purge(connection: Connection, now: datetime) -> int:
    """Delete a batch of old changes, and note their position for readers that have not seen them."""
    oldest = (
        select(_CHANGES.seq)
        .where(_CHANGES.changed_at < now - RETENTION)
        .order_by(_CHANGES.changed_at)
        .limit(PURGE_BATCH)
    )
    deleted = connection.execute(
        delete(DirectoryChange)
        .where(DirectoryChange.seq.in_(oldest))
        .returning(_CHANGES.epoch, _CHANGES.transaction_id, _CHANGES.seq)
    ).all()
    last: dict[int, int] = {}
    for row in deleted:
        last[row.epoch] = max(last.get(row.epoch, 0), row.transaction_id or row.seq)
    for epoch, latest in last.items():
        connection.execute(
            update(DiscoveryEpoch)
            .where(DiscoveryEpoch.number == epoch, DiscoveryEpoch.forgotten < latest)
            .values(forgotten=latest)
        )
    return len(deleted)
