"""The policy file: the challenge, and the rules in their order.

Unknown rules and keys and values out of range are errors, reported with their line.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from core.durations import Duration
from core.toml_file import TomlTable, load_toml
from verification.policy.conversion import ConversionRule
from verification.policy.ranges import RangeRule
from verification.policy.rules import (
    BudgetRule,
    CountriesRule,
    CountryRule,
    Mode,
    NumberTypeRule,
    Rule,
    TomlTuple,
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

#: A five-year-old phone in its browser, on one thread (docs/policy.md): PBKDF2 iterations a second, seconds
#: that each try adds, and the most that the hardest challenge may take there.
PHONE_ITERATIONS_PER_SECOND, PHONE_SECONDS_PER_TRY, MAX_PHONE_SECONDS = 400_000, 0.0002, 10.0
#: The hardest challenge has this many times the tries of the easiest.
MAX_DIFFICULTY = 8


class ChallengeParameters(TomlTable):
    """Difficulty of challenges: PBKDF2 iterations a try, and the most tries of the easiest challenge."""

    iterations: int = Field(ge=1, le=100_000)
    tries: int = Field(ge=1, le=100_000)
    lifetime: Duration

    @model_validator(mode="before")
    @classmethod
    def _prefix_is_gone(cls, values: Any) -> Any:
        if isinstance(values, dict) and "prefix" in values:
            raise ValueError("prefix does not bound the time of a challenge; use tries instead")
        return values

    @model_validator(mode="after")
    def _phones_solve_it(self) -> "ChallengeParameters":
        seconds_per_try = self.iterations / PHONE_ITERATIONS_PER_SECOND + PHONE_SECONDS_PER_TRY
        seconds = MAX_DIFFICULTY * self.tries * seconds_per_try
        if seconds > MAX_PHONE_SECONDS:
            max_tries = int(MAX_PHONE_SECONDS / MAX_DIFFICULTY / seconds_per_try)
            raise ValueError(
                f"the hardest challenge would take a five-year-old phone {seconds:.1f} seconds, and at most"
                f" {MAX_PHONE_SECONDS:.0f} are allowed; write at most tries = {max_tries} for this many"
                " iterations"
            )
        return self


class Policy(TomlTable):
    """A policy."""

    challenge: ChallengeParameters
    rules: TomlTuple[AnyRule]

    @field_validator("rules")
    @classmethod
    def _labels_are_unique(cls, rules: tuple[AnyRule, ...]) -> tuple[AnyRule, ...]:
        labels = [rule.label for rule in rules]
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            raise ValueError(f"these rules are repeated: {', '.join(repeated)}")
        return rules

    def mode_of(self, rule: Rule, *, development: bool) -> Mode:
        """Return the mode in which a rule runs."""
        return rule.in_development or rule.mode if development else rule.mode


def load_policy(path: Path | None, *, is_set: bool = False) -> Policy:
    """Read a policy file, or the default one; `is_set`: the settings name it.

    Raises SettingsError, which lists every fault with its line.
    """
    setting = "KITH_POLICY_FILE" if path and is_set else None
    return load_toml(path or DEFAULT, Policy, setting=setting)
