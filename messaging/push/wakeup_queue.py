"""Which devices are to be woken, and when: the statements on what a subscription remembers.

Owns the way of a row. Idle, it has no `due_at`. Marked, it is due. Claimed by one process, `due_at` is the
end of the claim; a process that died leaves it due again. Woken or not, it is due again as
`messaging/push/schedule.py` says, as long as urgent messages wait and the device acknowledges nothing, or
silent until it does. Nothing is sent while nothing urgent waits.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
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
from messaging.push.provider import Target
from messaging.push.settings import PushName

#: Devices that one statement names at most.
BATCH = 1000

_subscription = table(PushSubscription)
_mailbox = table(Mailbox)
#: As if nothing had ever been acknowledged, so that another mark may come earlier than this one: the walk
#: marks for a minute later what somebody is about to mark for now.
_NONE = -1
#: Whether something urgent waits in a mailbox. Expiry moves no number, but the count of what waits.
WAITS = and_(_mailbox.c.urgent_seq > _mailbox.c.acked_seq, _mailbox.c.waiting > 0)


class Claim(NamedTuple):
    """A subscription that this process sends for, until `until`."""

    type: PushName
    is_webhook: bool
    until: datetime
    woken: int
    failures: int
    target: Target

    def key(self) -> dict[str, Any]:
        """Name the row, as long as the claim on it is ours."""
        device_id = self.target.device_id
        return {"of_device": device_id, "of_webhook": self.is_webhook, "until": self.until}


def mark(
    connection: Connection, device_ids: Collection[UUID], types: Collection[str], at: datetime
) -> None:
    """Have devices woken at a moment, unless that is under way, or they were and have not answered yet."""
    values = {"devices": list(device_ids), "types": list(types), "at": at}
    # In the order of their keys, so that no two transactions wait for each other.
    connection.execute(_LOCK, values)
    connection.execute(_MARK, values)
    if "webhook" in types:
        connection.execute(_adding(dialect_of(connection)), values)


def mark_left(
    connection: Connection,
    device_ids: Collection[UUID],
    types: Collection[str],
    at: datetime,
    *,
    waiting: bool,
) -> None:
    """Have devices that ceased to listen woken at a moment, at which they may be back.

    Until then nothing else wakes them. waiting: leave those out for which nothing urgent waits.
    """
    values = {"devices": list(device_ids), "types": list(types), "at": at}
    connection.execute(_LOCK, values)
    connection.execute(_MARK_WAITING_LEFT if waiting else _MARK_LEFT, values)
    if "webhook" in types:
        adding = _adding(dialect_of(connection), waiting=waiting, movable=False)
        connection.execute(adding, values)


def _markable(at: Any) -> Any:
    """Whether a row is idle, or waits to repeat what its device has answered."""
    answered = _mailbox.c.acked_seq > _subscription.c.acked_seq
    later = or_(_subscription.c.due_at.is_(None), _subscription.c.due_at > at)
    idle = and_(_subscription.c.due_at.is_(None), _subscription.c.woken == 0)
    return and_(
        _subscription.c.claimed.is_(False),
        _subscription.c.failures == 0,
        or_(idle, and_(answered, later)),
    )


_at = bindparam("at", type_=UtcDateTime())
_NAMED = and_(
    _subscription.c.device_id.in_(bindparam("devices", expanding=True)),
    _subscription.c.type.in_(bindparam("types", expanding=True)),
)
_LOCK: Select[Any] = (
    select(_subscription.c.device_id)
    .where(_NAMED)
    .order_by(_subscription.c.device_id, _subscription.c.is_webhook)
    .with_for_update()
)
_MARK: Update = (
    update(_subscription)
    .where(
        _NAMED,
        exists().where(_mailbox.c.device_id == _subscription.c.device_id, WAITS, _markable(_at)),
    )
    .values(due_at=_at, woken=0, acked_seq=_NONE)
)


def _marking_left(*waits: ColumnElement[bool]) -> Update:
    """Write the statement that marks devices which left; a mark that is there may only come earlier."""
    answered = _mailbox.c.acked_seq > _subscription.c.acked_seq
    later = or_(_subscription.c.due_at.is_(None), _subscription.c.due_at > _at)
    acknowledged = select(_mailbox.c.acked_seq).where(
        _mailbox.c.device_id == _subscription.c.device_id
    )
    markable = and_(
        _subscription.c.claimed.is_(False),
        _subscription.c.failures == 0,
        later,
        or_(_subscription.c.woken == 0, answered),
    )
    return (
        update(_subscription)
        .where(
            _NAMED,
            exists().where(_mailbox.c.device_id == _subscription.c.device_id, markable, *waits),
        )
        # What is acknowledged now is no answer to this mark, or the next message would move it.
        .values(due_at=_at, woken=0, acked_seq=acknowledged.scalar_subquery())
    )


_MARK_LEFT, _MARK_WAITING_LEFT = _marking_left(), _marking_left(WAITS)


@cache
def _adding(dialect: str, *, waiting: bool = True, movable: bool = True) -> Executable:
    """Make the webhook's rows of devices that have none, of those for which something waits or of all."""
    columns = {
        "device_id": _mailbox.c.device_id,
        "is_webhook": true(),
        "type": literal("webhook"),
        "address": literal(""),
        "due_at": _at,
        "claimed": false(),
        "woken": literal(0),
        "failures": literal(0),
        "acked_seq": literal(_NONE) if movable else _mailbox.c.acked_seq,
    }
    rows = (
        select(*columns.values())
        .where(_mailbox.c.device_id.in_(bindparam("devices", expanding=True)))
        .order_by(_mailbox.c.device_id)
    )
    return (
        insert_into(dialect, PushSubscription)
        .from_select(list(columns), rows.where(WAITS) if waiting else rows)
        .on_conflict_do_nothing()
    )


def claim(
    connection: Connection, type: PushName, now: datetime, until: datetime, most: int
) -> list[Claim]:
    """Claim what is due of one type, the longest due first; what has nothing waiting is idle again.

    Rows that another process is claiming are passed over.
    """
    rows = connection.execute(_DUE, {"type": type, "now": now, "most": most}).all()
    claimed = [row for row in rows if row.waits]
    if claimed:
        connection.execute(
            _CLAIM, [_row(row) | {"until": until, "acked": row.mailbox_acked} for row in claimed]
        )
    idle = [_row(row) for row in rows if not row.waits]
    if idle:
        connection.execute(_REST, idle)
    return [
        Claim(
            type,
            row.is_webhook,
            until,
            row.woken,
            row.failures,
            Target(row.account_id, row.device_id, row.address, row.p256dh, row.auth),
        )
        for row in claimed
    ]


def _row(row: Row[Any]) -> dict[str, Any]:
    """Name a row that is locked."""
    return {"of_device": row.device_id, "of_webhook": row.is_webhook}


_DUE: Select[Any] = (
    select(
        *_subscription.c,
        _mailbox.c.account_id,
        _mailbox.c.acked_seq.label("mailbox_acked"),
        WAITS.label("waits"),
    )
    .join_from(_subscription, _mailbox, _mailbox.c.device_id == _subscription.c.device_id)
    .where(
        _subscription.c.type == bindparam("type"),
        _subscription.c.due_at <= bindparam("now", type_=UtcDateTime()),
    )
    .order_by(_subscription.c.due_at)
    .limit(bindparam("most"))
    .with_for_update(of=_subscription, skip_locked=True)
)
_ROW = and_(
    _subscription.c.device_id == bindparam("of_device"),
    _subscription.c.is_webhook == bindparam("of_webhook", type_=Boolean()),
)
_until = bindparam("until", type_=UtcDateTime())
_CLAIM: Update = (
    update(_subscription)
    .where(_ROW)
    .values(due_at=_until, claimed=true(), acked_seq=bindparam("acked"))
)
_REST: Update = (
    update(_subscription).where(_ROW).values(due_at=null(), claimed=false(), woken=0, failures=0)
)
#: A claim that ran out may be another's by now, and what it came to is not ours to write.
_OURS = and_(_ROW, _subscription.c.claimed.is_(True), _subscription.c.due_at == _until)


def settle(connection: Connection, outcomes: Sequence[tuple[Claim, datetime | None, bool]]) -> None:
    """Write what claims came to: when each is due again, and whether the device was woken."""
    connection.execute(
        _SETTLE,
        [
            claim.key()
            | {
                "next": due_at,
                "times": claim.woken + was_woken,
                "faults": 0 if was_woken else claim.failures + 1,
            }
            for claim, due_at, was_woken in outcomes
        ],
    )


_SETTLE: Update = (
    update(_subscription)
    .where(_OURS)
    .values(
        due_at=bindparam("next", type_=UtcDateTime()),
        claimed=false(),
        woken=bindparam("times"),
        failures=bindparam("faults"),
    )
)


def release(connection: Connection, claims: Sequence[tuple[Claim, datetime | None]]) -> None:
    """Give claims back on devices that were not woken because they listen, with when each is due again."""
    connection.execute(_RELEASE, [claim.key() | {"next": due_at} for claim, due_at in claims])


_RELEASE: Update = (
    update(_subscription)
    .where(_OURS)
    .values(due_at=bindparam("next", type_=UtcDateTime()), claimed=false())
)


def drop(connection: Connection, claims: Sequence[Claim]) -> None:
    """Delete subscriptions whose address leads nowhere, unless their device has put another by now."""
    keys = [(claim.target.device_id, claim.is_webhook, claim.until) for claim in claims]
    key = tuple_(_subscription.c.device_id, _subscription.c.is_webhook, _subscription.c.due_at)
    connection.execute(delete(_subscription).where(key.in_(keys), _subscription.c.claimed))


def waiting(connection: Connection, after: UUID, limit: int) -> tuple[list[UUID], UUID | None]:
    """Walk the mailboxes: give those after one in which urgent messages wait, and the last looked at.

    limit: mailboxes looked at; None for the last says that the walk is at its end.
    """
    rows = connection.execute(_WALK, {"after": after, "most": limit}).all()
    last = rows[-1].device_id if len(rows) == limit else None
    return [row.device_id for row in rows if row.waits], last


_WALK: Select[Any] = (
    select(_mailbox.c.device_id, WAITS.label("waits"))
    .where(_mailbox.c.device_id > bindparam("after"))
    .order_by(_mailbox.c.device_id)
    .limit(bindparam("most"))
)


def is_any(connection: Connection, type: str, now: datetime) -> bool:
    """Say whether something of a type is due."""
    return connection.execute(_ANY, {"type": type, "now": now}).one_or_none() is not None


_ANY: Select[Any] = (
    select(literal(1))
    .where(
        _subscription.c.type == bindparam("type"),
        _subscription.c.due_at <= bindparam("now", type_=UtcDateTime()),
    )
    .limit(1)
)


def count(connection: Connection, now: datetime) -> dict[str, int]:
    """Count what is due, by type."""
    rows = connection.execute(_COUNT, {"now": now}).all()
    return {row.type: row.due for row in rows}


_COUNT: Select[Any] = (
    select(_subscription.c.type, func.count().label("due"))
    .where(_subscription.c.due_at <= bindparam("now", type_=UtcDateTime()))
    .group_by(_subscription.c.type)
)
