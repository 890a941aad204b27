"""Recorded decisions and refusals, oldest first, with what was paid for each and whether it was verified.

They are read in pages, so a month needs no more memory than an hour.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from heapq import merge
from typing import Any

from sqlalchemy import Row, Select, bindparam, func, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from core.database import Database, UtcDateTime, table
from sms.delivery import NEVER_SENT
from sms.models import Send
from verification.policy.facts import SendAttempt
from verification.policy.models import Decision, Refusal
from verification.policy.refusals import minute_of
from verification.policy.rules import Verdict

PAGE_SIZE = 2_000
#: The country of refusals of several countries (CLDR's code of an unknown region).
UNKNOWN_COUNTRY = "ZZ"
#: An attempt's sends start within this time, and the next attempt on its channel comes no sooner.
MAX_DISPATCH_DELAY = timedelta(seconds=60)

AnyRow = Row[*tuple[Any, ...]]
_SENDS = table(Send).c
_SINCE, _UNTIL = (bindparam(name, type_=UtcDateTime()) for name in ("since", "until"))
_DECISIONS, _REFUSALS = table(Decision).c, table(Refusal).c
_DECISION_KEY = (
    _DECISIONS.created_at,
    _DECISIONS.number_digest,
    _DECISIONS.verification_nonce,
    _DECISIONS.id,
)
_DECIDED = (_DECISIONS.created_at >= _SINCE, _DECISIONS.created_at < _UNTIL)
SELECT_DECISIONS = select(*(c for c in _DECISIONS if c.name != "rule_results")).where(*_DECIDED)
_REFUSAL_KEY = (_REFUSALS.minute, _REFUSALS.created_at, _REFUSALS.subject, _REFUSALS.rule)
_REFUSED = (
    _REFUSALS.minute >= bindparam("minute"),
    _REFUSALS.created_at >= _SINCE,
    _REFUSALS.created_at < _UNTIL,
)
SELECT_REFUSALS = select(*_REFUSALS).where(*_REFUSED)
SELECT_PAYMENTS = (
    select(
        _SENDS.number_digest,
        _SENDS.verification_nonce,
        _SENDS.channel,
        _SENDS.created_at,
        _SENDS.price_micros,
        NEVER_SENT.label("never_sent"),
    )
    .where(_SENDS.created_at >= _SINCE, _SENDS.created_at < _UNTIL)
    .order_by(_SENDS.created_at)
)
_ATTEMPT_COLUMNS = [field.name for field in fields(SendAttempt) if field.name != "at"]


@dataclass(frozen=True)
class RecordedDecision:
    """An attempt, the decision on it and its outcome."""

    attempt: SendAttempt
    verdict: Verdict
    rule: str | None
    #: Millionths of the currency; None if it was allowed and certainly not sent. Of a refused attempt it is
    #: the price that was reserved.
    paid_micros: int | None
    #: When its verification was verified, if it was allowed.
    verified_at: datetime | None = None

    @property
    def at(self) -> datetime:
        """When it was decided."""
        return self.attempt.at


@dataclass(frozen=True)
class RecordedRefusals:
    """The attempts that one rule refused in one minute; their order and part of their fields are lost."""

    first: SendAttempt
    verdict: Verdict
    rule: str
    count: int
    #: How many had a solved challenge.
    solved: int
    #: Fields that all of them share with the first.
    shared: frozenset[str]

    @property
    def at(self) -> datetime:
        """When the first one was refused."""
        return self.first.at

    def attempt(self, place: int, *, solved: bool) -> SendAttempt:
        """Return one of the attempts; fields in which they differed get a value of its own."""
        unique = hashlib.sha256(
            self.first.number_digest + self.first.verification_nonce + place.to_bytes(8, "big")
        ).digest()[:16]
        values: dict[str, Any] = {"verification_nonce": unique, "solved": solved}
        if place:
            values |= {
                name: unique for name in ("number_digest", "network") if name not in self.shared
            }
            if "subnet" not in self.shared and self.first.subnet:
                values["subnet"] = unique
            if "prefix" not in self.shared and self.first.prefix.startswith("?"):
                values["prefix"] = f"?{unique.hex()[:11]}"
        return replace(self.first, **values)


@dataclass(frozen=True)
class HistorySize:
    """How much history there is."""

    decisions: int
    #: Rows of refusals, and the attempts that they count.
    minutes: int
    refused: int

    @property
    def rows(self) -> int:
        """The number of rows to read."""
        return self.decisions + self.minutes


def count_history(database: Database, since: datetime, until: datetime) -> HistorySize:
    """Count the history of a period."""
    values = {"since": since, "until": until, "minute": minute_of(since)}
    requests = func.coalesce(func.sum(_REFUSALS.requests), 0)
    with database.read() as connection:
        decisions = connection.scalar(select(func.count()).where(*_DECIDED), values)
        refusals = select(func.count(), requests).where(*_REFUSED)
        minutes, refused = connection.execute(refusals, values).one()
    return HistorySize(decisions or 0, int(minutes), int(refused))


def read_history(
    database: Database, since: datetime, until: datetime, page_size: int = PAGE_SIZE
) -> Iterator[RecordedDecision | RecordedRefusals]:
    """Read the history of a period, oldest first; refusals stand where the first of a minute was."""
    values: dict[str, object] = {"since": since, "until": until, "minute": minute_of(since)}

    def pages(
        statement: Select[Any], key: Sequence[ColumnElement[Any]]
    ) -> Iterator[Sequence[AnyRow]]:
        after = [bindparam(f"after_{column.key}", type_=column.type) for column in key]
        page, parameters = statement.order_by(*key).limit(page_size), values
        while True:
            with database.read() as connection:
                rows = connection.execute(page, parameters).all()
            yield rows
            if len(rows) < page_size:
                return
            page = statement.where(tuple_(*key) > tuple_(*after)).order_by(*key).limit(page_size)
            # The moment keeps the scan of the index from starting over.
            last = rows[-1]._mapping
            parameters = values | {"since": last["created_at"]}
            parameters |= {f"after_{column.key}": last[column] for column in key}

    def decisions() -> Iterator[RecordedDecision]:
        for rows in pages(SELECT_DECISIONS, _DECISION_KEY):
            payments = _payments(database, rows)
            yield from (_decision(row, payments) for row in rows)

    def refusals() -> Iterator[RecordedRefusals]:
        for rows in pages(SELECT_REFUSALS, _REFUSAL_KEY):
            yield from map(_refusals, rows)

    return merge(decisions(), refusals(), key=lambda recorded: recorded.at)


def _refusals(row: AnyRow) -> RecordedRefusals:
    names = ("number_digest", "network", "subnet", "prefix")
    # A list denied them by these figures, which the list of another policy must evaluate too.
    results: list[dict[str, Any]] = json.loads(row.rule_results)
    figures = next((result for result in results if result["rule"] == row.rule), {})
    shared = {name for name in names if getattr(row, name) is not None}
    unique = hashlib.sha256(row.subject + row.rule.encode() + str(row.minute).encode()).digest()
    first = SendAttempt(
        number_digest=row.number_digest or unique[:16],
        verification_nonce=unique[16:],
        network=row.network or unique[:16],
        subnet=None if row.service else row.subnet or unique[:16],
        country=row.country or figures.get("country", UNKNOWN_COUNTRY),
        prefix=row.prefix or figures.get("range") or f"?{unique.hex()[:11]}",
        number_type=row.number_type,
        channel=row.channel or "sms",
        resend=bool(row.resend),
        solved=False,
        at=row.created_at,
        price_micros=row.price_micros,
    )
    return RecordedRefusals(
        first, row.verdict, row.rule, row.requests, row.solved, frozenset(shared)
    )


#: By number, verification and channel: when each send started, and what was paid for it.
_Payments = dict[tuple[bytes, bytes, str], list[tuple[datetime, int | None]]]


def _payments(database: Database, decisions: Sequence[AnyRow]) -> _Payments:
    """Return the sends that a page of decisions led to."""
    payments: _Payments = defaultdict(list)
    if decisions:
        since, until = decisions[0].created_at, decisions[-1].created_at + MAX_DISPATCH_DELAY
        with database.read() as connection:
            sends = connection.execute(SELECT_PAYMENTS, {"since": since, "until": until}).all()
        for send in sends:
            paid = None if send.never_sent else send.price_micros
            key = (send.number_digest, send.verification_nonce, send.channel)
            payments[key].append((send.created_at, paid))
    return payments


def _decision(row: AnyRow, payments: _Payments) -> RecordedDecision:
    attempt = SendAttempt(
        at=row.created_at, **{name: getattr(row, name) for name in _ATTEMPT_COLUMNS}
    )
    paid: int | None = attempt.price_micros
    if row.verdict == "allow":
        key = (attempt.number_digest, attempt.verification_nonce, attempt.channel)
        sends = [
            price
            for started_at, price in payments.get(key, ())
            if attempt.at <= started_at < attempt.at + MAX_DISPATCH_DELAY
        ]
        if sends:
            prices = [price for price in sends if price is not None]
            paid = sum(prices) if prices else None
    return RecordedDecision(attempt, row.verdict, row.rule, paid, row.verified_at)
