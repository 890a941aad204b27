"""Policies for tests, written as an operator writes them: a file of its own, whole."""

from pathlib import Path
from typing import Any

import altcha

CHALLENGE = """
[challenge]
iterations = 1
prefix = "0"
lifetime = "10m"
"""


def velocity(of: str, sends: int, *, over: str = "deny", period: str = "1d") -> str:
    """Write a velocity rule."""
    return (
        f'[[rules]]\nrule = "velocity"\nof = "{of}"\nsends = {sends}\n'
        f'period = "{period}"\nover = "{over}"\n'
    )


def write_policy(directory: Path, *rules: str, challenge: str = CHALLENGE) -> Path:
    """Write a policy file of these rules and nothing else; its challenges are easy."""
    path = directory / "policy.toml"
    path.write_text(challenge + "\n".join(rules))
    return path


def conversion(of: str, hour: int, day: int, *, deny_at: float = 0.0, spare: int = 0) -> str:
    """Write a conversion rule whose floors are all that is allowed."""
    return (
        f'[[rules]]\nrule = "conversion"\nof = "{of}"\ndeny_at = {deny_at}\nspare = {spare}\n'
        f"hour = {{ floor = {hour}, best = 0.0, last = 0.0 }}\n"
        f"day = {{ floor = {day}, best = 0.0, last = 0.0 }}\n"
    )


def budget(of: str, per_day: float) -> str:
    """Write a budget."""
    return f'[[rules]]\nrule = "budget"\nof = "{of}"\nper_day = {per_day}\n'


def countries(most: int, *, over: str = "deny") -> str:
    """Write a limit on the countries that a network asks for."""
    return f'[[rules]]\nrule = "countries"\nmost = {most}\nover = "{over}"\n'


def solve(challenge: dict[str, Any]) -> str:
    """Solve a challenge as a client of ALTCHA does; give what it sends."""
    read = altcha.Challenge.from_dict(challenge)
    solution = altcha.solve_challenge(read)
    assert solution is not None
    return altcha.Payload(read, solution).to_base64()
