"""Conversion: the rule that texts nobody types in cost work, and texts that people use do not.

What a country and a prefix earn by what they verified is in docs/adr/0012, why it does not deny in 0023.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from core.toml_file import TomlTable
from verification.policy.facts import Facts, Record, Span
from verification.policy.rules import MICROS, Finding, Rule

#: So many suspect texts of the requester's network make the work as hard as the span says; a network
#: with none does this share of what is over.
SUSPECT_AT, LEAST_WEIGHT = 4, 0.25


class Allowed(TomlTable):
    """How many may stay unverified in a span: the most of three, plus what usually stays so."""

    floor: int = Field(ge=0, le=1_000_000)
    #: Of what was verified in the best span before.
    best: float = Field(ge=0, le=10)
    #: Of what was verified in the last span.
    last: float = Field(ge=0, le=10)

    def of(self, span: Span, usual: float) -> float:
        """Give how many sends of a span may stay unverified."""
        proven = max(self.floor, self.best * span.best, self.last * span.last)
        return proven + usual * span.verified


class ConversionRule(Rule):
    """Texts that nobody types in, beyond what a country or a prefix has earned by those that were.

    A pumping ring's numbers do not verify, or few of them do; people's do. What is sent on trust is a
    floor, and grows only with what was verified. Whoever asks over it works, the harder the more the
    requester's network did for it; only money that is lost denies, and never to known numbers.
    """

    rule: Literal["conversion"]
    of: Literal["country", "prefix"]
    hour: Allowed
    day: Allowed
    #: Of a country: a prefix with no more unverified sends than this today, this one included, goes on.
    spare: int = Field(0, ge=0, le=1_000)
    #: Money a day that may be lost to what is over, before it denies; None: it never does.
    lost_per_day: float | None = Field(None, ge=0, le=1_000_000_000)

    detail = "Too many codes sent to numbers like this one were never used."

    @property
    def spares_known(self) -> bool:
        """Known numbers are paid from what budgets keep for them."""
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

    def judge(self, facts: Facts) -> Finding:
        """Compare what is unverified with what is allowed, in the hour and in the day."""
        record = facts.country if self.of == "country" else facts.prefix
        figures: dict[str, Any] = {}
        pressure, retry_after = 0.0, None
        for name, span, allowance, ends_in in self._spans(record, facts):
            allowed = allowance.of(span, facts.usual)
            figures |= {
                f"unverified_{name}": span.unverified,
                f"allowed_{name}": round(allowed, 1),
            }
            ratio = span.unverified / max(allowed, 1.0)
            if span.unverified > allowed and ratio > pressure:
                pressure, retry_after = ratio, ends_in
        if pressure == 0.0:
            return Finding("allow", figures)
        if self.of == "country":
            figures["unverified_prefix"] = facts.prefix.day.unverified
            if facts.prefix.day.unverified <= self.spare:
                return Finding("allow", figures)
        if self.lost_per_day is not None:
            over = record.day.unverified - self.day.of(record.day, facts.usual)
            lost = max(0.0, over) * facts.attempt.price_micros / MICROS
            figures |= {"lost": round(lost, 4), "lost_per_day": self.lost_per_day}
            if lost > self.lost_per_day and not facts.attempt.reserve:
                return Finding("deny", figures, pressure, facts.day_ends_in)
        weight = _weight(facts)
        figures["weight"] = round(weight, 2)
        return Finding("challenge", figures, 1 + (pressure - 1) * weight, retry_after)

    def _spans(self, record: Record, facts: Facts) -> list[tuple[str, Span, Allowed, int]]:
        return [
            ("hour", record.hour, self.hour, facts.hour_ends_in),
            ("day", record.day, self.day, facts.day_ends_in),
        ]


def _weight(facts: Facts) -> float:
    """Say how much the requester's network did for it: strangers elsewhere are not its fault."""
    if facts.suspect is None:
        return 1.0
    return min(1.0, max(LEAST_WEIGHT, facts.suspect / SUSPECT_AT))
