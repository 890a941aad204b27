"""The conversion rule: codes that are not entered make further sends cost a challenge.

docs/adr/0012 explains what verified sends earn a country and a prefix, 0023 why the rule does not deny.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from core.toml_file import TomlTable
from verification.policy.facts import Facts, SpanTraffic
from verification.policy.rules import MICROS, Rule, RuleResult

#: Suspect sends at which a subnet's challenge has its full difficulty, and the share of it without any.
FULL_WEIGHT_SENDS, MIN_WEIGHT = 4, 0.25


class UnverifiedAllowance(TomlTable):
    """How many sends of a span may stay unverified: the largest of three, plus the usual share."""

    floor: int = Field(ge=0, le=1_000_000)
    #: Share of what was verified in the best earlier span.
    best: float = Field(ge=0, le=10)
    #: Share of what was verified in the previous span.
    last: float = Field(ge=0, le=10)

    def in_span(self, span: SpanTraffic, unverified_ratio: float) -> float:
        """Return how many sends of a span may stay unverified."""
        earned = max(self.floor, self.best * span.best, self.last * span.last)
        return earned + unverified_ratio * span.verified


class ConversionRule(Rule):
    """Limits sends whose code is not entered, beyond what a country or a prefix has earned.

    Numbers of a pumping ring do not verify, or few of them do; people's numbers do. The floor is sent
    without evidence; it grows only with verified sends. Over the limit a challenge is asked for, harder the
    more the requester's subnet contributed. Only lost money denies, and never known numbers.
    """

    rule: Literal["conversion"]
    of: Literal["country", "prefix"]
    hour: UnverifiedAllowance
    day: UnverifiedAllowance
    #: For a country: prefixes with at most this many unverified sends today, this one included, pass.
    spare: int = Field(0, ge=0, le=1_000)
    #: Money a day that may be lost to sends over the limit before it denies; None: it never denies.
    lost_per_day: float | None = Field(None, ge=0, le=1_000_000_000)

    detail = "Too many codes sent to numbers like this one were never used."

    @property
    def exempts_known_numbers(self) -> bool:
        """Known numbers are paid from the reserve of budgets."""
        return True

    @model_validator(mode="before")
    @classmethod
    def _floors_never_deny(cls, values: Any) -> Any:
        if isinstance(values, dict) and "deny_at" in values:
            raise ValueError(
                "deny_at would let strangers close a prefix or a country with a few texts;"
                " leave it out, or bound the money that is lost with lost_per_day"
            )
        return values

    def evaluate(self, facts: Facts) -> RuleResult:
        """Compare the unverified sends of the hour and the day with what is allowed."""
        traffic = facts.country if self.of == "country" else facts.prefix
        figures: dict[str, Any] = {}
        pressure, retry_after = 0.0, None
        for name, span, allowance, ends_in in (
            ("hour", traffic.hour, self.hour, facts.hour_ends_in),
            ("day", traffic.day, self.day, facts.day_ends_in),
        ):
            allowed = allowance.in_span(span, facts.unverified_ratio)
            figures |= {
                f"unverified_{name}": span.unverified,
                f"allowed_{name}": round(allowed, 1),
            }
            ratio = span.unverified / max(allowed, 1.0)
            if span.unverified > allowed and ratio > pressure:
                pressure, retry_after = ratio, ends_in
        if pressure == 0.0:
            return RuleResult("allow", figures)
        if self.of == "country":
            figures["unverified_prefix"] = facts.prefix.day.unverified
            if facts.prefix.day.unverified <= self.spare:
                return RuleResult("allow", figures)
        if self.lost_per_day is not None:
            excess = traffic.day.unverified - self.day.in_span(traffic.day, facts.unverified_ratio)
            lost = max(0.0, excess) * facts.attempt.price_micros / MICROS
            figures |= {"lost": round(lost, 4), "lost_per_day": self.lost_per_day}
            if lost > self.lost_per_day and not facts.attempt.reserve:
                return RuleResult("deny", figures, pressure, facts.day_ends_in)
        weight = _weight(facts)
        figures["weight"] = round(weight, 2)
        return RuleResult("challenge", figures, 1 + (pressure - 1) * weight, retry_after)


def _weight(facts: Facts) -> float:
    """Return how much the requester's subnet contributed; other strangers are not its fault."""
    if facts.suspect is None:
        return 1.0
    return min(1.0, max(MIN_WEIGHT, facts.suspect / FULL_WEIGHT_SENDS))
