"""Ranges of numbers that are not sent to, each with its reason: dead, or dearer than a code is worth."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from core.toml_file import TomlTable
from core.typed_text import visible
from verification.policy.facts import Facts
from verification.policy.rules import Finding, Listed, Rule
from verification.problems import DestinationRefused

#: Digits of a number that its prefix, by which policies judge, does not hold.
MAX_BEGINNING_LENGTH = 11


def _beginning(text: str) -> str:
    digits = re.sub("[ -]", "", visible(text))
    if not re.fullmatch(rf"\+[1-9][0-9]{{0,{MAX_BEGINNING_LENGTH - 1}}}", digits):
        raise ValueError("write a plus and the digits that the numbers begin with, as in +377 44")
    return digits


class Range(TomlTable):
    """Numbers that begin alike, and why they are not sent to, as a person is told."""

    begins: Annotated[str, AfterValidator(_beginning)]
    because: str = Field(min_length=1, max_length=200)


class RangeRule(Rule):
    """Numbers that begin in a way that no code is sent to."""

    rule: Literal["range"]
    deny: Listed[Range] = ()

    detail = "This service does not send to numbers that begin like this one."
    problem = DestinationRefused
    told = ("country",)

    def judge(self, facts: Facts) -> Finding:
        """Deny what begins as the list says; the longest beginning gives the reason."""
        country = facts.attempt.country
        found = [one for one in self.deny if facts.attempt.prefix.startswith(one.begins)]
        if not found:
            return Finding("allow", {"country": country, "ranges": len(self.deny)})
        denied = max(found, key=lambda one: len(one.begins))
        figures = {"country": country, "range": denied.begins, "because": denied.because}
        return Finding("deny", figures)
