"""The rules: each a pure function of the facts, with its parameters from the policy file.

What strangers can fill asks for work and never denies: a file in which it does is refused. Only lists, a
person's own limit and money deny, and money keeps a share for numbers that are known; what one of those and
one network draw from it is limited.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from core.phone_numbers import NumberType, PhoneNumberRefused, known_region
from core.problems import Problem, RateLimitStatus
from core.rate_limits import RateLimit
from core.toml_file import TomlTable
from verification.policy.facts import Facts, Subject
from verification.problems import DestinationRefused, SendsPaused, TooManySends

Verdict = Literal["allow", "challenge", "deny"]
Over = Literal["challenge", "deny"]
Mode = Literal["enforce", "record"]
Country = Annotated[str, AfterValidator(known_region)]
MICROS = 1_000_000
Item = TypeVar("Item")
Listed = Annotated[tuple[Item, ...], Field(strict=False)]

#: The limit that each velocity counts in, by what it is of.
BUCKETS: dict[Subject, str] = {
    "number-and-requester": "sends",
    "reserve-number": "sends-reserve-number",
    "reserve-wider-network": "sends-reserve-wider-network",
    "number": "sends-number",
    "network": "sends-network",
    "wider-network": "sends-wider-network",
    "prefix": "sends-prefix",
    "country": "sends-country",
}
#: What only texts count in that are paid from what budgets keep.
OF_RESERVE: frozenset[Subject] = frozenset({"reserve-number", "reserve-wider-network"})
#: What nobody fills but the requester, or who shares their network.
OF_REQUESTER: frozenset[Subject] = frozenset({"number-and-requester", "network", "wider-network"})


def _duration(value: object) -> object:
    """Accept `90s`, `10m`, `1h`, `1d`."""
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,8}[smhd]", value):
        return timedelta(**{units[value[-1]]: int(value[:-1])})
    raise ValueError("write a duration as 90s, 10m, 1h or 1d")


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    Field(ge=timedelta(seconds=1), le=timedelta(days=30)),
]


@dataclass(frozen=True)
class Finding:
    """What one rule says of one attempt, and the figures it says it by."""

    verdict: Verdict
    figures: Mapping[str, Any]
    #: How far over its limit it is: 1 is just over, 2 is twice as much as allowed.
    pressure: float = 1.0
    #: Seconds until it may be otherwise.
    retry_after: int | None = None


class Rule(TomlTable, ABC):
    """One rule of the policy file."""

    #: enforce: what it says is done. record: it is only written down.
    mode: Mode = "enforce"
    #: The mode in development, where nothing is sent and test suites use one network and few numbers.
    in_development: Mode | None = None

    #: What a person is told when it refuses, and the problem she gets.
    detail: ClassVar[str]
    problem: ClassVar[type[Problem]] = SendsPaused
    #: The figures she is told too.
    told: ClassVar[tuple[str, ...]] = ()
    #: What a person is told instead where a solved challenge may let them past a denial.
    asking: ClassVar[str | None] = None

    @property
    def label(self) -> str:
        """Name the rule in decisions and metrics: its kind, and what it is of."""
        of = getattr(self, "of", None)
        kind = str(getattr(self, "rule", ""))
        return f"{kind}/{of}" if of else kind

    @abstractmethod
    def judge(self, facts: Facts) -> Finding:
        """Say what is to be done with an attempt."""

    @property
    def refusal(self) -> type[Problem]:
        """The problem that a denial is."""
        return self.problem

    @property
    def spares_known(self) -> bool:
        """Whether a known number gets past its denial, paid from what budgets keep for those."""
        return False

    @property
    def of_requester(self) -> bool:
        """Whether it is of the requester or their network, which the number asked for has no part in."""
        return False

    @property
    def subject(self) -> str:
        """Name what it is of, which its refusals are counted by."""
        return str(getattr(self, "of", None) or getattr(self, "rule", ""))


class NumberTypeRule(Rule):
    """Kinds of numbers that are never sent to."""

    rule: Literal["number-type"]
    deny: Listed[NumberType]

    detail = "This service does not send to this kind of number."
    problem = PhoneNumberRefused
    told = ("number_type",)

    def judge(self, facts: Facts) -> Finding:
        """Deny the kinds that the list names."""
        kind = facts.attempt.number_type
        return Finding("deny" if kind in self.deny else "allow", {"number_type": kind})


class CountryRule(Rule):
    """Countries that are sent to, or are not."""

    rule: Literal["country"]
    #: Empty: all but those denied.
    allow: Listed[Country] = ()
    deny: Listed[Country] = ()

    detail = "This service does not send to this country."
    problem = DestinationRefused
    told = ("country",)

    def judge(self, facts: Facts) -> Finding:
        """Deny what is on the one list, or not on the other."""
        country = facts.attempt.country
        denied = country in self.deny or bool(self.allow and country not in self.allow)
        return Finding("deny" if denied else "allow", {"country": country})


class VelocityRule(Rule):
    """So many sends a period by one subject: a bucket of so many, refilled over the period."""

    rule: Literal["velocity"]
    of: Subject
    sends: int = Field(ge=1, le=1_000_000)
    period: Duration
    over: Over

    detail = "Too many codes were asked for from here or for numbers like this one."

    @model_validator(mode="after")
    def _owners_come_through(self) -> "VelocityRule":
        if self.of in OF_RESERVE:
            if self.over != "deny":
                raise ValueError(f'write over = "deny": the work was asked for before {self.of}')
        elif self.of != "number-and-requester" and self.over == "deny":
            raise ValueError(
                f'over = "deny" by {self.of} would let strangers lock owners out, who can fill it;'
                ' use "challenge", and deny by number-and-requester'
            )
        return self

    @property
    def of_requester(self) -> bool:
        """Whether the number asked for has no part in it, or the requester has to."""
        return self.of in OF_REQUESTER

    @property
    def limit(self) -> RateLimit:
        """The bucket this rule counts in."""
        return RateLimit(BUCKETS[self.of], self.sends, self.period)

    @property
    def refusal(self) -> type[Problem]:
        """Say it is her own limit, where it is."""
        return TooManySends if self.of == "number-and-requester" else SendsPaused

    def judge(self, facts: Facts) -> Finding:
        """Stop at a full bucket; a service, which asks for many people, has no network."""
        level_us = facts.levels.get(self.of)
        if level_us is None:
            return Finding("allow", {})
        limit = self.limit
        level = level_us / limit.interval_us
        figures = {"sends": round(level, 2), "allowed": self.sends}
        over_us = level_us - self.sends * limit.interval_us
        if over_us <= 0:
            return Finding("allow", figures)
        return Finding(self.over, figures, level / self.sends, _seconds(over_us))

    def rate_limit_status(self, facts: Facts) -> RateLimitStatus | None:
        """Say what is left in the subject's bucket once this attempt is in it, or was refused."""
        limit = self.limit
        if self.of not in facts.levels:
            return None
        room_us = self.sends * limit.interval_us - facts.levels[self.of]
        left = max(0, room_us // limit.interval_us)
        wait_us = 0 if left else -room_us if room_us < 0 else limit.interval_us - room_us
        return limit.status(left, _seconds(wait_us))


class CountriesRule(Rule):
    """Distinct countries that one network asks for in a day."""

    rule: Literal["countries"]
    most: int = Field(ge=1, le=300)
    over: Over

    detail = "Numbers of too many countries were asked for from here."

    @property
    def of_requester(self) -> bool:
        """It is the requester's network that collects countries."""
        return True

    @property
    def subject(self) -> str:
        """It is the network that collects countries."""
        return "network"

    @model_validator(mode="after")
    def _neighbours_come_through(self) -> "CountriesRule":
        if self.over == "deny":
            raise ValueError(
                'over = "deny" would let strangers lock out whoever shares their network;'
                ' use "challenge"'
            )
        return self

    def judge(self, facts: Facts) -> Finding:
        """Stop a network that collects countries."""
        figures = {"countries": facts.countries, "allowed": self.most}
        if facts.countries <= self.most:
            return Finding("allow", figures)
        return Finding(self.over, figures, facts.countries / self.most, 86_400)


class BudgetRule(Rule):
    """Money for a day, reserved before each send: in all, for a country, for a prefix.

    A share is kept for known numbers: those of an account, and those that were verified before.
    """

    rule: Literal["budget"]
    of: Literal["total", "country", "prefix"]
    #: In the currency that the prices are in.
    per_day: float = Field(ge=0, le=1_000_000_000)
    #: The share of it that only known numbers draw on, when the rest is spent.
    reserve: float = Field(0.25, ge=0, le=1)
    #: Other amounts for single countries.
    countries: dict[Country, Annotated[float, Field(ge=0, le=1_000_000_000)]] = {}

    detail = "No more codes are sent there today."
    asking = "Few codes are left there today."

    @property
    def spares_known(self) -> bool:
        """Whether anything is kept for known numbers."""
        return self.reserve > 0

    @model_validator(mode="after")
    def _countries_have_their_own(self) -> "BudgetRule":
        if self.countries and self.of != "country":
            raise ValueError('countries = {…} goes with of = "country"')
        return self

    def judge(self, facts: Facts) -> Finding:
        """Deny what the day's money does not pay for; what costs nothing always fits."""
        amount = self.per_day
        if self.of == "country":
            amount = self.countries.get(facts.attempt.country, amount)
        whole, spent = round(amount * MICROS), facts.spent[self.of]
        kept = round(whole * self.reserve)
        from_reserve = facts.attempt.reserve and self.reserve > 0
        limit = kept if from_reserve else whole - kept
        figures = {
            "spent": round(spent / MICROS, 4),
            "budget": round(limit / MICROS, 4),
            "part": "reserve" if from_reserve else "open",
        }
        if facts.attempt.price_micros == 0 or spent <= limit:
            return Finding("allow", figures)
        return Finding("deny", figures, spent / max(1, limit), facts.day_ends_in)


def _seconds(microseconds: int) -> int:
    """Give whole seconds, rounded up: whoever comes back after them is served."""
    return -(-microseconds // 1_000_000)
