"""The counters behind the facts: buckets, traffic, countries and money, each with the attempt counted in.

Every row that is counted stays locked until the transaction ends. They are always locked in the same order,
the busiest of each kind last.
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
from verification.policy.facts import Facts, SendAttempt, Subject
from verification.policy.file import Policy
from verification.policy.models import NetworkCountry
from verification.policy.rules import BUCKET_NAMES, BudgetRule, VelocityRule
from verification.policy.traffic import TrafficKey

#: Age at which the row of a network's country is written again.
REFRESH_AFTER = timedelta(hours=1)
#: Counted without a rule too: its row lock serialises concurrent requests of one network.
NETWORK_LIMIT = RateLimit(BUCKET_NAMES["network"], 1_000_000, DAY)

#: Looks of a subnet at whether a number is known that ended in a refusal. A service has no subnet; its own
#: limits bound what it learns.
KNOWN_NUMBER_QUESTIONS = RateLimit("known-misses", 10, DAY)


def count_known_lookup(connection: Connection, attempt: SendAttempt) -> bool:
    """Count a question whether a number is known; return False if it must not be asked."""
    if attempt.subnet is None:
        return True
    return rate_limits.consume(connection, KNOWN_NUMBER_QUESTIONS, attempt.subnet, attempt.at)[0]


def refund_known_lookup(connection: Connection, attempt: SendAttempt) -> None:
    """Do not count the question: it ended in a send."""
    if attempt.subnet is not None:
        rate_limits.refund(connection, KNOWN_NUMBER_QUESTIONS, attempt.subnet)


@dataclass(frozen=True)
class CountedAttempt:
    """What was counted for an attempt, so that it can be refunded or corrected."""

    facts: Facts
    buckets: Sequence[BucketLevel]
    traffic_keys: Sequence[TrafficKey]
    charges: Sequence[WindowCharge]


class Counters:
    """Counts attempts and returns the facts."""

    def __init__(self, policy: Policy) -> None:
        self._buckets: dict[Subject, RateLimit] = {"network": NETWORK_LIMIT}
        for rule in policy.rules:
            if isinstance(rule, VelocityRule):
                self._buckets[rule.of] = rule.limit
        self._reserving = {
            rule.of for rule in policy.rules if isinstance(rule, BudgetRule) and rule.reserve
        }

    def count(self, connection: Connection, attempt: SendAttempt) -> CountedAttempt:
        """Count an attempt in every counter and return the facts."""
        now = attempt.at
        levels, buckets = self._fill_buckets(connection, attempt)
        counted = traffic.count(connection, attempt.prefix, attempt.country, now, attempt.subnet)
        countries = _count_countries(connection, attempt) if attempt.subnet else 0
        spent, charges = _reserve(connection, attempt, self._reserving if attempt.reserve else ())
        facts = Facts(
            attempt=attempt,
            levels=levels,
            country=counted.country,
            prefix=counted.prefix,
            unverified_ratio=counted.unverified_ratio,
            suspect=_suspect(counted),
            countries=countries,
            spent=spent,
            hour_ends_in=traffic.ends_in("hour", now),
            day_ends_in=traffic.ends_in("day", now),
        )
        return CountedAttempt(facts, buckets, counted.keys, charges)

    def _fill_buckets(
        self, connection: Connection, attempt: SendAttempt
    ) -> tuple[dict[Subject, int], list[BucketLevel]]:
        own, subnet = sends_subject(attempt.number_digest, attempt.network), attempt.subnet
        subjects: dict[Subject, bytes | None] = {
            "number-and-requester": own if subnet else None,
            "reserve-number": attempt.number_digest if attempt.reserve else None,
            "reserve-subnet": subnet if attempt.reserve else None,
            "number": attempt.number_digest,
            "network": attempt.network if subnet else None,
            "subnet": subnet,
            "prefix": public_subject(attempt.prefix),
            "country": public_subject(attempt.country),
        }
        filled = {
            of: (self._buckets[of], subject)
            for of, subject in subjects.items()
            if subject is not None and of in self._buckets
        }
        buckets = (
            rate_limits.fill_buckets(connection, list(filled.values()), attempt.at)
            if filled
            else []
        )
        levels = {of: each.level_us for of, each in zip(filled, buckets, strict=True)}
        return levels, buckets


def refund(connection: Connection, counted: CountedAttempt, *, keep_velocity: bool) -> None:
    """Uncount a send that certainly did not happen; `keep_velocity`: it still counts in buckets."""
    if counted.buckets and not keep_velocity:
        rate_limits.refund_buckets(connection, counted.buckets)
    traffic.add(connection, counted.traffic_keys, sends=-1)
    _correct(connection, counted, -counted.facts.attempt.price_micros)


def settle_charges(connection: Connection, counted: CountedAttempt, paid_micros: int) -> None:
    """Replace the price that was reserved by what was paid."""
    _correct(connection, counted, paid_micros - counted.facts.attempt.price_micros)


def _correct(connection: Connection, counted: CountedAttempt, difference_micros: int) -> None:
    if counted.charges and difference_micros:
        charges = [charge._replace(amount=difference_micros) for charge in counted.charges]
        rate_limits.adjust_windows(connection, charges)


_COUNTRIES = table(NetworkCountry)
SELECT_COUNTRIES = select(
    func.count(),
    func.max(_COUNTRIES.c.until).filter(_COUNTRIES.c.country == bindparam("country")),
).where(_COUNTRIES.c.network == bindparam("network"), _COUNTRIES.c.until > bindparam("now"))


@cache
def _insert_country(dialect: str) -> Executable:
    statement = insert_into(dialect, NetworkCountry)
    return statement.on_conflict_do_update(
        index_elements=["network", "country"], set_={"until": statement.excluded.until}
    )


def _count_countries(connection: Connection, attempt: SendAttempt) -> int:
    """Return the number of countries that a network asked for in the last day, this one included.

    The locked row of the network's bucket serialises two requests of one network.
    """
    now, key = attempt.at, {"network": attempt.network, "country": attempt.country}
    count, until = connection.execute(SELECT_COUNTRIES, key | {"now": now}).one()
    if until is None or until < now + DAY - REFRESH_AFTER:
        statement = _insert_country(connection.dialect.name)
        connection.execute(statement, key | {"until": now + DAY})
    return int(count) + (until is None)


def _suspect(counted: traffic.CountedTraffic) -> float | None:
    """Return the subnet's unverified sends of today beyond the usual share."""
    if counted.subnet is None:
        return None
    sends, verified = counted.subnet
    return sends - verified - counted.unverified_ratio * verified


def _reserve(
    connection: Connection, attempt: SendAttempt, reserving: Collection[str]
) -> tuple[dict[str, int], list[WindowCharge]]:
    """Reserve an attempt's price in the day's money of its prefix, its country and in total.

    reserving: budgets from whose reserve it is paid. The reserve has a counter of its own, so each part is
    exactly bounded.
    """
    budgets = {"prefix": attempt.prefix, "country": attempt.country, "total": ""}
    if attempt.price_micros == 0:
        return dict.fromkeys(budgets, 0), []
    midnight = datetime.combine(attempt.at.date() + DAY, time(), attempt.at.tzinfo)
    charges = [
        WindowCharge(
            f"money-{budget}-reserve" if budget in reserving else f"money-{budget}",
            public_subject(subject),
            attempt.price_micros,
            midnight,
        )
        for budget, subject in budgets.items()
    ]
    sums: list[WindowUsage] = rate_limits.add_to_windows(connection, charges, attempt.at)
    spent = {budget: total.used for budget, total in zip(budgets, sums, strict=True)}
    return spent, [
        c._replace(ends_at=total.ends_at) for c, total in zip(charges, sums, strict=True)
    ]


def purge_countries(connection: Connection, now: datetime) -> int:
    """Delete a batch of countries that networks asked for more than a day ago."""
    return purge(connection, NetworkCountry, NetworkCountry.until < now)


def sends_subject(number_digest: bytes, requester: bytes) -> bytes:
    """Return the subject of the limit on sends of one requester to one number."""
    return hashlib.sha256(number_digest + requester).digest()[:16]


def public_subject(name: str) -> bytes:
    """Return a prefix or a country, which are not secret, as the subject of a limit."""
    return hashlib.sha256(name.encode()).digest()[:16]
