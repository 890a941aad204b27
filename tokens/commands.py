"""Commands for operators: `flask --app app tokens …` and `flask --app app devices …`."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import click
import structlog
from sqlalchemy import Connection

from core.budgets import Budget
from core.commands import CommandGroup, print_json, print_table, read_number
from core.database import Database, find
from tokens.accounts import AccountService
from tokens.devices import DeviceService
from tokens.models import Account, Device, ServiceToken
from tokens.registration_lock import RegistrationLockService
from tokens.revocation import RevocationService
from tokens.service_tokens import DISCOVERY, MAX_LIFETIME, SCOPES, ServiceTokenService, budget_of

log = structlog.get_logger()


class TokenLifetime(click.ParamType[timedelta]):
    """A duration such as 90d or 12h."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Parse days or hours, up to the maximum lifetime of a token."""
        found = re.fullmatch(r"([0-9]{1,6})([dh])", str(value))
        if not found:
            self.fail(f"{value} is not a time such as 90d or 12h.", param, ctx)
        lifetime = timedelta(**{"days" if found[2] == "d" else "hours": int(found[1])})
        if not timedelta(0) < lifetime <= MAX_LIFETIME:
            self.fail(f"a token lives for 1h to {MAX_LIFETIME.days}d.", param, ctx)
        return lifetime


class LookupBudget(click.ParamType[Budget]):
    """A budget such as 20000:500."""

    name = "burst:per day"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Budget:
        """Parse a budget."""
        try:
            return Budget.read(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def tokens_commands(service_tokens: ServiceTokenService) -> CommandGroup:
    """Build the commands of service tokens."""
    group = CommandGroup("tokens", help="Service tokens: issue, list and revoke them.")

    @group.command("issue-service")
    @click.argument("name")
    @click.option(
        "--scope",
        "scopes",
        multiple=True,
        required=True,
        type=click.Choice(list(SCOPES)),
        help="What the token allows; can be given several times.",
    )
    @click.option(
        "--expires",
        type=TokenLifetime(),
        default="90d",
        show_default=True,
        help=f"How long it is valid, in days or hours, up to {MAX_LIFETIME.days}d.",
    )
    @click.option(
        "--budget",
        type=LookupBudget(),
        help=f"With --scope {DISCOVERY}: new hashes that it may look up at once, and a day.",
    )
    def issue_service(
        name: str, scopes: tuple[str, ...], expires: timedelta, budget: Budget | None
    ) -> None:
        """Issue a token to the service NAME and print it; it cannot be shown again.

        Only the token goes to standard output. All tokens of a NAME act for the same service: issue and
        deploy the next one, then revoke the last.

        Example:
        flask --app app tokens issue-service shop --scope one-time-password-sms:send-validate > token

        Example: flask --app app tokens issue-service crm --scope discovery --budget 100000:2000 > token

        """
        try:
            token, issued = service_tokens.issue(name, scopes, expires, budget)
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from None
        click.echo(
            f"Token {issued.id} of {issued.name} for {issued.scopes}, valid until"
            f" {_format(issued.expires_at)}. It is not stored and not shown again.",
            err=True,
        )
        click.echo(token)

    @group.command("list-services")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
    def list_services(as_json: bool) -> None:
        """List all service tokens: their ids, never the tokens."""
        rows = [_token_row(token, service_tokens.state(token)) for token in service_tokens.all()]
        _print_rows(rows, as_json, "No service token was issued yet.")

    @group.command("revoke-service")
    @click.argument("token_id", metavar="ID", type=click.UUID)
    def revoke_service(token_id: UUID) -> None:
        """Revoke the token ID at once; list-services shows the ids."""
        if not service_tokens.revoke(token_id):
            raise click.ClickException(f"There is no service token {token_id}; see list-services.")
        click.echo(f"Token {token_id} is revoked.", err=True)

    return group


def devices_commands(
    database: Database,
    accounts: AccountService,
    devices: DeviceService,
    revocations: RevocationService,
    locks: RegistrationLockService,
) -> CommandGroup:
    """Build the commands of devices."""
    group = CommandGroup("devices", help="Devices of a number: list and revoke them.")

    def lock_account(connection: Connection, who: str) -> Account:
        """Lock and return the account of a number, or of an id."""
        try:
            account_id: UUID | None = UUID(who)
        except ValueError:
            account_id = accounts.lock_by_number(connection, read_number(who))
        if account_id is None:
            raise click.ClickException("No account has this number.")
        account = find(connection, Account, Account.id == account_id)
        if account is None:
            raise click.ClickException(f"There is no account {account_id}.")
        return account

    @group.command("list")
    @click.argument("who", metavar="NUMBER|ACCOUNT")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
    def list_devices(who: str, as_json: bool) -> None:
        """List the devices of a number, or of an account by its id.

        Example: flask --app app devices list +4915112345678
        """
        with database.read() as connection:
            account = lock_account(connection, who)
            rows = [_device_row(one) for one in devices.list_by_account(connection, account.id)]
        click.echo(f"Registration lock: {locks.state(account) or 'none'}.", err=True)
        _print_rows(rows, as_json, "It has no device.")

    @group.command("revoke")
    @click.argument("who", metavar="NUMBER|ACCOUNT")
    @click.argument("device_ids", metavar="[DEVICE]...", nargs=-1, type=click.UUID)
    @click.option("--all", "every", is_flag=True, help="All devices of the account.")
    @click.option("--delete", is_flag=True, help="Delete them with what waits for them, at once.")
    def revoke(who: str, device_ids: tuple[UUID, ...], every: bool, delete: bool) -> None:
        """Revoke the tokens of devices: they are signed out at once.

        What waits for them is kept for 30 days, until a registration that their identity key signs, unless
        --delete is given.

        Example: flask --app app devices revoke +4915112345678 7b0f3a51-7d83-4b6f-9b3c-2f8f3c6f0a11
        """
        if every == bool(device_ids):
            raise click.UsageError("Name devices, or give --all.")
        with database.write() as connection:
            account_id = lock_account(connection, who).id
            existing = devices.device_ids(connection, account_id)
            named = existing if every else list(device_ids)
            if unknown := set(named) - set(existing):
                listed = ", ".join(sorted(map(str, unknown)))
                raise click.ClickException(f"It has no device {listed}; see: devices list")
            if delete:
                done = devices.remove_devices(connection, account_id, named)
            else:
                done = [one for one in named if revocations.revoke(connection, account_id, one)]
        log.info("devices.revoked", account_id=str(account_id), devices=len(done), deleted=delete)
        what = "deleted" if delete else "revoked"
        click.echo(f"{len(done)} of {len(named)} devices were {what}.", err=True)

    return group


def _print_rows(rows: Sequence[Mapping[str, str | None]], as_json: bool, empty: str) -> None:
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(empty, err=True)
    else:
        cells = [[value or "-" for value in row.values()] for row in rows]
        print_table(list(rows[0]), cells, words=len(rows[0]))


def _token_row(token: ServiceToken, state: str) -> dict[str, str | None]:
    budget = budget_of(token)
    return {
        "id": str(token.id),
        "name": token.name,
        "state": state,
        "scopes": token.scopes,
        "budget": str(budget) if budget else None,
        "created": _format(token.created_at),
        "expires": _format(token.expires_at),
        "revoked": _format(token.revoked_at),
        "last_used": _format(token.last_used_at),
    }


def _device_row(device: Device) -> dict[str, str | None]:
    return {
        "id": str(device.id),
        "name": device.name,
        "platform": device.platform,
        "created": _format(device.created_at),
        "last_seen": _format(device.last_seen_at),
        "revoked": _format(device.token_revoked_at),
    }


def _format(time: datetime | None) -> str | None:
    """Return a time as RFC 3339, to the second."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else None
