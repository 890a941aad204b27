"""Commands for operators: `flask --app app devices …` lists the devices of a number and revokes them."""

import json
from typing import Any
from uuid import UUID

import click
import structlog
from flask import current_app
from sqlalchemy import Connection

from core.commands import CommandGroup, read_number
from core.database import find
from tokens.devices import DeviceService
from tokens.models import Account, Device

log = structlog.get_logger()

devices_commands = CommandGroup("devices", help="Devices of a number: list and revoke them.")


def _kith() -> Any:
    return current_app.extensions["kith"]


def _account(connection: Connection, who: str) -> UUID:
    """Give the account that a number leads to, or an id names, and hold it."""
    try:
        account_id: UUID | None = UUID(who)
    except ValueError:
        account_id = _kith().tokens.accounts.lock_by_number(connection, read_number(who))
    if account_id is None:
        raise click.ClickException("No account has this number.")
    if find(connection, Account, Account.id == account_id) is None:
        raise click.ClickException(f"There is no account {account_id}.")
    return account_id


@devices_commands.command("list")
@click.argument("who", metavar="NUMBER|ACCOUNT")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_devices(who: str, as_json: bool) -> None:
    """List the devices of a number, or of an account by its id.

    Example: flask --app app devices list +4915112345678
    """
    with _kith().runtime.database.read() as connection:
        account_id = _account(connection, who)
        devices = DeviceService.list_by_account(connection, account_id)
        account = find(connection, Account, Account.id == account_id)
    state = None if account is None else _kith().tokens.lock_changes.status(account)[0]
    click.echo(f"Registration lock: {state or 'none'}.", err=True)
    rows = [_shown(device) for device in devices]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("It has no device.", err=True)
        return
    cells = [list(rows[0]), *([value or "-" for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        click.echo("  ".join(map(str.ljust, row, widths)).rstrip())


@devices_commands.command("revoke")
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
    kith = _kith()
    with kith.runtime.database.write() as connection:
        account_id = _account(connection, who)
        there = DeviceService.device_ids(connection, account_id)
        named = there if every else list(device_ids)
        if unknown := set(named) - set(there):
            listed = ", ".join(sorted(map(str, unknown)))
            raise click.ClickException(f"It has no device {listed}; see: devices list")
        if delete:
            done = kith.tokens.devices.remove_devices(connection, account_id, named)
        else:
            done = [
                one for one in named if kith.tokens.revocations.revoke(connection, account_id, one)
            ]
    log.info("devices.revoked", account_id=str(account_id), devices=len(done), deleted=delete)
    what = "deleted" if delete else "revoked"
    click.echo(f"{len(done)} of {len(named)} devices were {what}.", err=True)


def _shown(device: Device) -> dict[str, str | None]:
    revoked = device.token_revoked_at
    return {
        "id": str(device.id),
        "name": device.name,
        "platform": device.platform,
        "created": f"{device.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "last_seen": f"{device.last_seen_at:%Y-%m-%dT%H:%M:%SZ}",
        "revoked": f"{revoked:%Y-%m-%dT%H:%M:%SZ}" if revoked else None,
    }
