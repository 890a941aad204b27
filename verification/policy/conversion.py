"""Conversion: the rule that texts nobody types in are stopped, and texts that people use are not.

Owns what a country and a prefix earn by what they verified (docs/adr/0012).
"""

from typing import Any, Literal

from pydantic import Field

from core.toml_file import TomlTable
from verification.policy.facts import Facts, Record, Span
from verification.policy.rules import Finding, Rule


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
    floor, and grows only with what was verified.
    """

    rule: Literal["conversion"]
    of: Literal["country", "prefix"]
    hour: Allowed
    day: Allowed
    #: Of a country: a prefix with no more unverified sends than this today, this one included, goes on.
    spare: int = Field(0, ge=0, le=1_000)
    #: How far over it is denied and not just challenged, as a multiple of what is allowed; 0: never.
    deny_at: float = Field(0, ge=0, le=1_000)

    detail = "Too many codes sent to numbers like this one were never used."

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
        denied = self.deny_at > 0 and pressure >= self.deny_at
        return Finding("deny" if denied else "challenge", figures, pressure, retry_after)

    def _spans(self, record: Record, facts: Facts) -> list[tuple[str, Span, Allowed, int]]:
        return [
            ("hour", record.hour, self.hour, facts.hour_ends_in),
            ("day", record.day, self.day, facts.day_ends_in),
        ]
