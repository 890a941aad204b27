"""Commands about the policy: `flask --app app policy check`, `explain` and `replay`.

Owns what they print. Refuses to print a number: what they read holds prefixes and keyed digests.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup
from pydantic import TypeAdapter, ValidationError
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

from core.base64url import decode
from core.commands import print_json, print_table
from core.limits import DAY
from core.secrets import DIGEST_SIZE
from sms.routing_file import load_routing
from verification.policy import explain, history
from verification.policy.file import load_policy
from verification.policy.replay import Again, Column, Figures, Opinion, Then, replay, scratch
from verification.policy.rules import MICROS, Duration
from verification.policy.service import KEPT
from verification.policy.traffic import LOOK_BACK

policy_commands = AppGroup("policy", help="The policy on texts and calls: check, explain, replay.")

_FILE = click.Path(path_type=Path, dir_okay=False)
_MODES = {"enforce": "enforced", "record": "recorded"}
_COLUMNS = ("as decided then", "current policy", "new policy")
#: Bytes of a verification's id; and of one that CAMARA's clients know, without the zeros it ends in.
_ID_SIZE, _SHORT_ID_SIZE = 2 * DIGEST_SIZE, 27
#: How far the rules look back, and so what is replayed first and not counted.
WARM_UP = LOOK_BACK["day"] * DAY


class Period(click.ParamType[timedelta]):
    """A time such as 90s, 10m, 12h or 7d, as the policy file writes it."""

    name = "period"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it."""
        try:
            return TypeAdapter(Duration).validate_python(value)
        except ValidationError:
            return self.fail("write a time as 90s, 10m, 12h or 7d; at most 30d", param, ctx)


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
                _MODES[policy.mode_of(rule, development=False)],
                _MODES[policy.mode_of(rule, development=True)],
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
    if isinstance(value, tuple):
        return "[" + ", ".join(value) + "]"
    if isinstance(value, timedelta):
        seconds = round(value.total_seconds())
        units = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
        unit = next(unit for unit, size in units.items() if seconds % size == 0)
        return f"{seconds // units[unit]}{unit}"
    return str(value)


# An id may begin with a dash.
@policy_commands.command("explain", context_settings={"ignore_unknown_options": True})
@click.argument("identity", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def explain_decisions(identity: str, as_json: bool) -> None:
    """Say what was decided of a verification's texts and calls, and why.

    ID is a verification's id (CAMARA: authenticationId), or the `decision` of a refusal's problem
    document. Decisions are kept for 30 days. Exits with 1 when none is stored, with 2 for what cannot be
    an id.
    """
    name = decode(identity, _ID_SIZE) or decode(identity, _SHORT_ID_SIZE)
    if name is None:
        raise click.BadParameter("an id has 43 letters, digits, - and _", param_hint="ID")
    name = name.ljust(_ID_SIZE, b"\0")
    kith = current_app.extensions["kith"]
    with kith.database.read() as connection:
        decisions = explain.decisions_of(connection, name[:DIGEST_SIZE], name[DIGEST_SIZE:])
    if not decisions:
        raise click.ClickException(
            f"Nothing was decided of {identity}, or more than {KEPT.days} days ago."
        )
    documents = [explain.document(decision) for decision in decisions]
    if as_json:
        print_json({"id": identity, "decisions": documents})
        return
    for place, decided in enumerate(documents):
        if place:
            click.echo()
        _print_decision(decided, _currency())


def _print_decision(decided: dict[str, Any], currency: str) -> None:
    kind = "resend" if decided["resend"] else "first send"
    by = f" by {decided['rule']}" if decided["rule"] else ""
    verdict = {"allow": "allowed", "challenge": "challenged", "deny": "denied"}[decided["verdict"]]
    click.echo(
        f"{decided['at']}  {kind} on {decided['channel']}, {decided['number_type']} number of"
        f" {decided['country']}, prefix {decided['prefix']}, {decided['price']:g} {currency} reserved"
    )
    click.echo(f"  {verdict}{by}")
    if decided["told"]:
        click.echo(f"  told: {decided['told']}")
    click.echo(f"  a challenge was solved for it: {'yes' if decided['solved'] else 'no'}")
    click.echo(f"  verified: {decided['verified_at'] or 'no'}")
    print_table(
        ("  rule", "mode", "verdict", "figures"),
        [
            (f"  {found['rule']}", _MODES[found["mode"]], found["verdict"], found["words"])
            for found in decided["findings"]
        ],
        words=4,
    )


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
    they are not in the figures. Whoever is challenged passes if she solved a challenge then. Whom
    history refused and a policy lets through is sent to, at the price that was reserved, and never
    verified: what came of it nobody knows. Example:

    flask --app app policy replay --policy new.toml --since 7d
    """
    kith = current_app.extensions["kith"]
    policies = [load_policy(path) for path in (kith.settings.policy_file, file)]
    until = kith.clock()
    counted_from = until - since
    warm_from = counted_from - WARM_UP
    began = time.monotonic()
    with ExitStack() as stack:
        opinions: list[Opinion] = [Then()]
        opinions += [Again(policy, stack.enter_context(scratch())) for policy in policies]
        columns = [Column(opinion, counted_from) for opinion in opinions]
        progress = stack.enter_context(_progress())
        total = history.count(kith.database, warm_from, until)
        past = history.read(kith.database, warm_from, until)
        replay(progress.track(past, total=total, description="judging"), columns)
    figures = [column.figures for column in columns]
    if as_json:
        print_json(
            {
                "since": counted_from.isoformat(),
                "until": until.isoformat(),
                "decisions": total,
                "seconds": round(time.monotonic() - began, 1),
                "currency": _currency(),
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
    print_table(("", *_COLUMNS), _compare(figures, _currency()))
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


def _currency() -> str:
    kith = current_app.extensions["kith"]
    return load_routing(kith.settings, list(kith.providers)).currency
