"""Commands about verifications: `flask --app app verification report`."""

from collections.abc import Callable
from datetime import datetime, timedelta

import click

from core.commands import CommandGroup, CountryArgument, print_json, print_table
from core.database import Database
from core.durations import DurationOption
from verification.policy.rules import MICROS
from verification.report import DIMENSIONS, Dimension, ReportRow, report

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


def verification_commands(database: Database, clock: Callable[[], datetime]) -> CommandGroup:
    """Return the commands about verifications."""
    commands = CommandGroup("verification", help="Reports on verifications.")

    @commands.command("report")
    @click.option(
        "--since",
        type=DurationOption(),
        default="7d",
        show_default=True,
        help="How far back to count starts.",
    )
    @click.option(
        "--by",
        "by",
        type=click.Choice(DIMENSIONS),
        multiple=True,
        default=("country",),
        show_default="country",
        help="Group rows by this; repeatable.",
    )
    @click.option(
        "--country", type=CountryArgument(), help="Only this country, as an ISO 3166 code."
    )
    @click.option(
        "--limit",
        type=click.IntRange(1, 10_000),
        default=50,
        show_default=True,
        help="Maximum number of rows; those with most starts come first.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
    def print_report(
        since: timedelta, by: tuple[Dimension, ...], country: str | None, limit: int, as_json: bool
    ) -> None:
        """Print conversion, speed and cost of verifications.

        started: requested starts, refused ones included; a solved challenge counts twice. challenged,
        denied: refused by the policy. sent: accepted by a provider. delivered: confirmed by the provider.
        verified: the right code came. of sent: verified as a share of sent. median s: seconds from the
        first text or call to the code. money: all texts and calls, resends included. a number: money per
        verified number.

        A verification counts for the provider of its first text or call that did not fail; a refused one
        for none. Example:

        flask --app app verification report --since 7d --by country --by provider
        """
        dimensions = tuple(dict.fromkeys(by))
        until = clock()
        with database.read() as connection:
            found = report(connection, until - since, dimensions, country=country, limit=limit)
        if as_json:
            print_json(
                {
                    "since": (until - since).isoformat(),
                    "until": until.isoformat(),
                    "rows": [row.document() for row in found.rows],
                    "more_rows": found.more,
                    "total": found.total.document(),
                }
            )
            return
        total = ("all", *[""] * (len(dimensions) - 1), *_cells(found.total))
        rows = [(*(name or "-" for name in row.group.values()), *_cells(row)) for row in found.rows]
        print_table((*dimensions, *_HEADINGS), [*rows, total], words=len(dimensions))
        if found.more:
            click.echo(
                f"{found.more} more rows are not shown, but counted in the last line; see --limit."
            )

    return commands


def _cells(row: ReportRow) -> tuple[str, ...]:
    counts = (
        row.started,
        row.challenged,
        row.denied,
        row.sent,
        row.delivered,
        row.verified,
    )
    return (
        *(f"{count:,}" for count in counts),
        _or_dash(row.conversion, ".1%"),
        _or_dash(row.median_seconds, ".1f"),
        f"{row.money_micros / MICROS:,.2f}",
        _or_dash(row.price, ",.4f"),
    )


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
