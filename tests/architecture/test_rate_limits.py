"""The table of limits in docs/operations.md names each rate limit that a part declares, and no other."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from core.rate_limits import RateLimit
from messaging.limits import MessageLimits
from settings import Settings
from verification.policy.rules import BUCKET_NAMES

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "sms", "tokens", "verification", "discovery", "messaging", "interop")
#: Counted by the rules of the policy file, which documents them (docs/policy.md).
IN_POLICY = frozenset(BUCKET_NAMES.values())
ROW = re.compile(r"^\| `([a-z0-9-]+)`[^|]*\|[^|]*\| ([^|]*)\|$", re.MULTILINE)


def documented() -> dict[str, list[str]]:
    """Return how many each named limit of the table allows, as the table says it."""
    page = (ROOT / "docs/operations.md").read_text()
    section = page.split("\n## Limits\n")[1].split("\n## ")[0]
    rows: dict[str, list[str]] = {}
    for name, quota in ROW.findall(section):
        rows.setdefault(name, []).append(quota)
    return rows


def declared_names() -> set[str]:
    """Return the names of all `RateLimit(…)` and `WindowCharge(…)` that the code makes."""
    return {
        name
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in _names_in(path)
    }


def _names_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "RateLimit",
            "WindowCharge",
        ):
            name = node.args[0]
            if isinstance(name, ast.Constant):
                yield name.value
            elif isinstance(name, ast.Name):
                module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
                yield from filter(None, [getattr(module, name.id, None)])


def declared() -> Iterator[RateLimit]:
    """Yield the limits that are constants of a `limits.py`, and those of messages at the defaults."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("limits.py"):
            module = import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            yield from (value for value in vars(module).values() if isinstance(value, RateLimit))
    yield from vars(MessageLimits.from_settings(Settings())).values()


def test_every_limit_is_documented() -> None:
    """A limit that a person runs into is found in the table by its name, and the table has no other."""
    names = declared_names()
    assert len(names) > 20
    assert names - IN_POLICY == documented().keys() - IN_POLICY


@pytest.mark.parametrize(
    "limit",
    sorted(declared(), key=lambda limit: (limit.name, limit.quota)),
    ids=lambda limit: f"{limit.name}-{limit.quota}",
)
def test_a_documented_quota_is_the_declared_one(limit: RateLimit) -> None:
    """The table says how many, and whether a window or a bucket counts them."""
    kind = "window" if limit.algorithm == "fixed-window" else r"refilled|then one"
    assert any(
        re.match(rf"{limit.quota:,}\b", row) and re.search(kind, row)
        for row in documented()[limit.name]
    )
