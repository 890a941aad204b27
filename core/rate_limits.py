"""Rate limits by GCRA or fixed windows, counted in one shared table.

GCRA, the generic cell rate algorithm (ATM Forum TM 4.0, ITU-T I.371), is a leaky bucket of usage: requests
fill it, time drains it. Its state is the theoretical arrival time. A fixed window opens with its first
request and starts over at its end.

Counters are rows, so a limit holds over all workers and restarts; when the database is away, a request
fails instead of passing uncounted. State is a time in the future, so a clock that jumps back makes a limit
stricter.

`consume` counts a request only if the limit has room. `fill_buckets` and `add_to_windows` count several
limits at once, room or not: the caller reads the levels, decides, and rolls back to a savepoint or undoes
what it refused. Rows stay locked to the end of the transaction, so the levels still hold when the caller
decides. All callers lock rows in one order, the busiest last: no deadlocks, and short waits.

Each part declares its limits in its own `limits.py`; those on sends come from the policy file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Executable, select, update

from core.clock import EPOCH, MICROSECOND, unix_microseconds
from core.database import dialect_of, purge
from core.problems import RateLimitStatus
from core.rate_limit_statements import (
    DELETE_COUNTER,
    SELECT_COUNTER,
    UPDATE_REFUNDED,
    UPDATE_WINDOW,
    UPSERT_BUCKETS,
    UPSERT_WINDOWS,
    Algorithm,
    RateLimitCounter,
    upsert_if_room,
)


@dataclass(frozen=True)
class RateLimit:
    """Allows a subject `quota` requests in each `period`; bursts up to `quota`."""

    name: str
    quota: int
    period: timedelta
    algorithm: Algorithm = "gcra"

    @property
    def period_us(self) -> int:
        """The period in microseconds."""
        return self.period // MICROSECOND

    @property
    def interval_us(self) -> int:
        """The emission interval of GCRA: microseconds in which one request drains."""
        return self.period_us // self.quota

    def charge(self, subject: bytes, amount: int, now: datetime) -> "WindowCharge":
        """Return a charge of `amount`; if no window is open, the new one ends a period from now."""
        return WindowCharge(self.name, subject, amount, now + self.period)

    def status(self, remaining: int, retry_after: int) -> RateLimitStatus:
        """Return what is left, for the `RateLimit` header fields."""
        period_seconds = round(self.period.total_seconds())
        return RateLimitStatus(self.name, self.quota, period_seconds, remaining, retry_after)

    def _status_of(self, used: int, until_us: int, now_us: int) -> RateLimitStatus:
        if self.algorithm == "gcra":
            room_us = now_us + self.period_us - max(until_us, now_us)
            remaining = max(0, room_us // self.interval_us)
            wait_us = self.interval_us - room_us
        else:
            remaining = self.quota if until_us <= now_us else max(0, self.quota - used)
            wait_us = until_us - now_us
        return self.status(remaining, 0 if remaining else -(-wait_us // 1_000_000))


class BucketLevel(NamedTuple):
    """How full a bucket is after a fill."""

    limit: RateLimit
    subject: bytes
    #: Microseconds until it is empty.
    level_us: int
    #: Microseconds that this fill added.
    added_us: int


class WindowCharge(NamedTuple):
    """An amount to count in the window of a subject; `ends_at` applies if no window is open."""

    name: str
    subject: bytes
    amount: int
    ends_at: datetime


class WindowUsage(NamedTuple):
    """What a window holds now, and its end, which identifies the window."""

    used: int
    ends_at: datetime


def consume(
    connection: Connection, limit: RateLimit, subject: bytes, now: datetime
) -> tuple[bool, RateLimitStatus]:
    """Count one request if the limit has room; return whether it had, and what is left."""
    now_us = unix_microseconds(now)
    until_us = now_us + (limit.interval_us if limit.algorithm == "gcra" else limit.period_us)
    statement = upsert_if_room(
        dialect_of(connection), limit.algorithm, limit.name, limit.quota, limit.period_us
    )
    row = connection.execute(
        statement, {"subject": subject, "now_us": now_us, "until_us": until_us}
    ).one_or_none()
    if row is None:
        return False, peek(connection, limit, subject, now)
    return True, limit._status_of(row.used, row.until_us, now_us)


def peek(
    connection: Connection, limit: RateLimit, subject: bytes, now: datetime
) -> RateLimitStatus:
    """Return what a limit has left, without counting."""
    row = connection.execute(SELECT_COUNTER, _key(limit.name, subject)).one_or_none()
    if row is None:
        return limit.status(limit.quota, 0)
    return limit._status_of(row.used, row.until_us, unix_microseconds(now))


def refund(connection: Connection, limit: RateLimit, subject: bytes) -> None:
    """Undo one `consume`, because what it counted did not happen."""
    is_gcra = limit.algorithm == "gcra"
    counted, filled_us = (0, limit.interval_us) if is_gcra else (1, 0)
    connection.execute(
        UPDATE_REFUNDED, _key(limit.name, subject, counted=counted, filled_us=filled_us)
    )


def reset(connection: Connection, limit: RateLimit, subject: bytes) -> None:
    """Delete the counter of a subject, for example after a correct PIN."""
    connection.execute(DELETE_COUNTER, _key(limit.name, subject))


def transfer(connection: Connection, names: tuple[str, ...], digests: list[bytes]) -> None:
    """Move counters to a subject's digest under the current secret.

    `digests` is current first. Without this, a rotation of secrets would give everybody fresh limits.
    """
    current, *previous = digests
    for old in previous:
        taken = select(RateLimitCounter.name).where(RateLimitCounter.subject == current)
        connection.execute(
            update(RateLimitCounter)
            .where(
                RateLimitCounter.subject == old,
                RateLimitCounter.name.in_(names),
                RateLimitCounter.name.not_in(taken),
            )
            .values(subject=current)
        )


def purge_expired(connection: Connection, now: datetime) -> int:
    """Delete a batch of counters that no longer limit anything."""
    return purge(connection, RateLimitCounter, RateLimitCounter.until_us < unix_microseconds(now))


def fill_buckets(
    connection: Connection, buckets: Sequence[tuple[RateLimit, bytes]], now: datetime
) -> list[BucketLevel]:
    """Add one request to the bucket of each limit and subject; return how full each is then.

    Usage is capped at quota + 1, so a persistent client does not lock itself out for days. A bucket that is
    fuller because the clock jumped back keeps its level.
    """
    now_us = unix_microseconds(now)
    rows = [
        (subject, limit.name, limit.quota + 1, now_us + limit.interval_us)
        for limit, subject in buckets
    ]
    found = _upsert(connection, UPSERT_BUCKETS, rows, now_us)
    return [
        _level(limit, subject, now_us, *found[subject, limit.name]) for limit, subject in buckets
    ]


def _level(limit: RateLimit, subject: bytes, now_us: int, used: int, until_us: int) -> BucketLevel:
    level_us = until_us - now_us
    # A new row holds quota + 1 in `used`, a parameter of the upsert; the first fill adds one interval.
    added_us = limit.interval_us if level_us == limit.interval_us else used
    return BucketLevel(limit, subject, level_us, added_us)


def refund_buckets(connection: Connection, levels: Sequence[BucketLevel]) -> None:
    """Undo fills, because what they counted did not happen."""
    connection.execute(
        UPDATE_REFUNDED,
        [
            _key(level.limit.name, level.subject, counted=0, filled_us=level.added_us)
            for level in levels
        ],
    )


def add_to_windows(
    connection: Connection, charges: Sequence[WindowCharge], now: datetime
) -> list[WindowUsage]:
    """Add to fixed windows, each named once; return what each holds then.

    A window stays open when the clock jumps back, so nothing is forgotten early.
    """
    rows = [
        (charge.subject, charge.name, charge.amount, unix_microseconds(charge.ends_at))
        for charge in charges
    ]
    found = _upsert(connection, UPSERT_WINDOWS, rows, unix_microseconds(now))
    usages = [found[charge.subject, charge.name] for charge in charges]
    return [WindowUsage(used, EPOCH + until_us * MICROSECOND) for used, until_us in usages]


def adjust_windows(connection: Connection, charges: Sequence[WindowCharge]) -> None:
    """Add to windows that still end at `ends_at`; negative amounts subtract.

    A window that has ended is not changed.
    """
    connection.execute(
        UPDATE_WINDOW,
        [
            _key(
                charge.name,
                charge.subject,
                amount=charge.amount,
                ends_us=unix_microseconds(charge.ends_at),
            )
            for charge in charges
        ],
    )


def _key(name: str, subject: bytes, **values: int) -> dict[str, Any]:
    return {"this_subject": subject, "this_name": name, **values}


def _upsert(
    connection: Connection,
    statements: Mapping[str, Executable],
    rows: Sequence[tuple[bytes, str, int, int]],
    now_us: int,
) -> dict[tuple[bytes, str], tuple[int, int]]:
    """Upsert rows of subject, name, `used` and `until_us`; return the last two as they are then."""
    values = {
        "now_us": now_us,
        "subjects": b"".join([row[0] for row in rows]),
        "rows": json.dumps([row[1:] for row in rows]),
    }
    found = connection.execute(statements[dialect_of(connection)], values)
    return {(subject, name): (used, until_us) for subject, name, used, until_us in found}
