"""Commands for operators: `flask --app app maintenance run`, and what commands of all parts share."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as DatabaseBusy

from core.database_errors import describe_error
from core.maintenance import Maintenance
from core.phone_numbers import PhoneNumber, PhoneNumberInvalid, known_region
from core.problems import Problem
from core.typed_numbers import e164_candidates

#: Columns of a table that is piped, so that no line is wrapped.
_PIPED_WIDTH = 10_000


class CommandGroup(AppGroup):
    """Commands for operators; a problem or a database error ends one with one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; raises ClickException."""
        try:
            return super().invoke(ctx)
        except Problem as refused:
            raise click.ClickException(refused.detail) from None
        except (DBAPIError, DatabaseBusy) as error:
            sentence = describe_error(error)
            if sentence is None:
                raise
            raise click.ClickException(sentence) from None


def maintenance_commands(maintenance: Maintenance) -> CommandGroup:
    """Build the commands for periodic work."""
    group = CommandGroup("maintenance", help="Periodic work: delete what is expired.")

    @group.command("run")
    def run_maintenance() -> None:
        """Delete expired rows once, and print how many.

        The server does this every KITH_MAINTENANCE_INTERVAL seconds. Set that to 0 to schedule this command
        instead. Example: flask --app app maintenance run
        """
        deleted = maintenance.run()
        if deleted is None:
            click.echo("Another process is running the periodic work; nothing to do.")
            return
        for name, rows in deleted.items():
            click.echo(f"{name:20} {rows:8}")

    return group


def read_number(typed: str) -> str:
    """Return the E.164 form of a number that an operator typed; a test number need not be valid.

    Raises UsageError with the reason.
    """
    settings = current_app.extensions["kith"].settings
    region = settings.default_region
    test_numbers = {entry.e164 for entry in settings.test_numbers}
    for form in e164_candidates(typed, region):
        if form in test_numbers:
            return form
    try:
        return PhoneNumber.parse(typed, region).e164
    except PhoneNumberInvalid as refused:
        raise click.UsageError(refused.detail) from None


class CountryArgument(click.ParamType[str]):
    """A country or 001, in any case, given as ISO 3166 has it."""

    name = "country"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it as policy and settings do."""
        try:
            return known_region(value)
        except ValueError as refused:
            return self.fail(f"{refused}.", param, ctx)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> None:
    """Write a table to standard output: so many columns of words, then columns of figures."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    table = Table(box=None, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place < words else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def print_json(value: object) -> None:
    """Write JSON to standard output."""
    click.echo(json.dumps(value, indent=2))
