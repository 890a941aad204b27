"""Envelopes: stored for each device in order, until the device acknowledges them or they expire.

All functions run in the caller's transaction, and add or delete only under the lock of the mailbox
(`store.py`). Content that a message has for a whole group is stored once, as a payload that counts the
envelopes pointing to it.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Column, Connection, Integer, delete, func, select

from core.bulk import BulkInsert, BulkSelect, BulkStatement, Row
from core.database import PURGE_BATCH, table
from messaging.mailbox import store
from messaging.mailbox.locked_mailbox import Mailboxes
from messaging.mailbox.models import Envelope, Mailbox, MailboxShare, Payload
from messaging.mailbox.quota import MailboxQuota
from messaging.message_types import Delivery, GroupAtVersion, MessageHeader

_MAILBOXES, _ENVELOPES, _PAYLOADS = table(Mailbox).c, table(Envelope).c, table(Payload).c

_INSERT_ENVELOPES = BulkInsert(table(Envelope))
_INSERT_PAYLOADS = BulkInsert(table(Payload))

_READ = [
    _ENVELOPES.seq,
    _ENVELOPES.message_id,
    _ENVELOPES.from_account_id,
    _ENVELOPES.from_device_id,
    _ENVELOPES.sent_at,
    _ENVELOPES.expires_at,
    _ENVELOPES.is_request,
    _ENVELOPES.group_id,
    _ENVELOPES.group_version,
    _ENVELOPES.content,
]
_READ_PARAMETERS = {
    "device_id": _ENVELOPES.device_id,
    "seq": _ENVELOPES.seq,
    "expires_at": _ENVELOPES.expires_at,
    "max_rows": Column("max_rows", Integer),
}
# One statement, so that the envelopes and the number are of one moment.
_SELECT_PAGE = BulkSelect(
    "SELECT e.*, m.last_seq FROM mailboxes AS m LEFT JOIN ("
    "SELECT e.seq, e.message_id, e.from_account_id, e.from_device_id, e.sent_at, e.expires_at,"
    " e.is_request, e.group_id, e.group_version, coalesce(e.content, p.content) AS content"
    " FROM envelopes AS e"
    " LEFT JOIN payloads AS p ON e.content IS NULL AND p.message_id = e.message_id"
    # PostgreSQL keeps deleted rows in the index for a while; `acked_seq` starts to the right of them.
    " WHERE e.device_id = {device_id}"
    " AND e.seq > (SELECT acked_seq FROM mailboxes WHERE device_id = {device_id})"
    " AND e.seq > {seq} AND e.expires_at > {expires_at} ORDER BY e.seq LIMIT {max_rows}"
    ") AS e ON true WHERE m.device_id = {device_id}",
    _READ_PARAMETERS,
    [*_READ, _MAILBOXES.last_seq],
)
_DELETE_ENVELOPES = BulkStatement(
    "DELETE FROM envelopes WHERE (device_id, seq) IN (SELECT e.device_id, e.seq"
    " FROM {rows} AS r CROSS JOIN envelopes AS e"
    " WHERE e.device_id = r.device_id AND e.seq > r.acked_seq AND e.seq <= r.seq)"
    # SQLite 3.40 takes `content IS NULL` for false here, whatever the value is.
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
_LOCK_PAYLOADS = BulkStatement(
    "SELECT p.message_id FROM {rows} AS r CROSS JOIN payloads AS p"
    " WHERE p.message_id = r.message_id ORDER BY p.message_id {locked}",
    takes=[_PAYLOADS.message_id, _PAYLOADS.waiting],
    gives=[_PAYLOADS.message_id],
    locked="FOR UPDATE OF p",
)
_UPDATE_PAYLOADS = BulkStatement(
    "UPDATE payloads SET waiting = payloads.waiting - r.waiting FROM {rows} AS r"
    " WHERE payloads.message_id = r.message_id",
    takes=[_PAYLOADS.message_id, _PAYLOADS.waiting],
)
_DELETE_UNUSED_PAYLOADS = BulkStatement(
    "DELETE FROM payloads WHERE waiting <= 0"
    " AND message_id IN (SELECT message_id FROM {rows} AS r)",
    takes=[_PAYLOADS.message_id, _PAYLOADS.waiting],
)


class MailboxPage(NamedTuple):
    """Envelopes of a mailbox in order, and the last assigned number when they were read.

    A page that is not full covers everything up to that number: numbers that are not in it were acknowledged
    or have expired.
    """

    deliveries: list[Delivery]
    last_seq: int


def insert_added(connection: Connection, mailboxes: Mailboxes, shared: Mapping[UUID, int]) -> None:
    """Insert the envelopes that were added to locked mailboxes.

    shared: the messages whose content is stored once, and how many envelopes point to it.
    """
    rows, payloads = [], {}
    for device_id, mailbox in mailboxes.items():
        for seq, header, content, is_request in mailbox.deliveries:
            is_shared = bool(shared) and header.id in shared
            if is_shared:
                payloads[header.id] = (header.id, content, shared[header.id])
            rows.append(
                (
                    device_id,
                    seq,
                    header.id,
                    header.from_account_id,
                    header.from_device_id,
                    None if is_shared else content,
                    len(content),
                    header.sent_at,
                    header.expires_at,
                    is_request,
                    *(header.group or (None, None)),
                )
            )
    _INSERT_ENVELOPES.run(connection, rows)
    _INSERT_PAYLOADS.run(connection, list(payloads.values()))


def read_page(
    connection: Connection, device_id: UUID, after: int, now: datetime, limit: int
) -> MailboxPage:
    """Return the oldest envelopes after a number that have not expired, and the last assigned number."""
    rows = _SELECT_PAGE.run(
        connection, device_id=device_id, seq=after, expires_at=now, max_rows=limit
    )
    # A mailbox without envelopes is one row. A join keeps no order; sorting here spares the database a sort
    # that carries the contents.
    deliveries = [_delivery(*row) for row in rows if row[0] is not None]
    deliveries.sort(key=itemgetter(0))
    return MailboxPage(deliveries, rows[0][-1] if rows else after)


def _delivery(
    seq: int,
    message_id: UUID,
    from_account_id: UUID,
    from_device_id: UUID,
    sent_at: datetime,
    expires_at: datetime,
    is_request: bool,
    group_id: UUID | None,
    group_version: int,
    content: bytes,
    _last_seq: int,
) -> Delivery:
    group = None if group_id is None else GroupAtVersion(group_id, group_version)
    header = MessageHeader(message_id, from_account_id, from_device_id, sent_at, expires_at, group)
    return Delivery(seq, header, content, is_request)


def acknowledge(connection: Connection, mailboxes: Mailboxes, through: Mapping[UUID, int]) -> int:
    """Delete the envelopes of locked mailboxes up to an assigned number each; return how many."""
    ahead = {
        device_id: seq for device_id, seq in through.items() if seq > mailboxes[device_id].acked_seq
    }
    deleted = _DELETE_ENVELOPES.run(
        connection,
        [(device_id, mailboxes[device_id].acked_seq, seq) for device_id, seq in ahead.items()],
    )
    for device_id, seq in ahead.items():
        mailboxes[device_id].acknowledge(seq)
    _subtract(connection, mailboxes, deleted)
    return len(deleted)


def delete_expired(connection: Connection, now: datetime, quota: MailboxQuota) -> int:
    """Delete a batch of expired envelopes and subtract them from their mailboxes; return how many."""
    batch = connection.execute(
        select(Envelope.device_id, Envelope.seq)
        .where(Envelope.expires_at <= now)
        .order_by(Envelope.expires_at)
        .limit(PURGE_BATCH)
    ).all()
    mailboxes = store.lock(connection, {row.device_id for row in batch})
    # Some may have been acknowledged before the mailboxes were locked.
    deleted = _DELETE_ENVELOPES.run(
        connection, [(row.device_id, row.seq - 1, row.seq) for row in batch]
    )
    _subtract(connection, mailboxes, deleted)
    store.write(connection, mailboxes, quota)
    return len(deleted)


def delete_mailboxes(connection: Connection, device_ids: Collection[UUID]) -> None:
    """Delete mailboxes and everything in them."""
    store.lock(connection, device_ids)
    pointers = (Envelope.device_id.in_(device_ids), Envelope.content.is_(None))
    payloads = connection.execute(
        select(Envelope.message_id, func.count()).where(*pointers).group_by(Envelope.message_id)
    ).all()
    for model in (Mailbox, MailboxShare, Envelope):
        connection.execute(delete(model).where(model.device_id.in_(device_ids)))
    _release_payloads(connection, [tuple(row) for row in payloads])


def _subtract(connection: Connection, mailboxes: Mailboxes, deleted: Sequence[Row]) -> None:
    """Subtract deleted envelopes from the counts of their mailboxes and payloads."""
    payloads = Counter[UUID]()
    for device_id, sender, size, is_request, group_version, payload in deleted:
        to_group = group_version is not None
        mailboxes[device_id].change_usage(sender, -1, -size, is_request, to_group)
        if payload is not None:
            payloads[payload] += 1
    _release_payloads(connection, list(payloads.items()))


def _release_payloads(connection: Connection, payloads: Sequence[Row]) -> None:
    """Subtract deleted envelopes from payloads, and delete payloads that none is left of."""
    for statement in (_LOCK_PAYLOADS, _UPDATE_PAYLOADS, _DELETE_UNUSED_PAYLOADS):
        statement.run(connection, payloads)
