"""Commands: `flask --app app policy check`, `explain` and `replay`."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
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
from core.durations import DurationOption
from core.runtime import Runtime
from verification.policy.explain_command import explain_command
from verification.policy.file import Policy, load_policy
from verification.policy.history import HistorySize, count_history, read_history
from verification.policy.replay import (
    DecisionSource,
    RecordedDecisions,
    ReplayColumn,
    ReplayedPolicy,
    ReplayFigures,
    replay,
)
from verification.policy.rules import MICROS
from verification.policy.temporary_database import temporary_database
from verification.policy.traffic import LOOKBACK_SPANS

_FILE = click.Path(path_type=Path, dir_okay=False)
#: The rules look back this far, so this much earlier history fills the counters first.
WARM_UP = LOOKBACK_SPANS["day"] * DAY


def policy_commands(runtime: Runtime, policy_file: Path | None, currency: str) -> CommandGroup:
    """Return the commands; `policy_file` is the configured one, `currency` that of prices."""
    group = CommandGroup("policy", help="The SMS policy: check, explain, replay.")
    group.add_command(explain_command(runtime, currency))

    @group.command("check")
    @click.argument("file", type=_FILE, required=False)
    def check(file: Path | None) -> None:
        """Check a policy file and print its rules in their order.

        Without FILE: the file in KITH_POLICY_FILE, or the default. An invalid file is rejected with every
        fault and its line, as at start. Example: flask --app app policy check new.toml
        """
        policy = load_policy(file or policy_file)
        headings = ("rule", "in production", "in development", "parameters")
        print_table(headings, _rule_rows(policy), words=4)

    @group.command("replay")
    @click.option("--policy", "file", type=_FILE, required=True, help="The policy file to try.")
    @click.option(
        "--since",
        type=DurationOption(),
        default="7d",
        show_default=True,
        help="How far back to count.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
    def replay_command(file: Path, since: timedelta, as_json: bool) -> None:
        """Evaluate recorded attempts by the current policy and by another, and compare.

        Both run in production modes, with counters of their own in a temporary database. Up to 14 days
        before --since are evaluated to fill the counters, and not counted. A challenge is passed by
        whoever solved one then. Attempts that were refused then and are allowed now count as sent, at the
        reserved price, and never verified. Refusals count as often as they happened; their order within a
        minute is lost. Example:

        flask --app app policy replay --policy new.toml --since 7d
        """
        policies = {"current": load_policy(policy_file), "new": load_policy(file)}
        until = runtime.clock()
        counted_from, warm_from = until - since, until - since - WARM_UP
        started = time.monotonic()
        size = count_history(runtime.database, warm_from, until)
        history = read_history(runtime.database, warm_from, until)
        with _progress() as progress:
            entries = progress.track(history, total=size.rows, description="evaluating")
            figures = _replay(entries, policies, counted_from)
        if as_json:
            print_json(
                {
                    "since": counted_from.isoformat(),
                    "until": until.isoformat(),
                    "decisions": size.decisions + size.refused,
                    "refusals_by_minute": {"rows": size.minutes, "requests": size.refused},
                    "seconds": round(time.monotonic() - started, 1),
                    "currency": currency,
                    **{name: each.document() for name, each in figures.items()},
                }
            )
            return
        headings = ("", *(f"{name} policy" if name in policies else name for name in figures))
        print_table(headings, _comparison(list(figures.values()), currency))
        _print_notes(size)

    return group


def _rule_rows(policy: Policy) -> Iterator[tuple[str, ...]]:
    for rule in policy.rules:
        parameters = rule.model_dump(
            exclude={"rule", "of", "mode", "in_development"}, exclude_defaults=True
        )
        modes = [policy.mode_of(rule, development=development) for development in (False, True)]
        written = "  ".join(f"{name} = {_toml(value)}" for name, value in parameters.items())
        yield (rule.label, *modes, written)


def _toml(value: Any) -> str:
    """Return a parameter much as the file writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, timedelta):
        seconds = round(value.total_seconds())
        units = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
        unit = next(unit for unit, size in units.items() if seconds % size == 0)
        return f"{seconds // units[unit]}{unit}"
    return str(value)


def _replay(
    entries: Any, policies: dict[str, Policy], counted_from: datetime
) -> dict[str, ReplayFigures]:
    """Replay history as recorded and by each policy; return the figures by their names."""
    with ExitStack() as stack:
        sources: dict[str, DecisionSource] = {"recorded": RecordedDecisions()}
        for name, policy in policies.items():
            connection = stack.enter_context(temporary_database())
            sources[name] = ReplayedPolicy(policy, connection)
        columns = {name: ReplayColumn(source, counted_from) for name, source in sources.items()}
        replay(entries, list(columns.values()))
    return {name: column.figures for name, column in columns.items()}


def _print_notes(size: HistorySize) -> None:
    if size.minutes:
        click.echo(
            f"\n{size.refused:,} refusals are stored by the minute, in {size.minutes:,} rows. They are"
            " evaluated at the moment of the first;\nwhere they were of several numbers or networks, each"
            " is given one of its own."
        )
    click.echo(
        "\nA challenge is passed by whoever solved one then; of others it is not known whether they would"
        " have.\nAttempts that were refused then and are allowed here count as sent and never verified."
    )


class _Rate(ProgressColumn):
    """Decisions a second."""

    def render(self, task: Task) -> Text:
        """Return the rate, once there is one."""
        return Text(f"{task.speed:,.0f} a second" if task.speed else "")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _comparison(figures: Sequence[ReplayFigures], currency: str) -> Iterator[tuple[str, ...]]:
    counts: dict[str, Callable[[ReplayFigures], int]] = {
        "attempts": lambda each: each.attempts,
        "  sent": lambda each: each.sends,
        "  allowed, but no provider sent it": lambda each: each.failed,
        "  challenged": lambda each: each.challenged,
        "  denied": lambda each: each.denied,
        "  resends of verifications that would not have started": lambda each: each.dropped_resends,
        "allowed after a solved challenge": lambda each: each.solved,
        "verified numbers": lambda each: each.verified.total(),
        "  allowed without a challenge": lambda each: each.verified["unaffected"],
        "  challenged, and solved one then": lambda each: each.verified["solved"],
        "  challenged, and solved none then": lambda each: each.verified["challenged"],
        "  denied once or more": lambda each: each.verified["denied"],
    }
    for name, count in counts.items():
        yield (name, *(f"{count(each):,}" for each in figures))
    yield (f"money, {currency}", *(f"{each.money_micros / MICROS:,.2f}" for each in figures))
    for rule in sorted({rule for each in figures for rule in each.rules}):
        yield (f"by {rule}", *(f"{each.rules[rule]:,}" for each in figures))
