"""History: the decisions that were stored, in the order they were made, with what came of each.

Owns reading them, a page at a time, so that a month of them needs no more memory than an hour. Refuses
to guess: what an attempt that was refused would have cost is what had been reserved for it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from core.database import Database, UtcDateTime, table
from sms.delivery import NEVER_SENT
from sms.models import Send
from verification.policy.facts import Attempt
from verification.policy.models import Decision
from verification.policy.rules import Verdict

PAGE = 2_000
#: An attempt's sends begin sooner than this after it, and the next on its channel comes no sooner.
HANDED_OVER_WITHIN = timedelta(seconds=60)

_DECISIONS = table(Decision).c
_SENDS = table(Send).c
_ORDER = (
    _DECISIONS.created_at,
    _DECISIONS.number_digest,
    _DECISIONS.verification,
    _DECISIONS.id,
)
_BEGINNING = bindparam("since", type_=UtcDateTime())
_END = bindparam("until", type_=UtcDateTime())
_WITHIN = (_DECISIONS.created_at >= _BEGINNING, _DECISIONS.created_at < _END)
_COUNTING = select(func.count()).where(*_WITHIN)
_FIRST_PAGE = (
    select(
        *_ORDER,
        _DECISIONS.network,
        _DECISIONS.wider,
        _DECISIONS.country,
        _DECISIONS.prefix,
        _DECISIONS.number_type,
        _DECISIONS.channel,
        _DECISIONS.resend,
        _DECISIONS.price_micros,
        _DECISIONS.solved,
        _DECISIONS.verdict,
        _DECISIONS.rule,
        _DECISIONS.verified_at,
    )
    .where(*_WITHIN)
    .order_by(*_ORDER)
    .limit(PAGE)
)
_AFTER: list[ColumnElement[object]] = [
    bindparam(f"after_{place}", type_=column.type) for place, column in enumerate(_ORDER)
]
_NEXT_PAGE = _FIRST_PAGE.where(tuple_(*_ORDER) > tuple_(*_AFTER))
_SENDING = (
    select(
        _SENDS.number_digest,
        _SENDS.verification,
        _SENDS.channel,
        _SENDS.created_at,
        _SENDS.price_micros,
        NEVER_SENT.label("never_sent"),
    )
    .where(_SENDS.created_at >= _BEGINNING, _SENDS.created_at < _END)
    .order_by(_SENDS.created_at)
)


@dataclass(frozen=True)
class Past:
    """An attempt of the past: what was decided, and what came of it."""

    attempt: Attempt
    verdict: Verdict
    rule: str | None
    #: Millionths of the currency; None when it was allowed and for certain nothing was sent.
    paid_micros: int | None
    #: When its verification was verified, if it was allowed.
    verified_at: datetime | None


def count(database: Database, since: datetime, until: datetime) -> int:
    """Count the decisions of a time."""
    with database.read() as connection:
        return int(connection.execute(_COUNTING, {"since": since, "until": until}).scalar_one())


def read(database: Database, since: datetime, until: datetime) -> Iterator[Past]:
    """Give the attempts of a time, oldest first."""
    values: dict[str, object] = {"since": since, "until": until}
    statement = _FIRST_PAGE
    while True:
        with database.read() as connection:
            rows = connection.execute(statement, values).all()
            payments = _payments(connection, rows)
        for row in rows:
            yield _past(row, payments)
        if len(rows) < PAGE:
            return
        statement = _NEXT_PAGE
        values |= {"since": rows[-1].created_at}
        values |= {f"after_{place}": value for place, value in enumerate(rows[-1][: len(_ORDER)])}


AnyRow = Row[*tuple[Any, ...]]
#: By number, verification and channel: when a send began, and what was paid for it.
_Payments = dict[tuple[bytes, bytes, str], list[tuple[datetime, int | None]]]


def _payments(connection: Connection, rows: Sequence[AnyRow]) -> _Payments:
    """Find the sends that a page of decisions led to."""
    payments: _Payments = defaultdict(list)
    if rows:
        span = {
            "since": rows[0].created_at,
            "until": rows[-1].created_at + HANDED_OVER_WITHIN,
        }
        for send in connection.execute(_SENDING, span):
            paid = None if send.never_sent else send.price_micros
            of = (send.number_digest, send.verification, send.channel)
            payments[of].append((send.created_at, paid))
    return payments


def _past(row: AnyRow, payments: _Payments) -> Past:
    attempt = Attempt(
        number_digest=row.number_digest,
        verification=row.verification,
        network=row.network,
        wider=row.wider,
        country=row.country,
        prefix=row.prefix,
        number_type=row.number_type,
        channel=row.channel,
        resend=row.resend,
        solved=row.solved,
        at=row.created_at,
        price_micros=row.price_micros,
    )
    paid: int | None = attempt.price_micros
    if row.verdict == "allow":
        mine = [
            price
            for began_at, price in payments.get(
                (attempt.number_digest, attempt.verification, attempt.channel), ()
            )
            if attempt.at <= began_at < attempt.at + HANDED_OVER_WITHIN
        ]
        prices = [price for price in mine if price is not None]
        if mine:
            paid = sum(prices) if prices else None
    return Past(attempt, row.verdict, row.rule, paid, row.verified_at)
