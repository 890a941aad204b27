"""Epochs: the current salt, and the rotation to the next one.

A changed listing is written to every epoch that is announced, filled or open. A rotation announces the next
epoch, fills it from the accounts in small transactions that store how far they are, and opens it in one
that also sets the end of the former epoch. That one is closed afterwards, and its entries are removed. Each
step is one transaction, so an interrupted rotation continues where it was, in any process.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, func, or_, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import aliased

from core.database import PURGE_BATCH, Database, dialect_of, insert, insert_into, table
from discovery.changes import current_transaction, oldest_transaction
from discovery.digests import digest_number, encode_hash
from discovery.models import DirectoryEntry, DiscoveryEpoch
from tokens.models import Account

SALT_SIZE = 32
ID_LENGTH = 8
FIRST_EPOCH = 1
#: Accounts that one transaction adds to a new epoch.
FILL_BATCH = 500
#: Listings are maintained this long after an epoch's end, because clocks of hosts differ.
GRACE_PERIOD = timedelta(hours=1)
#: Filling waits no longer for a locked account, and tries again: the transaction that locks one account may
#: want another.
LOCK_TIMEOUT = "200ms"

_EPOCHS = table(DiscoveryEpoch).c


class Epoch(NamedTuple):
    """A salt for hashing numbers; `id` names it to clients, `number` in the directory."""

    number: int
    id: str
    salt: str
    state: str
    created_at: datetime
    expires_at: datetime | None
    cursor: bytes | None

    @property
    def filled(self) -> float:
        """How much of an announced epoch is filled, from 0 to 1; account ids are random."""
        return int.from_bytes((self.cursor or bytes(4))[:4]) / 2**32

    def answers(self, now: datetime) -> bool:
        """Return whether its hashes are looked up."""
        return self.state == "open" and (self.expires_at is None or now < self.expires_at)


_SELECT_EPOCHS = select(
    *(_EPOCHS.number, _EPOCHS.id, _EPOCHS.salt, _EPOCHS.state),
    *(_EPOCHS.created_at, _EPOCHS.expires_at, _EPOCHS.cursor),
).order_by(_EPOCHS.number)


def read(connection: Connection) -> list[Epoch]:
    """Return all epochs, oldest first."""
    return [Epoch(*row) for row in connection.execute(_SELECT_EPOCHS)]


def current(epochs: Sequence[Epoch]) -> Epoch | None:
    """Return the epoch that clients hash in; None before the first."""
    return next((e for e in reversed(epochs) if e.state == "open"), None)


def read_or_begin(
    connection: Connection, clock: Callable[[], datetime], entropy: Callable[[int], bytes]
) -> list[Epoch]:
    """Return all epochs; if there is none, create the first, possibly concurrently with others."""
    epochs = read(connection)
    if not epochs:
        _insert(connection, FIRST_EPOCH, "open", clock(), entropy)
        epochs = read(connection)
    return epochs


def id_of(salt: str) -> str:
    """Return the id of the epoch of a salt."""
    return encode_hash(hashlib.sha256(salt.encode()).digest())[:ID_LENGTH]


def _insert(
    connection: Connection,
    number: int,
    state: str,
    now: datetime,
    entropy: Callable[[int], bytes],
) -> None:
    salt = encode_hash(entropy(SALT_SIZE))
    connection.execute(
        insert(connection, DiscoveryEpoch)
        .values(
            number=number,
            id=id_of(salt),
            salt=salt,
            created_at=now,
            state=state,
            changed_in=current_transaction(dialect_of(connection)),
        )
        .on_conflict_do_nothing()
    )


@dataclass(frozen=True)
class Rotation:
    """The steps from one epoch to the next; any number of processes may take them.

    overlap: how long the former epoch answers after the next one is open.
    """

    database: Database
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    overlap: timedelta

    def announce(self) -> Epoch:
        """Announce the next epoch; return it, or the one that is announced already."""
        with self.database.write(adds=True) as connection:
            epochs = read_or_begin(connection, self.clock, self.entropy)
            if epochs[-1].state == "open":
                number = epochs[-1].number + 1
                _insert(connection, number, "announced", self.clock(), self.entropy)
                epochs = read(connection)
        return epochs[-1]

    def pending(self) -> Epoch | None:
        """Return the epoch that is announced or filled; None if there is none."""
        with self.database.read() as connection:
            epochs = read(connection)
        return epochs[-1] if epochs and epochs[-1].state in ("announced", "filled") else None

    def fill(self) -> int:
        """Add the next batch of accounts to the announced epoch; return how many, 0 to pause.

        At the end its state is `filled`. Pauses are needed while transactions run that began before it was
        announced, and while another process fills it.
        """
        try:
            with self.database.write(adds=True) as connection:
                return self._fill(connection)
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != "55P03":
                raise
            return 0

    def _fill(self, connection: Connection) -> int:
        if dialect_of(connection) == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        row = _lock_epoch(connection, "announced")
        if row is None or not _settled(connection, row.changed_in):
            return 0
        after = UUID(bytes=row.cursor or bytes(16))
        accounts = connection.execute(_LOCK_NEXT_ACCOUNTS, {"after": after}).all()
        if accounts:
            connection.execute(
                _insert_entries(dialect_of(connection)),
                [
                    {
                        "digest": digest_number(account.e164, row.salt),
                        "epoch": row.number,
                        "account_id": account.id,
                    }
                    for account in accounts
                ],
            )
        state = "announced" if len(accounts) == FILL_BATCH else "filled"
        cursor = accounts[-1].id.bytes if accounts else row.cursor
        _change(connection, row.number, state=state, cursor=cursor)
        return len(accounts)

    def open(self) -> None:
        """Open a filled epoch and set the end of the former one, in one transaction."""
        now = self.clock()
        with self.database.write() as connection:
            row = _lock_epoch(connection, "filled")
            if row is None:
                return
            connection.execute(
                update(DiscoveryEpoch)
                .where(DiscoveryEpoch.state == "open", DiscoveryEpoch.expires_at.is_(None))
                .values(expires_at=now + self.overlap)
            )
            _change(connection, row.number, state="open", cursor=None)

    @staticmethod
    def remove(connection: Connection, now: datetime) -> int:
        """Delete a batch of entries of an epoch that has ended; return how many."""
        row = _lock_epoch(connection, "closed")
        if row is None:
            connection.execute(
                update(DiscoveryEpoch)
                .where(
                    DiscoveryEpoch.state == "open", DiscoveryEpoch.expires_at < now - GRACE_PERIOD
                )
                .values(
                    state="closed",
                    changed_in=current_transaction(dialect_of(connection)),
                    cursor=None,
                )
            )
            return 0
        if not _settled(connection, row.changed_in):
            return 0
        removed = _remove_entries(connection, row.number, row.cursor or b"")
        if len(removed) == PURGE_BATCH:
            _change(connection, row.number, cursor=max(removed))
        else:
            connection.execute(delete(DiscoveryEpoch).where(DiscoveryEpoch.number == row.number))
        return len(removed)


_LOCK_NEXT_ACCOUNTS = (
    select(table(Account).c.id, table(Account).c.e164)
    .where(table(Account).c.id > bindparam("after"), table(Account).c.discoverable)
    .order_by(table(Account).c.id)
    .limit(FILL_BATCH)
    # A concurrent removal of a number comes before this lock, or finds the entry that is made here.
    .with_for_update(read=True)
)


@cache
def _insert_entries(dialect: str) -> Executable:
    # An existing entry was made by a change since the announcement, and is right.
    return insert_into(dialect, DirectoryEntry).on_conflict_do_nothing()


def _remove_entries(connection: Connection, number: int, after: bytes) -> list[bytes]:
    entries, oldest = table(DirectoryEntry), aliased(DirectoryEntry)
    batch = (
        select(oldest.digest)
        .where(oldest.epoch == number, oldest.digest > after)
        .order_by(oldest.digest)
        .limit(PURGE_BATCH)
    )
    removing = delete(entries).where(entries.c.epoch == number, entries.c.digest.in_(batch))
    return list(connection.execute(removing.returning(entries.c.digest)).scalars())


def _lock_epoch(connection: Connection, state: str) -> DiscoveryEpoch | None:
    """Lock and return the epoch in a state; None if there is none or it is locked."""
    statement = (
        select(*table(DiscoveryEpoch).columns)
        .where(DiscoveryEpoch.state == state)
        .order_by(DiscoveryEpoch.number)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return cast(DiscoveryEpoch | None, connection.execute(statement).one_or_none())


def _settled(connection: Connection, changed_in: int) -> bool:
    """Return whether all transactions have ended that may not know the epoch's state.

    A transaction that changes a listing has written or locked a row before it reads the epochs, so PostgreSQL
    counts it as running. On SQLite one runs at a time.
    """
    if dialect_of(connection) == "sqlite":
        return True
    # An id ahead of the current one is of another cluster, which this database was restored from.
    over = or_(oldest_transaction() > changed_in, current_transaction("postgresql") < changed_in)
    return bool(connection.execute(select(over)).scalar_one())


def _change(connection: Connection, number: int, **values: Any) -> None:
    connection.execute(update(DiscoveryEpoch).where(DiscoveryEpoch.number == number).values(values))


def count_accounts(connection: Connection) -> int:
    """Return how many accounts are discoverable."""
    discoverable = select(func.count()).select_from(Account).where(Account.discoverable)
    return int(connection.execute(discoverable).scalar_one())
