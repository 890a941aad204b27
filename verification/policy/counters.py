"""The counters behind the facts: buckets, traffic, countries and money, counted with the attempt in them.

Owns the order in which they are counted. All rows that are touched stay locked to the end of the
transaction, the busiest of each kind last, and always in the same order.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cache

from sqlalchemy import Connection, Executable, bindparam, func, select

from core import rate_limits
from core.clock import DAY
from core.database import insert_into, purge, table
from core.rate_limits import BucketLevel, RateLimit, WindowCharge, WindowUsage
from verification.policy import traffic
from verification.policy.facts import Attempt, Facts, Subject
from verification.policy.file import Policy
from verification.policy.models import NetworkCountry
from verification.policy.rules import BUCKETS, BudgetRule, VelocityRule
from verification.policy.traffic import Cell

#: How old the note of a country may become before it is made again.
NOTED_AGAIN_AFTER = timedelta(hours=1)
#: Counted without a rule too: its row is what keeps apart requests of one network at the same time.
NETWORK = RateLimit(BUCKETS["network"], 1_000_000, DAY)

#: By wider network: questions whether a number is known that ended in a refusal, 10, refilled over a day.
#: A service, which asks for many people, has none; what it learns is bounded by its own limits.
MISSES = RateLimit("known-misses", 10, DAY)


def may_ask(connection: Connection, attempt: Attempt) -> bool:
    """Count a question whether a number is known, as one that ends in a refusal; False: do not ask."""
    if attempt.wider is None:
        return True
    return rate_limits.consume(connection, MISSES, attempt.wider, attempt.at)[0]


def was_known(connection: Connection, attempt: Attempt) -> None:
    """Take the question back: it ended in a text."""
    if attempt.wider is not None:
        rate_limits.refund(connection, MISSES, attempt.wider)


@dataclass(frozen=True)
class Counted:
    """What was counted for an attempt, so that it can be put right when it turns out otherwise."""

    facts: Facts
    poured: Sequence[BucketLevel]
    cells: Sequence[Cell]
    money: Sequence[WindowCharge]


class Counters:
    """Counts attempts and finds the facts."""

    def __init__(self, policy: Policy) -> None:
        self._buckets: dict[Subject, RateLimit] = {"network": NETWORK}
        for rule in policy.rules:
            if isinstance(rule, VelocityRule):
                self._buckets[rule.of] = rule.limit
        #: The budgets that keep something for known numbers.
        self._keeping = {
            rule.of for rule in policy.rules if isinstance(rule, BudgetRule) and rule.reserve
        }

    def count(self, connection: Connection, attempt: Attempt) -> Counted:
        """Count an attempt everywhere; give what the rules may know of it."""
        now = attempt.at
        levels, poured = self._pour(connection, attempt)
        counted = traffic.count(connection, attempt.prefix, attempt.country, now, attempt.wider)
        countries = _count_countries(connection, attempt) if attempt.wider else 0
        spent, money = _reserve(connection, attempt, self._keeping if attempt.reserve else ())
        facts = Facts(
            attempt=attempt,
            levels=levels,
            country=counted.country,
            prefix=counted.prefix,
            usual=counted.usual,
            suspect=_suspect(counted),
            countries=countries,
            spent=spent,
            hour_ends_in=traffic.ends_in("hour", now),
            day_ends_in=traffic.ends_in("day", now),
        )
        return Counted(facts, poured, counted.cells, money)

    def _pour(
        self, connection: Connection, attempt: Attempt
    ) -> tuple[dict[Subject, int], list[BucketLevel]]:
        subjects: dict[Subject, bytes] = {}
        if attempt.wider:
            own = sends_subject(attempt.number_digest, attempt.network)
            subjects |= {"number-and-requester": own}
        if attempt.reserve:
            subjects |= {"reserve-number": attempt.number_digest}
            if attempt.wider:
                subjects |= {"reserve-wider-network": attempt.wider}
        subjects["number"] = attempt.number_digest
        if attempt.wider:
            subjects |= {"network": attempt.network, "wider-network": attempt.wider}
        subjects |= {"prefix": named(attempt.prefix), "country": named(attempt.country)}
        counted = {
            of: (self._buckets[of], subject)
            for of, subject in subjects.items()
            if of in self._buckets
        }
        poured = (
            rate_limits.fill_buckets(connection, list(counted.values()), attempt.at)
            if counted
            else []
        )
        levels = {of: one.level_us for of, one in zip(counted, poured, strict=True)}
        return levels, poured


def take_back(connection: Connection, counted: Counted, *, velocity: bool) -> None:
    """Uncount a send that for certain did not happen; `velocity` says whether it counts as asked for."""
    if counted.poured and not velocity:
        rate_limits.drain_buckets(connection, counted.poured)
    traffic.add(connection, counted.cells, sends=-1)
    if counted.money:
        back = [amount._replace(amount=-amount.amount) for amount in counted.money]
        rate_limits.adjust_windows(connection, back)


def settle_money(connection: Connection, counted: Counted, paid_micros: int) -> None:
    """Replace what was reserved by what was paid."""
    difference = paid_micros - counted.facts.attempt.price_micros
    if counted.money and difference:
        amounts = [amount._replace(amount=difference) for amount in counted.money]
        rate_limits.adjust_windows(connection, amounts)


_COUNTRIES = table(NetworkCountry)
_COUNTING_COUNTRIES = select(
    func.count(),
    func.max(_COUNTRIES.c.until).filter(_COUNTRIES.c.country == bindparam("country")),
).where(_COUNTRIES.c.network == bindparam("of"), _COUNTRIES.c.until > bindparam("now"))


@cache
def _noting_country(dialect: str) -> Executable:
    statement = insert_into(dialect, NetworkCountry)
    return statement.on_conflict_do_update(
        index_elements=["network", "country"], set_={"until": statement.excluded.until}
    )


def _count_countries(connection: Connection, attempt: Attempt) -> int:
    """Count the countries that a network asked for in the last day, this one among them.

    The row of the network's bucket, which is locked, keeps two requests of it apart.
    """
    now = attempt.at
    row = connection.execute(
        _COUNTING_COUNTRIES,
        {"of": attempt.network, "country": attempt.country, "now": now},
    ).one()
    count, until = int(row[0]), row[1]
    if until is None or until < now + DAY - NOTED_AGAIN_AFTER:
        connection.execute(
            _noting_country(connection.dialect.name),
            {"network": attempt.network, "country": attempt.country, "until": now + DAY},
        )
    return count + (until is None)


def _suspect(counted: traffic.Counted) -> float | None:
    """Give how many texts of the network stayed unverified today, beyond what usually does."""
    if counted.network is None:
        return None
    sends, verified = counted.network
    return sends - verified - counted.usual * verified


def _reserve(
    connection: Connection, attempt: Attempt, kept: Collection[str]
) -> tuple[dict[str, int], list[WindowCharge]]:
    """Reserve an attempt's price in the day's money of its prefix, its country and in all.

    kept: the budgets of which it takes what is kept for known numbers. That is counted by itself, so
    that each part is exactly bounded.
    """
    of = {"prefix": attempt.prefix, "country": attempt.country, "total": ""}
    if attempt.price_micros == 0:
        return dict.fromkeys(of, 0), []
    midnight = datetime.combine(attempt.at.date() + DAY, time(), attempt.at.tzinfo)
    amounts = [
        WindowCharge(
            f"money-{budget}-reserve" if budget in kept else f"money-{budget}",
            named(subject),
            attempt.price_micros,
            midnight,
        )
        for budget, subject in of.items()
    ]
    sums: list[WindowUsage] = rate_limits.add_to_windows(connection, amounts, attempt.at)
    spent = {budget: total.used for budget, total in zip(of, sums, strict=True)}
    counted = [a._replace(ends_at=total.ends_at) for a, total in zip(amounts, sums, strict=True)]
    return spent, counted


def purge_countries(connection: Connection, now: datetime) -> int:
    """Delete a batch of countries that networks asked for longer than a day ago."""
    return purge(connection, NetworkCountry, NetworkCountry.until < now)


def sends_subject(number_digest: bytes, requester: bytes) -> bytes:
    """Name a number and requester together, as the limit on sends counts them."""
    return hashlib.sha256(number_digest + requester).digest()[:16]


def named(public: str) -> bytes:
    """Name a prefix or a country, which are no secret, as limits name their subjects."""
    return hashlib.sha256(public.encode()).digest()[:16]
