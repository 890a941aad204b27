"""The wake-up queue: which devices are to be woken and when, in the table of push subscriptions.

A row is idle while it has no `due_at`. Scheduled, it is due at that time. Claimed by a process, `due_at` is
the end of the claim, so that the claim of a process that died expires. A claimed row is settled: it is due
again as `schedule.py` says while urgent messages wait and the device acknowledges nothing, and idle
otherwise. Nothing is sent while nothing urgent waits.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Connection,
    Executable,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from core.database import UtcDateTime, dialect_of, insert_into, table
from messaging.mailbox.models import Mailbox
from messaging.push.models import PushSubscription
from messaging.push.provider import PushTarget
from messaging.push.settings import PushName

#: Devices that one statement names.
BATCH_SIZE = 1000
#: An `acked_seq` below that of every mailbox, so that another schedule may move this one earlier: the sweep
#: schedules for a minute later what somebody is about to schedule for now.
MOVABLE = -1

_subscription = table(PushSubscription)
_mailbox = table(Mailbox)
#: Whether something urgent waits in a mailbox. Expiry moves no number, but it changes the count.
_WAITS = and_(_mailbox.c.urgent_seq > _mailbox.c.acked_seq, _mailbox.c.waiting > 0)

_due_at = bindparam("due_at", type_=UtcDateTime())
_SUBSCRIBED = and_(
    _subscription.c.device_id.in_(bindparam("device_ids", expanding=True)),
    _subscription.c.type.in_(bindparam("types", expanding=True)),
)
_UNANSWERED = _subscription.c.wakeups_unanswered > 0
_ANSWERED = _mailbox.c.acked_seq > _subscription.c.acked_seq
_LATER = or_(_subscription.c.due_at.is_(None), _subscription.c.due_at > _due_at)
_IDLE = and_(_subscription.c.due_at.is_(None), ~_UNANSWERED)

LOCK_SUBSCRIPTIONS: Select[Any] = (
    select(_subscription.c.device_id)
    .where(_SUBSCRIBED)
    .order_by(_subscription.c.device_id, _subscription.c.is_webhook)
    .with_for_update()
)


def _update_schedule(condition: ColumnElement[bool], acked_seq: Any) -> Update:
    """Return the statement that schedules those subscriptions that are neither claimed nor failing."""
    mailbox = exists().where(_mailbox.c.device_id == _subscription.c.device_id, condition)
    return (
        update(_subscription)
        .where(_SUBSCRIBED, ~_subscription.c.is_claimed, _subscription.c.failures == 0, mailbox)
        .values(due_at=_due_at, wakeups_unanswered=0, acked_seq=acked_seq)
    )


_LEFT = and_(_LATER, or_(~_UNANSWERED, _ANSWERED))
# What is acknowledged by now does not answer this wake-up, or the next message would move it.
_CURRENT_ACKED_SEQ = (
    select(_mailbox.c.acked_seq)
    .where(_mailbox.c.device_id == _subscription.c.device_id)
    .scalar_subquery()
)
#: By whether the devices left, and whether only those are scheduled for which something urgent waits.
UPDATE_SCHEDULE = {
    (False, True): _update_schedule(and_(_WAITS, or_(_IDLE, and_(_ANSWERED, _LATER))), MOVABLE),
    (True, True): _update_schedule(and_(_LEFT, _WAITS), _CURRENT_ACKED_SEQ),
    (True, False): _update_schedule(_LEFT, _CURRENT_ACKED_SEQ),
}


def _insert_webhook_rows(dialect: str, acked_seq: Any, only_waiting: bool) -> Executable:
    """Return the statement that adds the webhook's rows of devices that have none."""
    columns = {
        "device_id": _mailbox.c.device_id,
        "is_webhook": true(),
        "type": literal("webhook"),
        "address": literal(""),
        "due_at": _due_at,
        "acked_seq": acked_seq,
    }
    rows = (
        select(*columns.values())
        .where(_mailbox.c.device_id.in_(bindparam("device_ids", expanding=True)))
        .order_by(_mailbox.c.device_id)
    )
    return (
        insert_into(dialect, PushSubscription)
        .from_select(list(columns), rows.where(_WAITS) if only_waiting else rows)
        .on_conflict_do_nothing()
    )


def schedule(
    connection: Connection,
    device_ids: Collection[UUID],
    types: Collection[str],
    at: datetime,
    *,
    left: bool = False,
    only_waiting: bool = True,
) -> None:
    """Schedule a wake-up of devices unless one is pending or unanswered.

    left: they ceased to listen, may be back by then, and are not woken before. only_waiting: only those for
    which something urgent waits.
    """
    values = {"device_ids": list(device_ids), "types": list(types), "due_at": at}
    # In the order of their keys, so that no two transactions wait for each other.
    connection.execute(LOCK_SUBSCRIPTIONS, values)
    connection.execute(UPDATE_SCHEDULE[left, only_waiting], values)
    if "webhook" in types:
        acked_seq = _mailbox.c.acked_seq if left else literal(MOVABLE)
        insert = _insert_webhook_rows(dialect_of(connection), acked_seq, only_waiting)
        connection.execute(insert, values)


class WakeupClaim(NamedTuple):
    """A subscription that this process sends for until the claim expires."""

    type: PushName
    is_webhook: bool
    expires_at: datetime
    wakeups_unanswered: int
    failures: int
    target: PushTarget


class Settlement(NamedTuple):
    """The new state of a claimed row."""

    claim: WakeupClaim
    due_at: datetime | None
    wakeups_unanswered: int
    failures: int


_DUE = and_(_subscription.c.type == bindparam("type"), _subscription.c.due_at <= _due_at)
SELECT_DUE: Select[Any] = (
    select(
        *_subscription.c,
        _mailbox.c.account_id,
        _mailbox.c.acked_seq.label("mailbox_acked_seq"),
        _WAITS.label("waits"),
    )
    .join_from(_subscription, _mailbox, _mailbox.c.device_id == _subscription.c.device_id)
    .where(_DUE)
    .order_by(_subscription.c.due_at)
    .limit(bindparam("limit"))
    .with_for_update(of=_subscription, skip_locked=True)
)
# Of an update the other parameters are the columns that it sets.
_KEY = and_(
    _subscription.c.device_id == bindparam("key_device_id"),
    _subscription.c.is_webhook == bindparam("key_is_webhook", type_=Boolean()),
)
UPDATE_CLAIMED = update(_subscription).where(_KEY).values(is_claimed=true())
UPDATE_IDLE = (
    update(_subscription)
    .where(_KEY)
    .values(due_at=null(), is_claimed=false(), wakeups_unanswered=0, failures=0)
)
# An expired claim may belong to another process; its outcome is not recorded.
UPDATE_SETTLED = (
    update(_subscription)
    .where(
        _KEY,
        _subscription.c.is_claimed,
        _subscription.c.due_at == bindparam("key_due_at", type_=UtcDateTime()),
    )
    .values(is_claimed=false())
)


def claim(
    connection: Connection, type: PushName, now: datetime, expires_at: datetime, limit: int
) -> list[WakeupClaim]:
    """Claim due rows of a type, the longest due first; those without urgent messages become idle.

    Rows that another process is claiming are skipped.
    """
    rows = connection.execute(SELECT_DUE, {"type": type, "due_at": now, "limit": limit}).all()
    waiting = [row for row in rows if row.waits]
    if waiting:
        connection.execute(
            UPDATE_CLAIMED,
            [
                _key(row) | {"due_at": expires_at, "acked_seq": row.mailbox_acked_seq}
                for row in waiting
            ],
        )
    idle = [_key(row) for row in rows if not row.waits]
    if idle:
        connection.execute(UPDATE_IDLE, idle)
    return [
        WakeupClaim(
            type,
            row.is_webhook,
            expires_at,
            row.wakeups_unanswered,
            row.failures,
            PushTarget(row.account_id, row.device_id, row.address, row.p256dh, row.auth),
        )
        for row in waiting
    ]


def _key(row: Row[Any]) -> dict[str, Any]:
    return {"key_device_id": row.device_id, "key_is_webhook": row.is_webhook}


def settle(connection: Connection, settlements: Sequence[Settlement]) -> None:
    """Record the outcome of claims."""
    connection.execute(
        UPDATE_SETTLED,
        [
            {
                "key_device_id": claim.target.device_id,
                "key_is_webhook": claim.is_webhook,
                "key_due_at": claim.expires_at,
                "due_at": due_at,
                "wakeups_unanswered": wakeups_unanswered,
                "failures": failures,
            }
            for claim, due_at, wakeups_unanswered, failures in settlements
        ],
    )


def remove(connection: Connection, claims: Sequence[WakeupClaim]) -> None:
    """Delete subscriptions whose address is gone, unless their device has put another one meanwhile."""
    keys = [(claim.target.device_id, claim.is_webhook, claim.expires_at) for claim in claims]
    key = tuple_(_subscription.c.device_id, _subscription.c.is_webhook, _subscription.c.due_at)
    connection.execute(delete(_subscription).where(key.in_(keys), _subscription.c.is_claimed))


SELECT_MAILBOXES: Select[Any] = (
    select(_mailbox.c.device_id, _WAITS.label("waits"))
    .where(_mailbox.c.device_id > bindparam("device_id"))
    .order_by(_mailbox.c.device_id)
    .limit(bindparam("limit"))
)


def find_waiting(connection: Connection, after: UUID, limit: int) -> tuple[list[UUID], UUID | None]:
    """Read the next mailboxes by device; return those in which urgent messages wait, and the last one read.

    limit: mailboxes read. The last is None at the end of the table.
    """
    rows = connection.execute(SELECT_MAILBOXES, {"device_id": after, "limit": limit}).all()
    last = rows[-1].device_id if len(rows) == limit else None
    return [row.device_id for row in rows if row.waits], last


SELECT_ANY_DUE: Select[Any] = select(literal(1)).where(_DUE).limit(1)


def is_any_due(connection: Connection, type: str, now: datetime) -> bool:
    """Return whether a row of a type is due."""
    return connection.execute(SELECT_ANY_DUE, {"type": type, "due_at": now}).first() is not None


COUNT_DUE: Select[Any] = (
    select(_subscription.c.type, func.count().label("due"))
    .where(_subscription.c.due_at <= _due_at)
    .group_by(_subscription.c.type)
)


def count_due(connection: Connection, now: datetime) -> dict[str, int]:
    """Count the rows that are due by type."""
    rows = connection.execute(COUNT_DUE, {"due_at": now}).all()
    return {row.type: row.due for row in rows}
