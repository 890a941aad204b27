"""Several limits counted at once, by one statement, whether or not they have room.

Owns the counting of those limits that are judged together: the caller reads how full each is with its own
share in it, judges, and takes it back with the savepoint it counted in when it refuses. Rows stay locked
to the end of the transaction, so what was read is still true when it is judged; all callers name subjects
in the same order, the busiest last, so that none waits for another in a circle.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Executable, Row, bindparam, text, update

from core.database import dialect_of, table
from core.limits import EPOCH, Limit, LimitCounter, microseconds

_COUNTERS = table(LimitCounter)


class Drop(NamedTuple):
    """One more in the bucket of a subject."""

    limit: Limit
    subject: bytes


class Poured(NamedTuple):
    """A drop in its bucket: microseconds until that is empty, and how many of them the drop added."""

    drop: Drop
    level_us: int
    added_us: int


class Amount(NamedTuple):
    """So much more of something, by one subject, in a window that ends at a time that all agree on."""

    name: str
    subject: bytes
    amount: int
    ends_at: datetime


class Sum(NamedTuple):
    """What a window holds now, and when it ends; its end is how the same window is found again."""

    used: int
    ends_at: datetime


def pour(connection: Connection, drops: Sequence[Drop], now: datetime) -> list[Poured]:
    """Count one in each bucket.

    A drop never fills a bucket over its capacity and one: whoever comes through in another way would
    otherwise fill it for days. One that the clock has jumped back before is left as full as it was.
    """
    now_us = microseconds(now)
    values: dict[str, Any] = {"now_us": now_us}
    for place, (limit, subject) in enumerate(drops):
        values |= {
            f"subject_{place}": subject,
            f"name_{place}": limit.name,
            f"used_{place}": limit.capacity + 1,
            f"until_us_{place}": now_us + limit.interval_us,
        }
    rows = connection.execute(_pouring(len(drops)), values)
    found = {(row.subject, row.name): row for row in rows}
    return [_poured(drop, found[drop.subject, drop.limit.name], now_us) for drop in drops]


def _poured(drop: Drop, row: Row[Any], now_us: int) -> Poured:
    level_us = row.until_us - now_us
    interval_us = drop.limit.interval_us
    # The first drop of an empty bucket is whole; its row may be new and hold the capacity still.
    return Poured(drop, level_us, interval_us if level_us == interval_us else row.used)


def add(connection: Connection, amounts: Sequence[Amount], now: datetime) -> list[Sum]:
    """Add to each window, named once each; give what each holds then.

    A window that the clock has jumped back before goes on, so no sum is ever forgotten early.
    """
    rows = connection.execute(
        _ADDING[dialect_of(connection)],
        {
            "now_us": microseconds(now),
            "subjects": b"".join([amount.subject for amount in amounts]),
            "amounts": json.dumps(
                [(one.name, one.amount, microseconds(one.ends_at)) for one in amounts]
            ),
        },
    ).all()
    sums = {
        (subject, name): Sum(used, EPOCH + timedelta(microseconds=until_us))
        for subject, name, used, until_us in rows
    }
    return [sums[amount.subject, amount.name] for amount in amounts]


def take_out(connection: Connection, poured: Sequence[Poured]) -> None:
    """Take drops out of their buckets again, because what they stood for did not happen."""
    connection.execute(
        _TAKING_OUT,
        [
            {"of": one.drop.subject, "by": one.drop.limit.name, "added_us": one.added_us}
            for one in poured
        ],
    )


def correct(connection: Connection, amounts: Sequence[Amount]) -> None:
    """Change what windows hold by what turned out otherwise; a window that is over stays over."""
    connection.execute(
        _CORRECTING,
        [
            {
                "of": amount.subject,
                "by": amount.name,
                "amount": amount.amount,
                "ends_us": microseconds(amount.ends_at),
            }
            for amount in amounts
        ],
    )


_HERE = (_COUNTERS.c.subject == bindparam("of"), _COUNTERS.c.name == bindparam("by"))
_TAKING_OUT = (
    update(_COUNTERS)
    .where(*_HERE)
    .values(until_us=_COUNTERS.c.until_us - bindparam("added_us", type_=BigInteger))
)
_CORRECTING = (
    update(_COUNTERS)
    .where(*_HERE, _COUNTERS.c.until_us == bindparam("ends_us", type_=BigInteger))
    .values(used=_COUNTERS.c.used + bindparam("amount", type_=BigInteger))
)


#: Written as text, because SQLAlchemy compiles an INSERT of several rows anew each time it runs.
_INSERTING = "INSERT INTO limits (subject, name, used, until_us)"
#: How full a bucket was, with one drop more, and with the last that it holds; `excluded` brings the
#: capacity and one in `used`, and what one drop adds in `until_us`.
_WAS = "CASE WHEN limits.until_us > :now_us THEN limits.until_us ELSE :now_us END"
_FULLER = f"{_WAS} + excluded.until_us - :now_us"
_FULL = ":now_us + excluded.used * (excluded.until_us - :now_us)"
_BECOMES = f"""CASE WHEN {_FULLER} <= {_FULL} THEN {_FULLER}
  WHEN {_WAS} > {_FULL} THEN {_WAS} ELSE {_FULL} END"""
_POURING = f"""
ON CONFLICT (subject, name) DO UPDATE SET
  used = {_BECOMES} - {_WAS}, until_us = {_BECOMES}
RETURNING subject, name, used, until_us"""
#: All subjects in one value and the rest in another, because a parameter costs more than a row does.
_AMOUNTS = {
    "sqlite": """SELECT substr(:subjects, 16 * key + 1, 16),
  json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
FROM json_each(:amounts) WHERE true""",
    "postgresql": """SELECT substr(CAST(:subjects AS bytea), 16 * CAST(place AS integer) - 15, 16),
  value ->> 0, CAST(value ->> 1 AS bigint), CAST(value ->> 2 AS bigint)
FROM json_array_elements(CAST(:amounts AS json)) WITH ORDINALITY AS one (value, place)""",
}
_ADDING = {
    dialect: text(f"""{_INSERTING} {given}
ON CONFLICT (subject, name) DO UPDATE SET
  used = CASE WHEN limits.until_us > :now_us THEN limits.used ELSE 0 END + excluded.used,
  until_us = CASE WHEN limits.until_us > :now_us THEN limits.until_us ELSE excluded.until_us END
RETURNING subject, name, used, until_us""")
    for dialect, given in _AMOUNTS.items()
}


@cache
def _pouring(rows: int) -> Executable:
    """Write an upsert of so many rows, whose parameters are numbered by row."""
    columns = ("subject", "name", "used", "until_us")
    return text(f"{_INSERTING} VALUES {numbered(columns, rows)} {_POURING}")


def numbered(columns: Sequence[str], rows: int) -> str:
    """Write the VALUES of so many rows, whose parameters are numbered: `(:name_0, …), (:name_1, …)`."""
    return ", ".join(
        "(" + ", ".join(f":{column}_{place}" for column in columns) + ")" for place in range(rows)
    )
