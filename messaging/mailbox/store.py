"""Mailbox rows: one for each device, locked by every transaction that adds to a mailbox or deletes from it.

All functions run in the caller's transaction. The lock is held until the commit, so numbers are assigned in
the order of the commits: a reader that fetched number 7 never finds a new number 6 later. Rows are locked in
one order, mailboxes before payloads (`envelopes.py`), so that no two transactions wait for each other.
"""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from operator import attrgetter
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, select

from core.bulk import BulkStatement
from core.database import dialect_of, insert_into, table
from messaging.mailbox import shares
from messaging.mailbox.locked_mailbox import LockedMailbox, Mailboxes
from messaging.mailbox.models import Mailbox
from messaging.mailbox.quota import MailboxQuota, Usage
from messaging.message_types import MissedNotice

_MAILBOXES = table(Mailbox).c
_COLUMNS = list(_MAILBOXES)
#: The columns are the first fields of `LockedMailbox`, in the same order.
_values = attrgetter(*(column.name for column in _COLUMNS))

_LOCK_MAILBOXES = BulkStatement(
    "SELECT m.device_id, m.account_id, m.last_seq, m.acked_seq, m.urgent_seq, m.waiting,"
    " m.waiting_bytes, m.requests, m.request_bytes, m.group_messages, m.group_bytes,"
    " m.has_shares, m.missed_seq, m.missed_since"
    " FROM {rows} AS r CROSS JOIN mailboxes AS m WHERE m.device_id = r.device_id"
    " ORDER BY m.device_id {locked}",
    takes=[_MAILBOXES.device_id],
    gives=_COLUMNS,
    locked="FOR UPDATE OF m",
)
_UPDATE_MAILBOXES = BulkStatement(
    "UPDATE mailboxes SET last_seq = r.last_seq, acked_seq = r.acked_seq,"
    " urgent_seq = r.urgent_seq, waiting = r.waiting, waiting_bytes = r.waiting_bytes,"
    " requests = r.requests, request_bytes = r.request_bytes,"
    " group_messages = r.group_messages, group_bytes = r.group_bytes,"
    " has_shares = r.has_shares, missed_seq = r.missed_seq, missed_since = r.missed_since"
    " FROM {rows} AS r WHERE mailboxes.device_id = r.device_id",
    takes=_COLUMNS,
)
_SELECT_USAGE = select(_MAILBOXES.device_id, _MAILBOXES.waiting, _MAILBOXES.waiting_bytes).where(
    _MAILBOXES.device_id.in_(bindparam("device_ids", expanding=True))
)
_SELECT_MISSED = select(_MAILBOXES.missed_since, _MAILBOXES.missed_seq).where(
    _MAILBOXES.device_id == bindparam("device_id"), _MAILBOXES.missed_since.is_not(None)
)


@cache
def _insert_mailbox(dialect: str) -> Executable:
    return (
        insert_into(dialect, Mailbox)
        .values(
            device_id=bindparam("device_id"),
            account_id=bindparam("account_id"),
            last_seq=0,
            acked_seq=0,
            urgent_seq=0,
            waiting=0,
            waiting_bytes=0,
        )
        .on_conflict_do_nothing()
    )


def create(connection: Connection, account_id: UUID, device_id: UUID) -> None:
    """Create the empty mailbox of a device, unless it exists."""
    connection.execute(
        _insert_mailbox(dialect_of(connection)), {"device_id": device_id, "account_id": account_id}
    )


def lock(connection: Connection, device_ids: Collection[UUID]) -> dict[UUID, LockedMailbox]:
    """Lock the mailboxes of devices and return those that exist."""
    rows = _LOCK_MAILBOXES.run(connection, [(device_id,) for device_id in device_ids])
    return {row[0]: LockedMailbox(*row) for row in rows}


def write(connection: Connection, mailboxes: Mailboxes, quota: MailboxQuota) -> None:
    """Write locked mailboxes back."""
    shares.write(connection, mailboxes, quota)
    _UPDATE_MAILBOXES.run(connection, [_values(mailbox) for mailbox in mailboxes.values()])


def usage_of(connection: Connection, device_ids: Collection[UUID]) -> dict[UUID, Usage]:
    """Return what waits for each device that has a mailbox."""
    rows = connection.execute(_SELECT_USAGE, {"device_ids": list(device_ids)})
    return {row.device_id: Usage(row.waiting, row.waiting_bytes) for row in rows}


def missed(connection: Connection, device_id: UUID) -> MissedNotice | None:
    """Return since when messages to a device were not stored; None if none are missing."""
    row = connection.execute(_SELECT_MISSED, {"device_id": device_id}).one_or_none()
    return None if row is None else MissedNotice(*row)


def record_missed(
    connection: Connection, device_id: UUID, since: datetime, quota: MailboxQuota
) -> None:
    """Record that a device was idle, and messages were not addressed to it, since a time."""
    mailboxes = lock(connection, [device_id])
    for mailbox in mailboxes.values():
        mailbox.miss(since)
    write(connection, mailboxes, quota)
