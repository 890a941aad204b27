"""History: what was decided, in the order it was, with what came of each; refusals by their minutes.

It is read a page at a time, so that a month needs no more memory than an hour. What an attempt that was
refused would have cost is what had been reserved for it.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import merge
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from core.database import Database, UtcDateTime, table
from sms.delivery import NEVER_SENT
from sms.models import Send
from verification.policy.facts import Attempt
from verification.policy.models import Decision, Refusal
from verification.policy.refusals import minute_of
from verification.policy.rules import Verdict

PAGE = 2_000
#: The country of refusals that were of several (CLDR's code for one that is not known).
UNKNOWN_COUNTRY = "ZZ"
#: An attempt's sends begin sooner than this after it, and the next on its channel comes no sooner.
HANDED_OVER_WITHIN = timedelta(seconds=60)

AnyRow = Row[*tuple[Any, ...]]
_DECISIONS = table(Decision).c
_REFUSALS = table(Refusal).c
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
        _DECISIONS.reserve,
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
_MINUTES = (_REFUSALS.minute, _REFUSALS.created_at, _REFUSALS.subject, _REFUSALS.rule)
_REFUSED = (
    _REFUSALS.minute >= bindparam("first"),
    _REFUSALS.created_at >= _BEGINNING,
    _REFUSALS.created_at < _END,
)
_COUNTING_REFUSALS = select(func.count(), func.coalesce(func.sum(_REFUSALS.requests), 0)).where(
    *_REFUSED
)
_FIRST_REFUSALS = select(*table(Refusal).columns).where(*_REFUSED).order_by(*_MINUTES).limit(PAGE)
_AFTER_REFUSALS: list[ColumnElement[object]] = [
    bindparam(f"after_{place}", type_=column.type) for place, column in enumerate(_MINUTES)
]
_NEXT_REFUSALS = _FIRST_REFUSALS.where(tuple_(*_MINUTES) > tuple_(*_AFTER_REFUSALS))
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
    verified_at: datetime | None = None


@dataclass(frozen=True)
class Refused:
    """The attempts that one rule refused in one minute, of which the order and some else is lost."""

    #: The first of them.
    first: Attempt
    verdict: Verdict
    rule: str
    count: int
    #: How many of them brought a solved challenge.
    solved: int
    #: The fields of the first that all of them had.
    shared: frozenset[str]

    def attempt(self, place: int, *, solved: bool) -> Attempt:
        """Give one of them; what they differed in is made up, and different in each."""
        made_up = hashlib.sha256(
            self.first.number_digest + self.first.verification + place.to_bytes(8, "big")
        ).digest()[:16]
        values: dict[str, Any] = {"verification": made_up, "solved": solved}
        if place:
            values |= {
                name: made_up for name in ("number_digest", "network") if name not in self.shared
            }
            if "wider" not in self.shared and self.first.wider:
                values["wider"] = made_up
            if "prefix" not in self.shared and self.first.prefix.startswith("?"):
                values["prefix"] = f"?{made_up.hex()[:11]}"
        return replace(self.first, **values)


@dataclass(frozen=True)
class Stored:
    """How much history there is."""

    decisions: int
    #: Rows of refusals, and how many attempts they stand for.
    minutes: int
    refused: int

    @property
    def rows(self) -> int:
        """What there is to read."""
        return self.decisions + self.minutes


def count(database: Database, since: datetime, until: datetime) -> Stored:
    """Count the history of a time."""
    values = {"since": since, "until": until, "first": minute_of(since)}
    with database.read() as connection:
        decisions = int(connection.execute(_COUNTING, values).scalar_one())
        minutes, refused = connection.execute(_COUNTING_REFUSALS, values).one()
    return Stored(decisions, int(minutes), int(refused))


def read(database: Database, since: datetime, until: datetime) -> Iterator[Past | Refused]:
    """Give the attempts of a time, oldest first; refusals stand where the first of a minute was."""
    return merge(
        _decided(database, since, until),
        _refused(database, since, until),
        key=lambda past: past.first.at if isinstance(past, Refused) else past.attempt.at,
    )


def _refused(database: Database, since: datetime, until: datetime) -> Iterator[Refused]:
    values: dict[str, object] = {"since": since, "until": until, "first": minute_of(since)}
    statement = _FIRST_REFUSALS
    while True:
        with database.read() as connection:
            rows = connection.execute(statement, values).all()
        yield from map(_minute, rows)
        if len(rows) < PAGE:
            return
        statement, last = _NEXT_REFUSALS, rows[-1]
        values |= {
            f"after_{place}": getattr(last, column.name) for place, column in enumerate(_MINUTES)
        }


def _minute(row: AnyRow) -> Refused:
    names = ("number_digest", "network", "wider", "prefix")
    # A list refused them by the figures of the first, which another policy's list is to judge too.
    found: list[dict[str, Any]] = json.loads(row.findings)
    listed = next((one for one in found if one["rule"] == row.rule), {})
    shared = {name for name in names if getattr(row, name) is not None}
    made_up = hashlib.sha256(row.subject + row.rule.encode() + str(row.minute).encode()).digest()
    first = Attempt(
        number_digest=row.number_digest or made_up[:16],
        verification=made_up[16:],
        network=row.network or made_up[:16],
        wider=None if row.service else row.wider or made_up[:16],
        country=row.country or listed.get("country", UNKNOWN_COUNTRY),
        prefix=row.prefix or listed.get("range") or f"?{made_up.hex()[:11]}",
        number_type=row.number_type,
        channel=row.channel or "sms",
        resend=bool(row.resend),
        solved=False,
        at=row.created_at,
        price_micros=row.price_micros,
    )
    return Refused(first, row.verdict, row.rule, row.requests, row.solved, frozenset(shared))


def _decided(database: Database, since: datetime, until: datetime) -> Iterator[Past]:
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
        reserve=row.reserve,
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
