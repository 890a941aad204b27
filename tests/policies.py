"""Policies for tests, written as an operator writes them: a file of its own, whole."""

from pathlib import Path
from typing import Any

import altcha

CHALLENGE = """
[challenge]
iterations = 1
tries = 16
lifetime = "10m"
"""


def velocity(of: str, sends: int, *, over: str = "", period: str = "1d") -> str:
    """Write a velocity rule; it denies where a policy may."""
    over = over or ("deny" if of == "number-and-requester" else "challenge")
    return (
        f'[[rules]]\nrule = "velocity"\nof = "{of}"\nsends = {sends}\n'
        f'period = "{period}"\nover = "{over}"\n'
    )


def write_policy(directory: Path, *rules: str, challenge: str = CHALLENGE) -> Path:
    """Write a policy file of these rules and nothing else; its challenges are easy."""
    path = directory / "policy.toml"
    path.write_text(challenge + "\n".join(rules))
    return path


def conversion(
    of: str, hour: int, day: int, *, lost_per_day: float | None = None, spare: int = 0
) -> str:
    """Write a conversion rule whose floors are all that is allowed."""
    lost = "" if lost_per_day is None else f"lost_per_day = {lost_per_day}\n"
    return (
        f'[[rules]]\nrule = "conversion"\nof = "{of}"\n{lost}spare = {spare}\n'
        f"hour = {{ floor = {hour}, best = 0.0, last = 0.0 }}\n"
        f"day = {{ floor = {day}, best = 0.0, last = 0.0 }}\n"
    )


def budget(of: str, per_day: float, *, reserve: float = 0.0) -> str:
    """Write a budget, which keeps nothing for known numbers unless told to."""
    return f'[[rules]]\nrule = "budget"\nof = "{of}"\nper_day = {per_day}\nreserve = {reserve}\n'


def countries(most: int) -> str:
    """Write a limit on the countries that a network asks for."""
    return f'[[rules]]\nrule = "countries"\nmax = {most}\nover = "challenge"\n'


def solve(challenge: dict[str, Any]) -> str:
    """Solve a challenge as a client of ALTCHA does; give what it sends."""
    read = altcha.Challenge.from_dict(challenge)
    solution = altcha.solve_challenge(read)
    assert solution is not None
    return altcha.Payload(read, solution).to_base64()
