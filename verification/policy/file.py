"""The policy as its file says: the challenge, and the rules in their order.

Owns the reading of it. Refuses a file with an unknown rule, a negative budget or anything else that it
does not know, with the line it stands on.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

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


#: How fast a five-year-old phone is in its browser, on one thread: PBKDF2 iterations a second, and seconds
#: that each try costs besides (docs/policy.md says where from). What the hardest challenge may take there.
PHONE_ITERATIONS, PHONE_TRY_SECONDS, PHONE_SECONDS = 400_000, 0.0002, 10.0
#: The hardest challenge holds so many times the tries of the easiest.
MAX_DIFFICULTY = 8


class ChallengeParameters(TomlTable):
    """How hard a challenge is: PBKDF2 iterations a try, and how many tries the easiest takes at most."""

    iterations: int = Field(ge=1, le=100_000)
    tries: int = Field(ge=1, le=100_000)
    lifetime: Duration

    @model_validator(mode="before")
    @classmethod
    def _prefix_is_gone(cls, values: Any) -> Any:
        if isinstance(values, dict) and "prefix" in values:
            raise ValueError(
                "prefix let the work take any time with bad luck; write tries, which bounds it"
            )
        return values

    @model_validator(mode="after")
    def _phones_solve_it(self) -> "ChallengeParameters":
        a_try = self.iterations / PHONE_ITERATIONS + PHONE_TRY_SECONDS
        seconds = MAX_DIFFICULTY * self.tries * a_try
        if seconds > PHONE_SECONDS:
            raise ValueError(
                f"the hardest challenge would take a five-year-old phone {seconds:.1f} seconds;"
                f" at most {PHONE_SECONDS:.0f}, so at most"
                f" {int(PHONE_SECONDS / MAX_DIFFICULTY / a_try)} tries of so many iterations"
            )
        return self


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


def load_policy(path: Path | None, *, is_set: bool = False) -> Policy:
    """Read a policy file, or the default; `is_set`: it is the one that the settings name.

    Raises SettingsError that names each fault with its line.
    """
    setting = "KITH_POLICY_FILE" if path and is_set else None
    return load_toml(path or DEFAULT, Policy, setting=setting)
