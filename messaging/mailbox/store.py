"""The mailbox: a queue a device, numbered from 1, in order, until acknowledged or expired.

Owns the statements on `mailboxes`, `envelopes` and `payloads`. All of them run in the caller's
transaction and change a mailbox only under the lock of its row, which is held until the commit. So
numbers are given out in the order of the commits: whoever fetched number 7 is never shown a new
number 6 later.
Rows are locked in one order, mailboxes before payloads, so that no two transactions wait for each other.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Executable, Select, and_, bindparam, delete, func, select, true

from core.bulk import Bulk, BulkInsert, Row
from core.database import PURGE_BATCH, dialect_of, insert_into, table
from messaging.mailbox import shares as mailbox_shares
from messaging.mailbox.locked_mailbox import LockedMailbox, MailboxQuota, Usage
from messaging.mailbox.models import Envelope, Mailbox, MailboxShare, Payload
from messaging.message_types import Delivery, GroupAtVersion, MessageHeader, MissedNotice

_MAILBOXES, _ENVELOPES, _PAYLOADS = table(Mailbox).c, table(Envelope).c, table(Payload).c
_BOX = [
    _MAILBOXES.device_id,
    _MAILBOXES.account_id,
    _MAILBOXES.last_seq,
    _MAILBOXES.acked_seq,
    _MAILBOXES.urgent_seq,
    _MAILBOXES.waiting,
    _MAILBOXES.waiting_bytes,
    _MAILBOXES.requests,
    _MAILBOXES.request_bytes,
    _MAILBOXES.group_messages,
    _MAILBOXES.group_bytes,
    _MAILBOXES.has_shares,
    _MAILBOXES.missed_seq,
    _MAILBOXES.missed_since,
]


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
            urgent_seq=0,
            waiting=0,
            waiting_bytes=0,
        )
        .on_conflict_do_nothing()
    )


_LOCK = Bulk(
    "SELECT m.device_id, m.account_id, m.last_seq, m.acked_seq, m.urgent_seq, m.waiting,"
    " m.waiting_bytes, m.requests, m.request_bytes, m.group_messages, m.group_bytes,"
    " m.has_shares, m.missed_seq, m.missed_since"
    " FROM {rows} AS r CROSS JOIN mailboxes AS m WHERE m.device_id = r.device_id"
    " ORDER BY m.device_id {locked}",
    takes=[_MAILBOXES.device_id],
    gives=_BOX,
    locked="FOR UPDATE OF m",
)
_WRITE = Bulk(
    "UPDATE mailboxes SET last_seq = r.last_seq, acked_seq = r.acked_seq,"
    " urgent_seq = r.urgent_seq, waiting = r.waiting, waiting_bytes = r.waiting_bytes,"
    " requests = r.requests, request_bytes = r.request_bytes,"
    " group_messages = r.group_messages, group_bytes = r.group_bytes, has_shares = r.has_shares,"
    " missed_seq = r.missed_seq, missed_since = r.missed_since"
    " FROM {rows} AS r WHERE mailboxes.device_id = r.device_id",
    takes=_BOX,
)


def lock(connection: Connection, device_ids: Collection[UUID]) -> dict[UUID, LockedMailbox]:
    """Lock the mailboxes of devices, as far as there are any."""
    rows = _LOCK.run(connection, [(device_id,) for device_id in device_ids])
    return {row[0]: LockedMailbox(*row[1:]) for row in rows}


def write(
    connection: Connection, boxes: Mapping[UUID, LockedMailbox], bounds: MailboxQuota
) -> None:
    """Write locked mailboxes back."""
    mailbox_shares.write(connection, boxes, bounds)
    _WRITE.run(
        connection,
        [
            (
                device_id,
                box.account_id,
                box.last_seq,
                box.acked_seq,
                box.urgent_seq,
                box.waiting,
                box.waiting_bytes,
                box.requests,
                box.request_bytes,
                box.group_messages,
                box.group_bytes,
                box.has_shares,
                box.missed_seq,
                box.missed_since,
            )
            for device_id, box in boxes.items()
        ],
    )


_STORING = BulkInsert(table(Envelope))
_STORING_PAYLOADS = BulkInsert(table(Payload))


def deposit(
    connection: Connection, boxes: Mapping[UUID, LockedMailbox], shared: Mapping[UUID, int]
) -> None:
    """Store what was put into locked mailboxes.

    shared: the messages whose content is stored once, and how many envelopes lead to each.
    """
    rows, payloads = [], {}
    for device_id, box in boxes.items():
        for seq, message, content, is_request in box.deliveries:
            once = bool(shared) and message.id in shared
            if once:
                payloads[message.id] = (message.id, content, shared[message.id])
            rows.append(
                (
                    device_id,
                    seq,
                    message.id,
                    message.from_account_id,
                    message.from_device_id,
                    None if once else content,
                    len(content),
                    message.sent_at,
                    message.expires_at,
                    is_request,
                    *(message.group or (None, None)),
                )
            )
    _STORING.run(connection, rows)
    _STORING_PAYLOADS.run(connection, list(payloads.values()))


class MailboxPage(NamedTuple):
    """Envelopes of a mailbox in order, and the number that was given out last when they were read.

    Where the page is not full, all up to that number was read: what is missing was acknowledged or expired.
    """

    deliveries: list[Delivery]
    last_seq: int


@cache
def _reading() -> Select[Any]:
    # PostgreSQL keeps deleted rows in the index for a while; this starts to the right of them.
    acknowledged = select(Mailbox.acked_seq).where(Mailbox.device_id == bindparam("device"))
    return (
        select(
            _ENVELOPES.seq,
            _ENVELOPES.message_id,
            _ENVELOPES.from_account_id,
            _ENVELOPES.from_device_id,
            _ENVELOPES.sent_at,
            _ENVELOPES.expires_at,
            _ENVELOPES.is_request,
            _ENVELOPES.group_id,
            _ENVELOPES.group_version,
            func.coalesce(_ENVELOPES.content, _PAYLOADS.content).label("content"),
        )
        .select_from(
            table(Envelope).outerjoin(
                table(Payload),
                and_(_ENVELOPES.content.is_(None), _PAYLOADS.message_id == _ENVELOPES.message_id),
            )
        )
        .where(
            _ENVELOPES.device_id == bindparam("device"),
            _ENVELOPES.seq > acknowledged.scalar_subquery(),
            _ENVELOPES.seq > bindparam("after"),
            _ENVELOPES.expires_at > bindparam("now"),
        )
        .order_by(_ENVELOPES.seq)
        .limit(bindparam("most"))
    )


@cache
def _reading_page() -> Select[Any]:
    # One statement, so that envelopes and number are of one moment; a mailbox without any has one row.
    envelopes = _reading().subquery()
    return (
        select(_MAILBOXES.last_seq, envelopes)
        .select_from(table(Mailbox).outerjoin(envelopes, true()))
        .where(_MAILBOXES.device_id == bindparam("device"))
    )


def read(
    connection: Connection, device_id: UUID, after: int, now: datetime, limit: int
) -> list[Delivery]:
    """Give the oldest envelopes behind a number that have not expired, in order."""
    values = {"device": device_id, "after": after, "now": now, "most": limit}
    return [_delivery(*row) for row in connection.execute(_reading(), values)]


def read_page(
    connection: Connection, device_id: UUID, after: int, now: datetime, limit: int
) -> MailboxPage:
    """Give the same, and how far it goes."""
    values = {"device": device_id, "after": after, "now": now, "most": limit}
    rows = connection.execute(_reading_page(), values).all()
    deliveries = [_delivery(*row[1:]) for row in rows if row.seq is not None]
    # A join keeps no order; sorted here, no database has to carry the contents through a sort.
    deliveries.sort(key=itemgetter(0))
    return MailboxPage(deliveries, rows[0].last_seq if rows else after)


def _delivery(
    seq: int,
    message_id: UUID,
    from_account_id: UUID,
    from_device_id: UUID,
    sent_at: datetime,
    expires_at: datetime,
    is_request: bool,
    group_id: UUID | None,
    group_version: int | None,
    content: bytes,
) -> Delivery:
    group = (
        None
        if group_id is None or group_version is None
        else GroupAtVersion(group_id, group_version)
    )
    message = MessageHeader(message_id, from_account_id, from_device_id, sent_at, expires_at, group)
    return Delivery(seq, message, content, is_request)


_SELECT_FILL = select(_MAILBOXES.device_id, _MAILBOXES.waiting, _MAILBOXES.waiting_bytes).where(
    _MAILBOXES.device_id.in_(bindparam("devices", expanding=True))
)


def fill(connection: Connection, device_ids: Collection[UUID]) -> dict[UUID, Usage]:
    """Say what waits for devices; one without a mailbox is missing."""
    rows = connection.execute(_SELECT_FILL, {"devices": list(device_ids)})
    return {row.device_id: Usage(row.waiting, row.waiting_bytes) for row in rows}


_SELECT_MISSED = select(_MAILBOXES.missed_since, _MAILBOXES.missed_seq).where(
    _MAILBOXES.device_id == bindparam("device"), _MAILBOXES.missed_since.is_not(None)
)


def missed(connection: Connection, device_id: UUID) -> MissedNotice | None:
    """Say since when messages to a device were not stored; None when nothing is missing."""
    row = connection.execute(_SELECT_MISSED, {"device": device_id}).one_or_none()
    return None if row is None else MissedNotice(*row)


def miss(connection: Connection, device_id: UUID, since: datetime, bounds: MailboxQuota) -> None:
    """Note that messages were not for a device since a time, as it was idle until now."""
    boxes = lock(connection, [device_id])
    for box in boxes.values():
        box.miss(since)
    write(connection, boxes, bounds)


_DELETING = Bulk(
    "DELETE FROM envelopes WHERE (device_id, seq) IN (SELECT e.device_id, e.seq"
    " FROM {rows} AS r CROSS JOIN envelopes AS e"
    " WHERE e.device_id = r.device_id AND e.seq > r.acked_seq AND e.seq <= r.seq)"
    # SQLite 3.40 takes `content IS NULL` for false here, whatever is in it.
    " RETURNING device_id, from_account_id, size, is_request, group_version,"
    " CASE WHEN length(content) >= 0 THEN NULL ELSE message_id END",
    takes=[_ENVELOPES.device_id, _MAILBOXES.acked_seq, _ENVELOPES.seq],
    gives=[
        _ENVELOPES.device_id,
        _ENVELOPES.from_account_id,
        _ENVELOPES.size,
        _ENVELOPES.is_request,
        _ENVELOPES.group_version,
        _ENVELOPES.message_id,
    ],
)


def acknowledge(
    connection: Connection, boxes: Mapping[UUID, LockedMailbox], through: Mapping[UUID, int]
) -> int:
    """Delete the envelopes of locked mailboxes up to a number each, given out; give how many."""
    ahead = {
        device_id: seq for device_id, seq in through.items() if seq > boxes[device_id].acked_seq
    }
    gone = _DELETING.run(
        connection,
        [(device_id, boxes[device_id].acked_seq, seq) for device_id, seq in ahead.items()],
    )
    for device_id, seq in ahead.items():
        boxes[device_id].acknowledge(seq)
    _take_out(connection, boxes, gone)
    return len(gone)


def expire(connection: Connection, now: datetime, bounds: MailboxQuota) -> int:
    """Delete a batch of expired envelopes and make room in their mailboxes; give their number."""
    batch = connection.execute(
        select(Envelope.device_id, Envelope.seq)
        .where(Envelope.expires_at <= now)
        .order_by(Envelope.expires_at)
        .limit(PURGE_BATCH)
    ).all()
    boxes = lock(connection, {row.device_id for row in batch})
    # Some may have been acknowledged before the locks were ours.
    gone = _DELETING.run(connection, [(row.device_id, row.seq - 1, row.seq) for row in batch])
    _take_out(connection, boxes, gone)
    write(connection, boxes, bounds)
    return len(gone)


def remove(connection: Connection, device_ids: Collection[UUID]) -> None:
    """Delete mailboxes with all that is in them."""
    lock(connection, device_ids)
    theirs = (Envelope.device_id.in_(device_ids), Envelope.content.is_(None))
    payloads = connection.execute(
        select(Envelope.message_id, func.count()).where(*theirs).group_by(Envelope.message_id)
    ).all()
    for model in (Mailbox, MailboxShare, Envelope):
        connection.execute(delete(model).where(model.device_id.in_(device_ids)))
    _release(connection, [tuple(row) for row in payloads])


def _take_out(
    connection: Connection, boxes: Mapping[UUID, LockedMailbox], gone: Sequence[Row]
) -> None:
    """Count deleted envelopes out of their mailboxes and payloads."""
    payloads = Counter[UUID]()
    for device_id, sender, size, is_request, group_version, payload in gone:
        boxes[device_id].take(
            sender, size, is_request=is_request, to_group=group_version is not None
        )
        if payload is not None:
            payloads[payload] += 1
    _release(connection, list(payloads.items()))


_HOLDING = Bulk(
    "SELECT p.message_id FROM {rows} AS r CROSS JOIN payloads AS p"
    " WHERE p.message_id = r.message_id ORDER BY p.message_id {locked}",
    takes=[_PAYLOADS.message_id, _PAYLOADS.waiting],
    gives=[_PAYLOADS.message_id],
    locked="FOR UPDATE OF p",
)
_COUNTING_DOWN = Bulk(
    "UPDATE payloads SET waiting = payloads.waiting - r.waiting FROM {rows} AS r"
    " WHERE payloads.message_id = r.message_id",
    takes=[_PAYLOADS.message_id, _PAYLOADS.waiting],
)
_DROPPING = Bulk(
    "DELETE FROM payloads WHERE waiting <= 0"
    " AND message_id IN (SELECT message_id FROM {rows} AS r)",
    takes=[_PAYLOADS.message_id, _PAYLOADS.waiting],
)


def _release(connection: Connection, payloads: Sequence[Row]) -> None:
    """Let so many envelopes go from payloads, which end with their last one."""
    for statement in (_HOLDING, _COUNTING_DOWN, _DROPPING):
        statement.run(connection, payloads)
