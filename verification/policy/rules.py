"""The rules of a policy: each is a pure function of the facts, with parameters from the policy file.

A limit that strangers can fill challenges and never denies; a file in which it denies is invalid. Only
lists, a requester's own limit and budgets deny. Budgets keep a reserve for known numbers, and what one
known number and one network draw from it is limited.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from core.durations import Duration
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
TomlTuple = Annotated[tuple[Item, ...], Field(strict=False)]

#: The rate limit in which each velocity rule counts, by its subject.
BUCKET_NAMES: dict[Subject, str] = {
    "number-and-requester": "sends",
    "reserve-number": "sends-reserve-number",
    "reserve-subnet": "sends-reserve-subnet",
    "number": "sends-number",
    "network": "sends-network",
    "subnet": "sends-subnet",
    "prefix": "sends-prefix",
    "country": "sends-country",
}
#: Subjects of limits in which only sends paid from the reserve of budgets count.
RESERVE_SUBJECTS: frozenset[Subject] = frozenset({"reserve-number", "reserve-subnet"})
#: Subjects that only the requester, or its network, can fill.
REQUESTER_SUBJECTS: frozenset[Subject] = frozenset({"number-and-requester", "network", "subnet"})


@dataclass(frozen=True)
class RuleResult:
    """The verdict of one rule on one attempt, and the figures it is based on."""

    verdict: Verdict
    figures: Mapping[str, Any]
    #: How far over its limit it is: 1 is just over, 2 is twice what is allowed.
    pressure: float = 1.0
    #: Seconds until the verdict may change.
    retry_after: int | None = None


class Rule(TomlTable, ABC):
    """One rule of the policy file."""

    #: A rule in record mode never blocks; its results are stored and counted.
    mode: Mode = "enforce"
    #: The mode in development, where nothing is sent and test suites use one network and few numbers.
    in_development: Mode | None = None

    #: Detail of the problem when the rule refuses.
    detail: ClassVar[str]
    #: Detail instead when a solved challenge may let a known number pass a denial.
    challenge_detail: ClassVar[str | None] = None
    problem: ClassVar[type[Problem]] = SendsPaused
    #: Figures that the problem includes.
    problem_figures: ClassVar[tuple[str, ...]] = ()

    @property
    def label(self) -> str:
        """The rule's name in decisions and metrics: its kind and its subject."""
        of = getattr(self, "of", None)
        kind = str(getattr(self, "rule", ""))
        return f"{kind}/{of}" if of else kind

    @abstractmethod
    def evaluate(self, facts: Facts) -> RuleResult:
        """Return the verdict on an attempt."""

    @property
    def denial(self) -> type[Problem]:
        """The problem that a denial raises."""
        return self.problem

    @property
    def exempts_known_numbers(self) -> bool:
        """Whether known numbers pass its denial, paid from the reserve of budgets."""
        return False

    @property
    def limits_requester(self) -> bool:
        """Whether only the requester or its network can fill it, whatever number is asked for."""
        return False

    @property
    def subject(self) -> str:
        """What its refusals are grouped by."""
        return str(getattr(self, "of", None) or getattr(self, "rule", ""))


class NumberTypeRule(Rule):
    """Number types that are never sent to."""

    rule: Literal["number-type"]
    deny: TomlTuple[NumberType]

    detail = "This service does not send to this kind of number."
    problem = PhoneNumberRefused
    problem_figures = ("number_type",)

    def evaluate(self, facts: Facts) -> RuleResult:
        """Deny the types on the list."""
        number_type = facts.attempt.number_type
        verdict: Verdict = "deny" if number_type in self.deny else "allow"
        return RuleResult(verdict, {"number_type": number_type})


class CountryRule(Rule):
    """Countries that are sent to, or not."""

    rule: Literal["country"]
    #: Empty: all countries that are not denied.
    allow: TomlTuple[Country] = ()
    deny: TomlTuple[Country] = ()

    detail = "This service does not send to this country."
    problem = DestinationRefused
    problem_figures = ("country",)

    def evaluate(self, facts: Facts) -> RuleResult:
        """Deny a country on the deny list, or missing from a non-empty allow list."""
        country = facts.attempt.country
        denied = country in self.deny or bool(self.allow and country not in self.allow)
        return RuleResult("deny" if denied else "allow", {"country": country})


class VelocityRule(Rule):
    """A number of sends a period for one subject: a bucket refilled evenly over the period."""

    rule: Literal["velocity"]
    of: Subject
    sends: int = Field(ge=1, le=1_000_000)
    period: Duration
    over: Over

    detail = "Too many codes were asked for from here or for numbers like this one."

    @model_validator(mode="after")
    def _strangers_cannot_lock_out(self) -> "VelocityRule":
        if self.of in RESERVE_SUBJECTS:
            if self.over != "deny":
                raise ValueError(f'write over = "deny": the work was asked for before {self.of}')
        elif self.of != "number-and-requester" and self.over == "deny":
            raise ValueError(
                f'over = "deny" by {self.of} would let strangers lock owners out, who can fill it;'
                ' use "challenge", and deny by number-and-requester'
            )
        return self

    @property
    def limits_requester(self) -> bool:
        """Whether only the requester, or its network, can fill the bucket."""
        return self.of in REQUESTER_SUBJECTS

    @property
    def limit(self) -> RateLimit:
        """The bucket in which this rule counts."""
        return RateLimit(BUCKET_NAMES[self.of], self.sends, self.period)

    @property
    def denial(self) -> type[Problem]:
        """TooManySends for the requester's own limit."""
        return TooManySends if self.of == "number-and-requester" else SendsPaused

    def evaluate(self, facts: Facts) -> RuleResult:
        """Return `over` if the bucket is over its capacity; a service has no network, so no bucket."""
        level_us = facts.levels.get(self.of)
        if level_us is None:
            return RuleResult("allow", {})
        limit = self.limit
        level = level_us / limit.interval_us
        figures = {"sends": round(level, 2), "allowed": self.sends}
        over_us = level_us - self.sends * limit.interval_us
        if over_us <= 0:
            return RuleResult("allow", figures)
        return RuleResult(self.over, figures, level / self.sends, _seconds(over_us))

    def rate_limit_status(self, facts: Facts) -> RateLimitStatus | None:
        """Return what is left in the subject's bucket, with this attempt in it."""
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
    max: int = Field(ge=1, le=300)
    over: Over

    detail = "Numbers of too many countries were asked for from here."

    @property
    def limits_requester(self) -> bool:
        """Its network fills it."""
        return True

    @property
    def subject(self) -> str:
        """The network."""
        return "network"

    @model_validator(mode="after")
    def _neighbours_are_not_locked_out(self) -> "CountriesRule":
        if self.over == "deny":
            raise ValueError(
                'over = "deny" would let strangers lock out whoever shares their network;'
                ' use "challenge"'
            )
        return self

    def evaluate(self, facts: Facts) -> RuleResult:
        """Return `over` if the network asked for more countries than allowed."""
        figures = {"countries": facts.countries, "allowed": self.max}
        if facts.countries <= self.max:
            return RuleResult("allow", figures)
        return RuleResult(self.over, figures, facts.countries / self.max, 86_400)


class BudgetRule(Rule):
    """Money for a day, reserved before each send: in total, for a country or for a prefix.

    A share is kept for known numbers: those of an account, and those that were verified before.
    """

    rule: Literal["budget"]
    of: Literal["total", "country", "prefix"]
    #: In the currency that the prices are in.
    per_day: float = Field(ge=0, le=1_000_000_000)
    #: The share that only known numbers draw on, once the rest is spent.
    reserve: float = Field(0.25, ge=0, le=1)
    #: Amounts of single countries.
    countries: dict[Country, Annotated[float, Field(ge=0, le=1_000_000_000)]] = {}

    detail = "No more codes are sent there today."
    challenge_detail = "Few codes are left there today."

    @property
    def exempts_known_numbers(self) -> bool:
        """Whether there is a reserve for known numbers."""
        return self.reserve > 0

    @model_validator(mode="after")
    def _countries_have_their_own(self) -> "BudgetRule":
        if self.countries and self.of != "country":
            raise ValueError('countries = {…} goes with of = "country"')
        return self

    def evaluate(self, facts: Facts) -> RuleResult:
        """Deny what the day's money does not cover; a free send always passes."""
        amount = self.per_day
        if self.of == "country":
            amount = self.countries.get(facts.attempt.country, amount)
        total, spent = round(amount * MICROS), facts.spent[self.of]
        reserve = round(total * self.reserve)
        from_reserve = facts.attempt.reserve and self.reserve > 0
        limit = reserve if from_reserve else total - reserve
        figures = {
            "spent": round(spent / MICROS, 4),
            "budget": round(limit / MICROS, 4),
            "part": "reserve" if from_reserve else "open",
        }
        if facts.attempt.price_micros == 0 or spent <= limit:
            return RuleResult("allow", figures)
        return RuleResult("deny", figures, spent / max(1, limit), facts.day_ends_in)


def _seconds(microseconds: int) -> int:
    """Return whole seconds, rounded up, so that a client that waits that long is served."""
    return -(-microseconds // 1_000_000)
