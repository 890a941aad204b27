"""Commands for operators: `flask --app app discovery …`."""

import os
from contextlib import suppress
from typing import Any

import click
from flask import current_app

from core.commands import CommandGroup, read_number
from discovery import epochs
from discovery.snapshot import SnapshotUnusable
from discovery.snapshot_builder import build

discovery_commands = CommandGroup("discovery", help="The directory: epochs, snapshots and budgets.")


def _kith() -> Any:
    return current_app.extensions["kith"]


@discovery_commands.command("rotate")
def rotate() -> None:
    """Begin a new epoch: new salt, directory filled anew, then a switch in one moment.

    Lookups are answered all the while. When it is interrupted, run it again or leave it to the server:
    it goes on where it was. Example: flask --app app discovery rotate
    """
    kith = _kith()
    kith.discovery.rotation.announce()
    with click.progressbar(length=1000, label="filling the new epoch") as bar:
        for share in kith.discovery.keeper.steps():
            bar.update(int(share * 1000) - bar.pos)
        bar.update(1000 - bar.pos)
    current, previous = kith.discovery.directory.parameters()
    click.echo(f"Epoch {current.id} answers.")
    if previous:
        click.echo(f"Epoch {previous.id} answers until {previous.expires_at:%Y-%m-%d %H:%M} UTC.")


@discovery_commands.command("rebuild")
def rebuild() -> None:
    """Build this host's snapshot of the current epoch anew; running workers take it over.

    They do the same by themselves when they need it. Example: flask --app app discovery rebuild
    """
    kith = _kith()
    epoch, _ = kith.discovery.directory.parameters()
    with suppress(SnapshotUnusable):
        kith.discovery.replicas.adopt(epoch)
    with kith.runtime.database.read() as connection:
        people = epochs.count_accounts(connection)
    with click.progressbar(length=max(people, 1), label="building the snapshot") as bar:
        build(
            kith.runtime.database,
            kith.discovery.replicas.order(epoch),
            kith.runtime.clock,
            os.urandom,
            bar.update,
        )


@discovery_commands.command("epochs")
def list_epochs() -> None:
    """List the epochs there are.

    Example: flask --app app discovery epochs
    """
    with _kith().runtime.database.read() as connection:
        for epoch in epochs.read(connection):
            ends = f"until {epoch.expires_at:%Y-%m-%d %H:%M} UTC" if epoch.expires_at else ""
            begun = f"{epoch.created_at:%Y-%m-%d %H:%M} UTC"
            click.echo(f"{epoch.id:10} {epoch.state:10} begun {begun} {ends}".rstrip())


@discovery_commands.command("budget")
@click.argument("number")
@click.option("--tier", help="Give it this tier of KITH_DISCOVERY_TIERS, or `default`.")
def budget(number: str, tier: str | None) -> None:
    """Show a number's budget, and give it another tier.

    What it has spent stays spent. Example: flask --app app discovery budget +4915112345678 --tier partner
    """
    e164 = read_number(number)
    service = _kith().discovery.directory
    try:
        left = service.budget_of(e164) if tier is None else service.assign_tier(e164, tier)
    except KeyError:
        raise click.UsageError(f"KITH_DISCOVERY_TIERS has no {tier!r}.") from None
    click.echo(f"{left.left} of {left.capacity} left, {left.refill_per_day} more a day.")
