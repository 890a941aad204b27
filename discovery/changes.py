"""The log of changes: who became findable or ceased to be, in an order that a reader can rely on.

Owns the table `directory_changes` and what a position in it means. A change is written in the
transaction that makes it, after the directory's row was written: whoever changes a digest holds its
row, so the numbers of one digest's changes are in the order in which they came about.

Numbers are given out before transactions commit: a reader that has seen 10 may see 9 later. So on
PostgreSQL a position is no number, it is a transaction: all before it were seen whole, and what later
ones wrote is read again the next time. Reading a change twice is harmless. On SQLite writers are one after
the other, and a position is the next number.

Two things keep a transaction from being taken for another one of the same id. A standby that takes over
gives out ids again that the lost primary had used, on a timeline of its own: a position means something
only in the `History` that it was read from. A server that crashes and recovers gives out ids again of which
nothing had reached its disk, as of a transaction that was rolled back: so a position is at most the
transaction after the newest change that was seen, whose commit was on disk before anybody saw it.
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

#: How long changes are kept; a snapshot is made anew before that.
RETENTION = timedelta(days=2)
#: A reader that is further behind than this reads the table anew.
MAX_READ = 250_000

_CHANGES = table(DirectoryChange).c
_EPOCHS = table(DiscoveryEpoch).c


class Change(NamedTuple):
    """One digest and the account it leads to since; None: nowhere."""

    seq: int
    digest: bytes
    account_id: UUID | None


class ChangeBatch(NamedTuple):
    """What a reader had not seen, and from where it reads the next time."""

    changes: list[Change]
    position: int
    #: False: some of what it had not seen is deleted, or it is too much; the table is to be read.
    complete: bool


class LogMarker(NamedTuple):
    """A change that changes nothing, of a digest that is nobody's: it proves whose log this is."""

    seq: int
    digest: bytes
    history: History


def current_transaction(dialect: str) -> ColumnElement[int]:
    """Name the transaction at hand; 0 on SQLite, which needs no names."""
    if dialect == "sqlite":
        return literal(0, BigInteger)
    return cast(cast(func.pg_current_xact_id(), Text), BigInteger)


def oldest_transaction() -> ColumnElement[int]:
    """Name the oldest transaction of PostgreSQL that has not ended."""
    return cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Text), BigInteger)


@cache
def _recording(dialect: str) -> Executable:
    return (
        table(DirectoryChange)
        .insert()
        .values(
            epoch=bindparam("of"),
            transaction_id=current_transaction(dialect),
            digest=bindparam("hash"),
            account_id=bindparam("leads_to"),
            changed_at=bindparam("now"),
        )
        .returning(_CHANGES.seq)
    )


def record(
    connection: Connection, epoch: int, digest: bytes, account_id: UUID | None, now: datetime
) -> int:
    """Write down that a digest leads to an account or nowhere; give the number of the change.

    The transaction holds the digest's row in the directory already, or wrote there.
    """
    values = {"of": epoch, "hash": digest, "leads_to": account_id, "now": now}
    seq: int = connection.execute(_recording(dialect_of(connection)), values).scalar_one()
    return seq


def write_marker(connection: Connection, epoch: int, digest: bytes, now: datetime) -> LogMarker:
    """Leave a change of a random digest in the log, which a copy of the directory is known by."""
    history = read_history(connection)
    if history.cluster:
        _renumber(connection, epoch)
    return LogMarker(record(connection, epoch, digest, None, now), digest, history)


def holds(connection: Connection, anchor: LogMarker) -> bool:
    """Say whether the log still has an anchor: not after a failover, when it was set back, or much later."""
    found = connection.execute(select(_CHANGES.digest).where(_CHANGES.seq == anchor.seq))
    return (
        found.scalar_one_or_none() == anchor.digest and read_history(connection) == anchor.history
    )


def _renumber(connection: Connection, epoch: int) -> None:
    """Forget transactions of another cluster, which this one was restored from and which are over.

    They are known by being ahead of the present one. Nobody has read this log in this cluster yet.
    """
    present = current_transaction("postgresql")
    connection.execute(
        update(DirectoryChange)
        .where(DirectoryChange.epoch == epoch, DirectoryChange.transaction_id > present)
        .values(transaction_id=0)
    )
    connection.execute(
        update(DiscoveryEpoch)
        .where(DiscoveryEpoch.number == epoch, DiscoveryEpoch.forgotten > present)
        .values(forgotten=0)
    )


def position(connection: Connection, epoch: int) -> int:
    """Say where a reader begins who reads the table after this statement."""
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
def _reading(dialect: str) -> Executable:
    """Write the statement that gives one row at least, and in it what deleting has forgotten."""
    after = bindparam("after", type_=BigInteger)
    if dialect == "sqlite":
        unseen = and_(_CHANGES.transaction_id == 0, _CHANGES.seq >= after)
        begins: ColumnElement[int] = literal(0, BigInteger)
    else:
        unseen, begins = _CHANGES.transaction_id >= after, oldest_transaction()
    change = (_CHANGES.transaction_id, _CHANGES.seq, _CHANGES.digest, _CHANGES.account_id)
    return (
        select(*columns(dialect), _EPOCHS.forgotten, begins, *change)
        .select_from(
            table(DiscoveryEpoch).outerjoin(
                table(DirectoryChange), and_(_CHANGES.epoch == _EPOCHS.number, unseen)
            )
        )
        .where(_EPOCHS.number == bindparam("of"))
        .order_by(_CHANGES.seq)
        .limit(MAX_READ)
    )


def read_changes(connection: Connection, epoch: int, history: History, after: int) -> ChangeBatch:
    """Give the changes of an epoch from a position on: one statement, which usually finds none."""
    dialect = dialect_of(connection)
    rows = connection.execute(_reading(dialect), {"of": epoch, "after": after}).all()
    if not rows or History.of(*rows[0][:2]) != history:
        return ChangeBatch([], after, complete=False)
    forgotten, begins = rows[0][2:4]
    rows = [row for row in rows if row.seq is not None]
    changes = [Change(*row[5:]) for row in rows]
    if not changes:
        begins = after
    elif dialect == "sqlite":
        begins = changes[-1].seq + 1
    else:
        begins = min(begins, 1 + max(row.transaction_id for row in rows))
    complete = after > forgotten and len(rows) < MAX_READ
    return ChangeBatch(changes, max(begins, after), complete)


def purge(connection: Connection, now: datetime) -> int:
    """Delete a batch of old changes, and note it for those who have not read them."""
    oldest = (
        select(_CHANGES.seq)
        .where(_CHANGES.changed_at < now - RETENTION)
        .order_by(_CHANGES.changed_at)
        .limit(PURGE_BATCH)
    )
    gone = connection.execute(
        delete(DirectoryChange)
        .where(DirectoryChange.seq.in_(oldest))
        .returning(_CHANGES.epoch, _CHANGES.transaction_id, _CHANGES.seq)
    ).all()
    last: dict[int, int] = {}
    for row in gone:
        last[row.epoch] = max(last.get(row.epoch, 0), row.transaction_id or row.seq)
    for epoch, latest in last.items():
        connection.execute(
            update(DiscoveryEpoch)
            .where(DiscoveryEpoch.number == epoch, DiscoveryEpoch.forgotten < latest)
            .values(forgotten=latest)
        )
    return len(gone)
