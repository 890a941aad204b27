"""Traffic: sends and verified sends to a country and a prefix by hour and day, and of a subnet by day.

Spans later than the current one count as the current one, so a clock that is set back reopens nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Executable, and_, bindparam, or_, select, text

from core.base64url import encode
from core.clock import DAY, EPOCH
from core.database import purge, table
from verification.policy.facts import RecentTraffic, SpanTraffic
from verification.policy.models import Traffic

SpanName = Literal["hour", "day", "network"]
SPANS: tuple[SpanName, ...] = ("hour", "day")
SPAN_LENGTHS: dict[SpanName, timedelta] = {"hour": timedelta(hours=1), "day": DAY, "network": DAY}
#: How many earlier spans are read.
LOOKBACK_SPANS: dict[SpanName, int] = {"hour": 24, "day": 14, "network": 0}
#: Bytes of a subnet's digest in its scope: 16 characters without a plus, so no prefix or country.
_SUBNET_BYTES = 12
#: What is assumed of a country without history: one in three stays unverified.
PRIOR_UNVERIFIED_RATIO, PRIOR_WEIGHT, MAX_UNVERIFIED_RATIO = 0.5, 50, 1.0


class TrafficKey(NamedTuple):
    """The key of a row: a country, a prefix or a subnet, and the hour or day, counted from 1970."""

    scope: str
    span: SpanName
    start: int


class TrafficCounts(NamedTuple):
    """The counts of a row."""

    sends: int
    verified: int


class CountedTraffic(NamedTuple):
    """The traffic of an attempt, with it included, and the rows it was counted in."""

    keys: list[TrafficKey]
    prefix: RecentTraffic
    country: RecentTraffic
    unverified_ratio: float
    #: Of the requester's subnet today; None for a service.
    subnet: TrafficCounts | None


def traffic_keys(
    prefix: str, country: str, at: datetime, subnet: bytes | None = None
) -> list[TrafficKey]:
    """Return the rows that a send is counted in, the busiest last.

    subnet: digest of the requester's subnet; None for a service.
    """
    keys = [
        TrafficKey(scope, span, _span_index(span, at))
        for scope in (prefix, country)
        for span in SPANS
    ]
    if subnet is not None:
        scope = encode(subnet[:_SUBNET_BYTES])
        keys.insert(0, TrafficKey(scope, "network", _span_index("network", at)))
    return keys


def add(
    connection: Connection, keys: Sequence[TrafficKey], *, sends: int = 0, verified: int = 0
) -> list[TrafficCounts]:
    """Add to rows and return their counts, in the order of the keys."""
    values: dict[str, Any] = {}
    for place, key in enumerate(keys):
        values |= {
            f"scope_{place}": key.scope,
            f"span_{place}": key.span[0],
            f"start_{place}": key.start,
            f"sends_{place}": sends,
            f"verified_{place}": verified,
        }
    rows = connection.execute(_insert_traffic(len(keys)), values)
    counts = {
        (row.scope, row.span, row.start): TrafficCounts(row.sends, row.verified) for row in rows
    }
    return [counts[key.scope, key.span[0], key.start] for key in keys]


#: Text, because SQLAlchemy compiles an INSERT of several rows each time it runs.
_INSERT = "INSERT INTO traffic (scope, span, start, sends, verified) VALUES "
_ON_CONFLICT = """
ON CONFLICT (scope, span, start) DO UPDATE SET
  sends = traffic.sends + excluded.sends, verified = traffic.verified + excluded.verified
RETURNING scope, span, start, sends, verified"""


@cache
def _insert_traffic(rows: int) -> Executable:
    columns = ("scope", "span", "start", "sends", "verified")
    values = ", ".join(
        "(" + ", ".join(f":{column}_{place}" for column in columns) + ")" for place in range(rows)
    )
    return text(_INSERT + values + _ON_CONFLICT)


_COLUMNS = table(Traffic).c
SELECT_EARLIER = select(
    _COLUMNS.scope, _COLUMNS.span, _COLUMNS.start, _COLUMNS.sends, _COLUMNS.verified
).where(
    or_(
        *(
            and_(
                _COLUMNS.scope == bindparam(scope),
                _COLUMNS.span == span[0],
                _COLUMNS.start >= bindparam(f"{span}_start"),
            )
            for scope in ("prefix", "country")
            for span in SPANS
        )
    )
)


def count(
    connection: Connection, prefix: str, country: str, at: datetime, subnet: bytes | None = None
) -> CountedTraffic:
    """Count one send in the traffic of its prefix, country and subnet, and return the recent traffic."""
    oldest = {f"{span}_start": _span_index(span, at) - LOOKBACK_SPANS[span] for span in SPANS}
    history: dict[tuple[str, str], dict[int, TrafficCounts]] = {}
    for row in connection.execute(SELECT_EARLIER, {"prefix": prefix, "country": country} | oldest):
        rows = history.setdefault((row.scope, row.span), {})
        rows[row.start] = TrafficCounts(row.sends, row.verified)
    keys = traffic_keys(prefix, country, at, subnet)
    spans: list[SpanTraffic] = []
    subnet_counts: TrafficCounts | None = None
    before: dict[int, TrafficCounts] = {}
    for key, now in zip(keys, add(connection, keys, sends=1), strict=True):
        if key.span == "network":
            subnet_counts = now
            continue
        rows = history.get((key.scope, key.span[0]), {})
        before = {start: earlier for start, earlier in rows.items() if start < key.start}
        newer = [later for start, later in rows.items() if start > key.start]
        sends = now.sends + sum(later.sends for later in newer)
        verified = now.verified + sum(later.verified for later in newer)
        best = max((earlier.verified for earlier in before.values()), default=0)
        last = before.get(key.start - 1, TrafficCounts(0, 0)).verified
        spans.append(SpanTraffic(sends, verified, best, max(last, verified)))
    # The last key is the country's day, so `before` now holds the country's earlier days.
    ratio = _unverified_ratio(before)
    return CountedTraffic(
        keys, RecentTraffic(*spans[:2]), RecentTraffic(*spans[2:]), ratio, subnet_counts
    )


def _unverified_ratio(days: Mapping[int, TrafficCounts]) -> float:
    """Return how many sends stay unverified for each verified one, learned from earlier days."""
    verified = sum(day.verified for day in days.values())
    unverified = sum(max(0, day.sends - day.verified) for day in days.values())
    expected = unverified + PRIOR_UNVERIFIED_RATIO * PRIOR_WEIGHT
    return min(MAX_UNVERIFIED_RATIO, expected / (verified + PRIOR_WEIGHT))


def ends_in(span: SpanName, at: datetime) -> int:
    """Return the seconds until the hour or the day ends, rounded up."""
    length = SPAN_LENGTHS[span]
    return -(((at - EPOCH) % length - length) // timedelta(seconds=1))


def _span_index(span: SpanName, at: datetime) -> int:
    return (at - EPOCH) // SPAN_LENGTHS[span]


def purge_traffic(connection: Connection, now: datetime) -> int:
    """Delete a batch of rows that are older than what is read."""
    over = (
        and_(_COLUMNS.span == span[0], _COLUMNS.start < _span_index(span, now) - back - 1)
        for span, back in LOOKBACK_SPANS.items()
    )
    return purge(connection, Traffic, or_(*over))
