"""The policy as its file says: the challenge, and the rules in their order.

Owns the reading of it. Refuses a file with an unknown rule, a negative budget or anything else that it
does not know, with the line it stands on.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from core.toml_file import TomlTable, load_toml
from verification.policy.conversion import ConversionRule
from verification.policy.ranges import RangeRule
from verification.policy.rules import (
    BudgetRule,
    CountriesRule,
    CountryRule,
    Duration,
    Listed,
    Mode,
    NumberTypeRule,
    Rule,
    VelocityRule,
)

AnyRule = Annotated[
    NumberTypeRule
    | CountryRule
    | RangeRule
    | VelocityRule
    | ConversionRule
    | CountriesRule
    | BudgetRule,
    Field(discriminator="rule"),
]
DEFAULT = Path(__file__).with_name("default.toml")


class ChallengeParameters(TomlTable):
    """How hard a challenge is: PBKDF2 iterations a try, and hex digits that the key must begin with."""

    iterations: int = Field(ge=1, le=100_000)
    prefix: str = Field(pattern=r"^[0-9a-f]{1,6}$")
    lifetime: Duration


class Policy(TomlTable):
    """Everything that the policy is."""

    challenge: ChallengeParameters
    rules: Listed[AnyRule]

    @field_validator("rules")
    @classmethod
    def _one_of_a_kind(cls, rules: tuple[AnyRule, ...]) -> tuple[AnyRule, ...]:
        labels = [rule.label for rule in rules]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"these rules stand twice: {', '.join(twice)}")
        return rules

    def mode_of(self, rule: Rule, *, development: bool) -> Mode:
        """Say whether a rule is enforced or only recorded."""
        return rule.in_development or rule.mode if development else rule.mode


def load_policy(path: Path | None) -> Policy:
    """Read a policy file, or the default; raises SettingsError that names each fault with its line."""
    return load_toml(path or DEFAULT, Policy)
