"""Traffic: how much went to a country or a prefix in each hour and day, and how much of it was verified.

Of a requester's wider network the same, for the day alone. Spans that are newer than now count with this
one, so that a clock set back reopens nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Executable, and_, bindparam, or_, select, text

from core.base64url import encode
from core.clock import DAY, EPOCH
from core.database import purge, table
from verification.policy.facts import Record, Span
from verification.policy.models import Traffic

SpanName = Literal["hour", "day", "network"]
SPANS: tuple[SpanName, ...] = ("hour", "day")
LENGTHS: dict[SpanName, timedelta] = {"hour": timedelta(hours=1), "day": DAY, "network": DAY}
#: How many spans before this one are looked at.
LOOK_BACK: dict[SpanName, int] = {"hour": 24, "day": 14, "network": 0}
#: Bytes of a network's digest that name it; 16 characters, which no prefix or country has without a plus.
_NETWORK_BYTES = 12
#: What is believed of a country nothing is known of: one of three stays unverified.
USUAL_AT_FIRST, USUAL_WEIGHT, USUAL_MOST = 0.5, 50, 1.0


class Cell(NamedTuple):
    """One row: a country or a prefix, and the hour or day, counted from 1970."""

    scope: str
    span: SpanName
    start: int


class Counts(NamedTuple):
    """What a row holds."""

    sends: int
    verified: int


class Counted(NamedTuple):
    """What the traffic of an attempt is with it in, and the rows it was counted in."""

    cells: list[Cell]
    prefix: Record
    country: Record
    usual: float
    #: Of the requester's wider network today; None for a service.
    network: Counts | None


def cells_of(prefix: str, country: str, at: datetime, wider: bytes | None = None) -> list[Cell]:
    """Name the rows that a send at a moment is counted in, the busiest last.

    wider: digest of the requester's wider network; None for a service.
    """
    cells = [Cell(scope, span, _index(span, at)) for scope in (prefix, country) for span in SPANS]
    if wider is not None:
        cells.insert(0, Cell(encode(wider[:_NETWORK_BYTES]), "network", _index("network", at)))
    return cells


def add(
    connection: Connection, cells: Sequence[Cell], *, sends: int = 0, verified: int = 0
) -> list[Counts]:
    """Add to rows; give what each holds then."""
    values: dict[str, Any] = {}
    for place, cell in enumerate(cells):
        values |= {
            f"scope_{place}": cell.scope,
            f"span_{place}": cell.span[0],
            f"start_{place}": cell.start,
            f"sends_{place}": sends,
            f"verified_{place}": verified,
        }
    rows = connection.execute(_adding(len(cells)), values)
    counts = {(row.scope, row.span, row.start): Counts(row.sends, row.verified) for row in rows}
    return [counts[cell.scope, cell.span[0], cell.start] for cell in cells]


#: Text, because SQLAlchemy compiles an INSERT of several rows anew each time it runs.
_INSERTING = "INSERT INTO traffic (scope, span, start, sends, verified) VALUES "
_OR_ADDING = """
ON CONFLICT (scope, span, start) DO UPDATE SET
  sends = traffic.sends + excluded.sends, verified = traffic.verified + excluded.verified
RETURNING scope, span, start, sends, verified"""


@cache
def _adding(rows: int) -> Executable:
    columns = ("scope", "span", "start", "sends", "verified")
    values = ", ".join(
        "(" + ", ".join(f":{column}_{place}" for column in columns) + ")" for place in range(rows)
    )
    return text(_INSERTING + values + _OR_ADDING)


_COLUMNS = table(Traffic).c
_LOOKING_BACK = select(
    _COLUMNS.scope, _COLUMNS.span, _COLUMNS.start, _COLUMNS.sends, _COLUMNS.verified
).where(
    or_(
        *(
            and_(
                _COLUMNS.scope == bindparam(scope),
                _COLUMNS.span == span[0],
                _COLUMNS.start >= bindparam(f"{span}_from"),
            )
            for scope in ("prefix", "country")
            for span in SPANS
        )
    )
)


def count(
    connection: Connection, prefix: str, country: str, at: datetime, wider: bytes | None = None
) -> Counted:
    """Count one send in the traffic of its prefix and its country, and look back at both."""
    oldest = {f"{span}_from": _index(span, at) - LOOK_BACK[span] for span in SPANS}
    history: dict[tuple[str, str], dict[int, Counts]] = {}
    for row in connection.execute(_LOOKING_BACK, {"prefix": prefix, "country": country} | oldest):
        rows = history.setdefault((row.scope, row.span), {})
        rows[row.start] = Counts(row.sends, row.verified)
    cells = cells_of(prefix, country, at, wider)
    spans: list[Span] = []
    network: Counts | None = None
    before: dict[int, Counts] = {}
    for cell, now in zip(cells, add(connection, cells, sends=1), strict=True):
        if cell.span == "network":
            network = now
            continue
        rows = history.get((cell.scope, cell.span[0]), {})
        before = {start: earlier for start, earlier in rows.items() if start < cell.start}
        newer = [later for start, later in rows.items() if start > cell.start]
        sends = now.sends + sum(later.sends for later in newer)
        verified = now.verified + sum(later.verified for later in newer)
        best = max((earlier.verified for earlier in before.values()), default=0)
        last = before.get(cell.start - 1, Counts(0, 0)).verified
        spans.append(Span(sends, verified, best, max(last, verified)))
    # The last cell was the country's day, so what is left of before are its earlier days.
    return Counted(cells, Record(*spans[:2]), Record(*spans[2:]), _usual(before), network)


def _usual(days: Mapping[int, Counts]) -> float:
    """Learn how many stay unverified for each that is verified."""
    verified = sum(day.verified for day in days.values())
    unverified = sum(max(0, day.sends - day.verified) for day in days.values())
    believed = unverified + USUAL_AT_FIRST * USUAL_WEIGHT
    return min(USUAL_MOST, believed / (verified + USUAL_WEIGHT))


def ends_in(span: SpanName, at: datetime) -> int:
    """Give the seconds until the hour or the day is over, rounded up."""
    return -(((at - EPOCH) % LENGTHS[span] - LENGTHS[span]) // timedelta(seconds=1))


def _index(span: SpanName, at: datetime) -> int:
    return (at - EPOCH) // LENGTHS[span]


def purge_traffic(connection: Connection, now: datetime) -> int:
    """Delete a batch of rows that nobody looks back at any more."""
    over = (
        and_(_COLUMNS.span == span[0], _COLUMNS.start < _index(span, now) - back - 1)
        for span, back in LOOK_BACK.items()
    )
    return purge(connection, Traffic, or_(*over))
