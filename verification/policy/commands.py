"""Commands about the policy: `flask --app app policy check` and `replay`; `explain` is explain_command.py."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from flask import current_app
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from core.clock import DAY
from core.commands import CommandGroup, print_json, print_table
from verification.policy import history
from verification.policy.explain_command import MODES, currency, explain_command
from verification.policy.file import load_policy
from verification.policy.period import Period
from verification.policy.replay import Again, Column, Figures, Opinion, Then, replay
from verification.policy.rules import MICROS
from verification.policy.scratch import scratch
from verification.policy.traffic import LOOK_BACK

policy_commands = CommandGroup(
    "policy", help="The policy on texts and calls: check, explain, replay."
)

policy_commands.add_command(explain_command)

_FILE = click.Path(path_type=Path, dir_okay=False)
_COLUMNS = ("as decided then", "current policy", "new policy")
#: How far the rules look back, and so what is replayed first and not counted.
WARM_UP = LOOK_BACK["day"] * DAY


@policy_commands.command("check")
@click.argument("file", type=_FILE, required=False)
def check(file: Path | None) -> None:
    """Check a policy file and print its rules in their order.

    Without FILE: the one that KITH_POLICY_FILE names, or the default. A file that cannot be used is
    refused with every fault and its line, as at start. Example: flask --app app policy check new.toml
    """
    policy = load_policy(file or current_app.extensions["kith"].settings.policy_file)
    print_table(
        ("rule", "in production", "in development", "parameters"),
        [
            (
                rule.label,
                MODES[policy.mode_of(rule, development=False)],
                MODES[policy.mode_of(rule, development=True)],
                _parameters(
                    rule.model_dump(
                        exclude={"rule", "of", "mode", "in_development"}, exclude_defaults=True
                    )
                ),
            )
            for rule in policy.rules
        ],
        words=4,
    )


def _parameters(values: dict[str, Any]) -> str:
    return "  ".join(f"{name} = {_written(value)}" for name, value in values.items())


def _written(value: Any) -> str:
    """Write a parameter much as the file does."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_written(x)}" for name, x in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, timedelta):
        seconds = round(value.total_seconds())
        units = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
        unit = next(unit for unit, size in units.items() if seconds % size == 0)
        return f"{seconds // units[unit]}{unit}"
    return str(value)


@policy_commands.command("replay")
@click.option("--policy", "file", type=_FILE, required=True, help="The policy file to try.")
@click.option(
    "--since", type=Period(), default="7d", show_default=True, help="How far back figures begin."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def replay_history(file: Path, since: timedelta, as_json: bool) -> None:
    """Judge what happened again, by the current policy and by another, and compare.

    Both run in the modes of production, with counters of their own, on a database that is thrown away.
    Up to 14 days before --since are judged too, so that the counters hold what the rules look back at;
    they are not in the figures. Whoever is challenged passes if they solved a challenge then. Whom
    history refused and a policy lets through is sent to, at the price that was reserved, and never
    verified: what came of it nobody knows. Refusals count as often as they happened; their order within a
    minute is lost. Example:

    flask --app app policy replay --policy new.toml --since 7d
    """
    kith = current_app.extensions["kith"]
    policies = [load_policy(path) for path in (kith.settings.policy_file, file)]
    until = kith.runtime.clock()
    counted_from = until - since
    warm_from = counted_from - WARM_UP
    began = time.monotonic()
    with ExitStack() as stack:
        opinions: list[Opinion] = [Then()]
        opinions += [Again(policy, stack.enter_context(scratch())) for policy in policies]
        columns = [Column(opinion, counted_from) for opinion in opinions]
        progress = stack.enter_context(_progress())
        stored = history.count(kith.runtime.database, warm_from, until)
        past = history.read(kith.runtime.database, warm_from, until)
        replay(progress.track(past, total=stored.rows, description="judging"), columns)
    figures = [column.figures for column in columns]
    if as_json:
        print_json(
            {
                "since": counted_from.isoformat(),
                "until": until.isoformat(),
                "decisions": stored.decisions + stored.refused,
                "refused_by_the_minute": {"rows": stored.minutes, "requests": stored.refused},
                "seconds": round(time.monotonic() - began, 1),
                "currency": currency(),
                **dict(
                    zip(
                        ("then", "current", "new"),
                        (each.document() for each in figures),
                        strict=True,
                    )
                ),
            }
        )
        return
    print_table(("", *_COLUMNS), _compare(figures, currency()))
    if stored.minutes:
        click.echo(
            f"\n{stored.refused:,} refusals are stored by the minute, in {stored.minutes:,} rows. Their"
            " order within a minute is lost, and\nwhose numbers and networks they were where there were"
            " several: they are judged as many times as there were,\nat the moment of the first, and what"
            " they differed in is made up."
        )
    click.echo(
        "\nA challenge lets through whoever solved one then; of others it is not known whether they"
        " would have.\nWhat was refused then and is let through here counts as sent and never verified."
    )


class Rate(ProgressColumn):
    """Decisions a second."""

    def render(self, task: Task) -> Text:
        """Show the rate, as soon as there is one."""
        return Text(f"{task.speed:,.0f} a second" if task.speed else "")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _compare(figures: list[Figures], currency: str) -> Iterator[tuple[str, ...]]:
    counts: dict[str, Callable[[Figures], int]] = {
        "attempts": lambda each: each.attempts,
        "  sent": lambda each: each.sends,
        "  let through, not sent by any provider": lambda each: each.failed,
        "  challenged, and not let through": lambda each: each.challenged,
        "  blocked": lambda each: each.blocked,
        "  resends of what would not have begun": lambda each: each.unasked,
        "let through by a solved challenge": lambda each: each.solved,
        "verified people": lambda each: each.people.total(),
        "  let through, no challenge": lambda each: each.people["untroubled"],
        "  challenged, and solved one then": lambda each: each.people["solved"],
        "  challenged, solved none then": lambda each: each.people["challenged"],
        "  would have been blocked": lambda each: each.people["blocked"],
    }
    for name, count in counts.items():
        yield (name, *(f"{count(each):,}" for each in figures))
    yield (f"money, {currency}", *(f"{each.money_micros / MICROS:,.2f}" for each in figures))
    for rule in sorted({rule for each in figures for rule in each.rules}):
        yield (f"by {rule}", *(f"{each.rules[rule]:,}" for each in figures))
