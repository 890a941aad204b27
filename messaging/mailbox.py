"""The mailbox: a queue a device, numbered from 1, in order, until acknowledged or expired.

Owns the statements on `mailboxes` and `envelopes`. All of them run in the caller's transaction and
change a mailbox only under the lock of its row, which is held until the commit. So numbers are
given out in the order of the commits: whoever fetched number 7 is never shown a new number 6 later.
Refuses nothing by raising; it says what did not fit.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, case, delete, select, tuple_, update
from sqlalchemy import insert as plain_insert

from core.database import PURGE_BATCH, dialect_of, find_all, insert_into, table
from messaging.models import Envelope, Mailbox


@dataclass(frozen=True)
class Letter:
    """What the envelopes of one message have in common."""

    message_id: UUID
    from_account_id: UUID
    from_device_id: UUID
    sent_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Unfit:
    """The devices for which nothing could be stored."""

    full: list[UUID]
    gone: list[UUID]


def create(connection: Connection, account_id: UUID, device_id: UUID) -> None:
    """Make the empty mailbox of a device; making it again changes nothing."""
    connection.execute(
        _creating(dialect_of(connection)), {"device": device_id, "account": account_id}
    )


@cache
def _creating(dialect: str) -> Executable:
    return (
        insert_into(dialect, Mailbox)
        .values(
            device_id=bindparam("device"),
            account_id=bindparam("account"),
            last_seq=0,
            acked_seq=0,
            waiting=0,
            waiting_bytes=0,
        )
        .on_conflict_do_nothing()
    )


def remove(connection: Connection, device_ids: Collection[UUID]) -> None:
    """Delete mailboxes with all that is in them."""
    _lock(connection, device_ids)
    for model in (Mailbox, Envelope):
        connection.execute(delete(model).where(model.device_id.in_(device_ids)))


def deposit(
    connection: Connection,
    account_id: UUID,
    contents: Mapping[UUID, bytes],
    letter: Letter,
    room: int,
) -> Unfit | None:
    """Store one envelope for each device of an account, in mailboxes that hold less than `room`.

    Gives what did not fit; the caller must then roll back, because the others are stored.
    """
    if len(contents) > 1:
        _lock(connection, contents)
    given = connection.execute(
        update(Mailbox)
        .where(
            Mailbox.device_id.in_(contents),
            Mailbox.account_id == account_id,
            Mailbox.waiting < room,
        )
        .values(
            last_seq=Mailbox.last_seq + 1,
            urgent_seq=Mailbox.last_seq + 1,
            waiting=Mailbox.waiting + 1,
        )
        .returning(Mailbox.device_id, Mailbox.last_seq)
    ).all()
    if len(given) < len(contents):
        left = set(contents) - {row.device_id for row in given}
        full = connection.scalars(
            select(Mailbox.device_id).where(
                Mailbox.device_id.in_(left), Mailbox.account_id == account_id
            )
        ).all()
        return Unfit(full=sorted(full), gone=sorted(left - set(full)))
    connection.execute(
        plain_insert(Envelope),
        [
            {
                "device_id": row.device_id,
                "seq": row.last_seq,
                "message_id": letter.message_id,
                "from_account_id": letter.from_account_id,
                "from_device_id": letter.from_device_id,
                "content": contents[row.device_id],
                "size": len(contents[row.device_id]),
                "is_request": False,
                "group_id": None,
                "group_version": None,
                "sent_at": letter.sent_at,
                "expires_at": letter.expires_at,
            }
            for row in given
        ],
    )
    return None


def read(connection: Connection, device_id: UUID, now: datetime, limit: int) -> list[Envelope]:
    """Give the oldest envelopes that have not expired, in order."""
    # PostgreSQL keeps deleted rows in the index for a while; this starts to the right of them.
    acknowledged = select(Mailbox.acked_seq).where(Mailbox.device_id == device_id)
    waiting = (
        select(*table(Envelope).columns)
        .where(
            Envelope.device_id == device_id,
            Envelope.seq > acknowledged.scalar_subquery(),
            Envelope.expires_at > now,
        )
        .order_by(Envelope.seq)
        .limit(limit)
    )
    return find_all(connection, Envelope, waiting)


def acknowledge(connection: Connection, device_id: UUID, through: int) -> int | None:
    """Delete the envelopes up to a number; give how many, None when it was never given out."""
    done = connection.execute(
        update(Mailbox)
        .where(Mailbox.device_id == device_id, Mailbox.last_seq >= through)
        .values(acked_seq=case((Mailbox.acked_seq < through, through), else_=Mailbox.acked_seq))
    )
    if not cast(Any, done).rowcount:
        return None
    result = connection.execute(
        delete(Envelope).where(Envelope.device_id == device_id, Envelope.seq <= through)
    )
    deleted = int(cast(Any, result).rowcount)
    if deleted:
        connection.execute(
            update(Mailbox)
            .where(Mailbox.device_id == device_id)
            .values(waiting=Mailbox.waiting - deleted)
        )
    return deleted


def expire(connection: Connection, now: datetime) -> int:
    """Delete a batch of expired envelopes and make room in their mailboxes; give their number."""
    batch = connection.execute(
        select(Envelope.device_id, Envelope.seq)
        .where(Envelope.expires_at <= now)
        .order_by(Envelope.expires_at)
        .limit(PURGE_BATCH)
    ).all()
    if not batch:
        return 0
    _lock(connection, {row.device_id for row in batch})
    gone = connection.scalars(
        delete(Envelope)
        .where(tuple_(Envelope.device_id, Envelope.seq).in_([tuple(row) for row in batch]))
        .returning(Envelope.device_id)
    ).all()
    if gone:  # not when they were all acknowledged before the locks were ours
        mailboxes = table(Mailbox)
        connection.execute(
            update(mailboxes)
            .where(mailboxes.c.device_id == bindparam("of_device"))
            .values(waiting=mailboxes.c.waiting - bindparam("deleted")),
            [{"of_device": device, "deleted": count} for device, count in Counter(gone).items()],
        )
    return len(gone)


def _lock(connection: Connection, device_ids: Collection[UUID]) -> None:
    """Lock mailboxes in the order of their ids, so that no two transactions wait for each other."""
    connection.execute(
        select(Mailbox.device_id)
        .where(Mailbox.device_id.in_(device_ids))
        .order_by(Mailbox.device_id)
        .with_for_update()
    )
