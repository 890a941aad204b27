"""Number ranges that are not sent to, each with a reason: out of service, or too expensive."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from core.toml_file import TomlTable
from core.typed_text import visible
from verification.policy.facts import Facts
from verification.policy.rules import Rule, RuleResult, TomlTuple
from verification.problems import DestinationRefused

#: A longer start would reach into the last four digits, which a prefix does not hold.
MAX_START_LENGTH = 11


def _start(text: str) -> str:
    digits = re.sub("[ -]", "", visible(text))
    if not re.fullmatch(rf"\+[1-9][0-9]{{0,{MAX_START_LENGTH - 1}}}", digits):
        raise ValueError("write a plus and the first digits of the numbers, as in +377 44")
    return digits


class Range(TomlTable):
    """Numbers that start alike, and the reason why they are not sent to, as the client gets it."""

    starts_with: Annotated[str, AfterValidator(_start)]
    reason: str = Field(min_length=1, max_length=200)


class RangeRule(Rule):
    """Denies number ranges."""

    rule: Literal["range"]
    deny: TomlTuple[Range] = ()

    detail = "This service does not send to numbers that begin like this one."
    problem = DestinationRefused
    problem_figures = ("country",)

    def evaluate(self, facts: Facts) -> RuleResult:
        """Deny a number in a range on the list; the longest matching range gives the reason."""
        country, prefix = facts.attempt.country, facts.attempt.prefix
        matching = [each for each in self.deny if prefix.startswith(each.starts_with)]
        if not matching:
            return RuleResult("allow", {"country": country, "ranges": len(self.deny)})
        denied = max(matching, key=lambda each: len(each.starts_with))
        figures = {"country": country, "range": denied.starts_with, "reason": denied.reason}
        return RuleResult("deny", figures)
