"""The table of rate limits, and the SQL that counts in it (see rate_limits.py)."""

from functools import cache
from typing import Literal

from sqlalchemy import (
    BigInteger,
    Executable,
    Index,
    LargeBinary,
    String,
    bindparam,
    case,
    delete,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.database import Base, insert_into, table

#: `gcra`: one more every period / quota. `fixed-window`: the whole quota again when the window ends.
Algorithm = Literal["gcra", "fixed-window"]


class RateLimitCounter(Base):
    """The state of one limit for one subject; worthless once `until_us` has passed."""

    __tablename__ = "limits"
    __table_args__ = (
        Index(None, "until_us"),
        {"info": {"shard_by": "subject"}, "sqlite_with_rowid": False},
    )

    #: The id of a number or account, or a keyed digest; never in clear.
    subject: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    #: Of a window: how much was counted in it. Of a bucket: what the last fill added.
    used: Mapped[int] = mapped_column(BigInteger)
    #: Microseconds since 1970: of a bucket the theoretical arrival time, of a window its end.
    until_us: Mapped[int] = mapped_column(BigInteger)


_COUNTERS = table(RateLimitCounter)
_COLUMNS = _COUNTERS.c
_THIS_COUNTER = (
    _COLUMNS.subject == bindparam("this_subject"),
    _COLUMNS.name == bindparam("this_name"),
)
SELECT_COUNTER = select(_COLUMNS.used, _COLUMNS.until_us).where(*_THIS_COUNTER)
DELETE_COUNTER = delete(_COUNTERS).where(*_THIS_COUNTER)
#: Takes back exactly what was counted, also when others counted since.
UPDATE_REFUNDED = (
    update(_COUNTERS)
    .where(*_THIS_COUNTER)
    .values(
        used=_COLUMNS.used - bindparam("counted", type_=BigInteger),
        until_us=_COLUMNS.until_us - bindparam("filled_us", type_=BigInteger),
    )
)
#: A window that is over has another end by now, or no row.
UPDATE_WINDOW = (
    update(_COUNTERS)
    .where(*_THIS_COUNTER, _COLUMNS.until_us == bindparam("ends_us", type_=BigInteger))
    .values(used=_COLUMNS.used + bindparam("amount", type_=BigInteger))
)


@cache
def upsert_if_room(
    dialect: str, algorithm: Algorithm, name: str, quota: int, period_us: int
) -> Executable:
    """Build the upsert that counts one request; it returns no row when there is no room."""
    now_us = bindparam("now_us", type_=BigInteger)
    insert = insert_into(dialect, RateLimitCounter).values(
        subject=bindparam("subject"), name=name, used=1, until_us=bindparam("until_us")
    )
    if algorithm == "gcra":
        base = case((_COLUMNS.until_us > now_us, _COLUMNS.until_us), else_=now_us)
        arrival_us = base + period_us // quota
        changes = {"until_us": arrival_us}
        has_room = arrival_us <= now_us + period_us
    else:
        is_over = _COLUMNS.until_us <= now_us
        changes = {
            "used": case((is_over, 1), else_=_COLUMNS.used + 1),
            "until_us": case((is_over, now_us + period_us), else_=_COLUMNS.until_us),
        }
        has_room = is_over | (_COLUMNS.used < quota)
    return insert.on_conflict_do_update(
        index_elements=["subject", "name"], set_=changes, where=has_room
    ).returning(_COLUMNS.used, _COLUMNS.until_us)


# Text, because SQLAlchemy compiles an INSERT of several rows each time it runs. All subjects are one
# value and the rest is another, because a parameter costs more than a row does.
_SELECT_ROWS = {
    "sqlite": """SELECT substr(:subjects, 16 * key + 1, 16),
  json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
FROM json_each(:rows) WHERE true""",
    "postgresql": """SELECT substr(CAST(:subjects AS bytea), 16 * CAST(place AS integer) - 15, 16),
  value ->> 0, CAST(value ->> 1 AS bigint), CAST(value ->> 2 AS bigint)
FROM json_array_elements(CAST(:rows AS json)) WITH ORDINALITY AS one (value, place)""",
}
#: When a bucket is empty: before, with one fill more, and if it is full. `excluded` brings quota + 1 in
#: `used`, and in `until_us` the emission interval from now.
_BEFORE = "CASE WHEN limits.until_us > :now_us THEN limits.until_us ELSE :now_us END"
_FILLED = f"{_BEFORE} + excluded.until_us - :now_us"
_FULL = ":now_us + excluded.used * (excluded.until_us - :now_us)"
_AFTER = f"""CASE WHEN {_FILLED} <= {_FULL} THEN {_FILLED}
  WHEN {_BEFORE} > {_FULL} THEN {_BEFORE} ELSE {_FULL} END"""


def _upsert_rows(used: str, until_us: str) -> dict[str, Executable]:
    return {
        dialect: text(f"""INSERT INTO limits (subject, name, used, until_us) {rows}
ON CONFLICT (subject, name) DO UPDATE SET used = {used}, until_us = {until_us}
RETURNING subject, name, used, until_us""")
        for dialect, rows in _SELECT_ROWS.items()
    }


UPSERT_BUCKETS = _upsert_rows(f"{_AFTER} - {_BEFORE}", _AFTER)
UPSERT_WINDOWS = _upsert_rows(
    "CASE WHEN limits.until_us > :now_us THEN limits.used ELSE 0 END + excluded.used",
    "CASE WHEN limits.until_us > :now_us THEN limits.until_us ELSE excluded.until_us END",
)
