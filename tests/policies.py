"""Policies for tests, written as an operator writes them: a file of its own, whole."""

from pathlib import Path

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
