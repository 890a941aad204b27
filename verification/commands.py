"""Commands about verifications: `flask --app app verification report`."""

from datetime import timedelta

import click
from flask import current_app

from core.commands import CommandGroup, CountryArgument, print_json, print_table
from verification.policy.period import Period
from verification.policy.rules import MICROS
from verification.report import DIMENSIONS, Dimension, Funnel, report

verification_commands = CommandGroup("verification", help="Verifications: how many come how far.")

_HEADINGS = (
    "started",
    "challenged",
    "denied",
    "sent",
    "delivered",
    "verified",
    "of sent",
    "median s",
    "money",
    "a number",
)


@verification_commands.command("report")
@click.option(
    "--since", type=Period(), default="7d", show_default=True, help="How far back starts count."
)
@click.option(
    "--by",
    "by",
    type=click.Choice(DIMENSIONS),
    multiple=True,
    default=("country",),
    show_default="country",
    help="What a row is of; may be given several times.",
)
@click.option("--country", type=CountryArgument(), help="Only this one, as an ISO 3166 code.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Rows at most, those with most starts first.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def print_report(
    since: timedelta, by: tuple[Dimension, ...], country: str | None, limit: int, as_json: bool
) -> None:
    """Print how many verifications come how far, how fast, and what a verified number costs.

    started: starts that were asked for, refused ones too; who solves a challenge asks twice. challenged,
    denied: what the policy refused. sent: handed to a provider, without a certain failure. delivered: known
    to have arrived. verified: the right code came, as a share of those sent. median s: the middle one of
    the seconds from the first text or call to the code. money: all texts and calls of these verifications,
    resends too. a number: money for each verified one.

    A verification belongs to the provider of its first text or call that did not fail; what was refused
    belongs to none. Example:

    flask --app app verification report --since 7d --by country --by provider
    """
    dimensions = tuple(dict.fromkeys(by))
    kith = current_app.extensions["kith"]
    until = kith.runtime.clock()
    with kith.runtime.database.read() as connection:
        found = report(connection, until - since, dimensions, country=country, limit=limit)
    if as_json:
        print_json(
            {
                "since": (until - since).isoformat(),
                "until": until.isoformat(),
                "rows": [funnel.document() for funnel in found.funnels],
                "more_rows": found.more,
                "total": found.total.document(),
            }
        )
        return
    total = ("all", *[""] * (len(dimensions) - 1), *_cells(found.total))
    rows = [(*(of or "-" for of in row.of.values()), *_cells(row)) for row in found.funnels]
    print_table((*dimensions, *_HEADINGS), [*rows, total], words=len(dimensions))
    if found.more:
        click.echo(f"{found.more} more rows are in the last line and not shown; see --limit.")


def _cells(funnel: Funnel) -> tuple[str, ...]:
    counts = (
        funnel.started,
        funnel.challenged,
        funnel.denied,
        funnel.sent,
        funnel.delivered,
        funnel.verified,
    )
    return (
        *(f"{count:,}" for count in counts),
        _or_dash(funnel.conversion, ".1%"),
        _or_dash(funnel.median_seconds, ".1f"),
        f"{funnel.money_micros / MICROS:,.2f}",
        _or_dash(funnel.price, ",.4f"),
    )


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
