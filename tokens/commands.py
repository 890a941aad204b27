"""Commands for operators: `flask --app app tokens …` issues, lists and revokes service tokens."""

import json
import re
from datetime import datetime, timedelta
from uuid import UUID

import click
from flask import current_app

from core.budgets import Budget
from core.commands import CommandGroup
from tokens.models import ServiceToken
from tokens.service_tokens import DISCOVERY, MAX_LIFETIME, SCOPES, ServiceTokenService, budget_of

tokens_commands = CommandGroup("tokens", help="Service tokens: issue, list and revoke them.")


class TokenLifetime(click.ParamType[timedelta]):
    """A time such as 90d or 12h."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read days or hours, within what a token may live."""
        found = re.fullmatch(r"([0-9]{1,6})([dh])", str(value))
        if not found:
            self.fail(f"{value} is not a time such as 90d or 12h.", param, ctx)
        life = timedelta(**{"days" if found[2] == "d" else "hours": int(found[1])})
        if not timedelta(0) < life <= MAX_LIFETIME:
            self.fail(f"a token lives for 1h to {MAX_LIFETIME.days}d.", param, ctx)
        return life


class LookupBudget(click.ParamType[Budget]):
    """A budget such as 20000:500."""

    name = "burst:per day"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Budget:
        """Read one that can be."""
        try:
            return Budget.read(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def _service() -> ServiceTokenService:
    service: ServiceTokenService = current_app.extensions["kith"].tokens.service_tokens
    return service


@tokens_commands.command("issue-service")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(list(SCOPES)),
    help="What the token is good for; may be given several times.",
)
@click.option(
    "--expires",
    type=TokenLifetime(),
    default="90d",
    show_default=True,
    help=f"How long it is good, in days or hours, up to {MAX_LIFETIME.days}d.",
)
@click.option(
    "--budget",
    type=LookupBudget(),
    help=f"With --scope {DISCOVERY}: new hashes it may look up at once, and how many more a day.",
)
def issue_service(
    name: str, scopes: tuple[str, ...], expires: timedelta, budget: Budget | None
) -> None:
    """Issue a token to the service NAME and print it, this once.

    Only the token goes to standard output. Tokens of one NAME speak for the same service: issue the
    next, put it in use, then revoke the last.

    Example: TOKEN=$(flask --app app tokens issue-service shop --scope one-time-password-sms:send-validate)

    Example: flask --app app tokens issue-service crm --scope discovery --budget 100000:2000 > token
    """
    try:
        token, issued = _service().issue(name, scopes, expires, budget)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
    click.echo(
        f"Token {issued.id} of {issued.name} for {issued.scopes}, good until"
        f" {_written(issued.expires_at)}. It is stored nowhere and not shown again.",
        err=True,
    )
    click.echo(token)


@tokens_commands.command("list-services")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_services(as_json: bool) -> None:
    """List all service tokens: by id, never the token itself."""
    rows = [_shown(token) for token in _service().all()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("No service token was issued yet.", err=True)
        return
    cells = [list(rows[0]), *([value or "-" for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        click.echo("  ".join(map(str.ljust, row, widths)).rstrip())


@tokens_commands.command("revoke-service")
@click.argument("token_id", metavar="ID", type=click.UUID)
def revoke_service(token_id: UUID) -> None:
    """Make the token ID worthless, at once; list-services shows the ids."""
    if not _service().revoke(token_id):
        raise click.ClickException(f"There is no service token {token_id}; see list-services.")
    click.echo(f"Token {token_id} is revoked.", err=True)


def _shown(token: ServiceToken) -> dict[str, str | None]:
    budget = budget_of(token)
    return {
        "id": str(token.id),
        "name": token.name,
        "state": _service().state(token),
        "scopes": token.scopes,
        "budget": str(budget) if budget else None,
        "created": _written(token.created_at),
        "expires": _written(token.expires_at),
        "revoked": _written(token.revoked_at) if token.revoked_at else None,
        "last_used": _written(token.last_used_at) if token.last_used_at else None,
    }


def _written(moment: datetime) -> str:
    """Write a time as RFC 3339 does, to the second."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
