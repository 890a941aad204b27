"""Commands for operators: `flask --app app discovery …`."""

from contextlib import suppress

import click

from core.commands import CommandGroup, read_number
from core.runtime import Runtime
from discovery import epochs
from discovery.directory import Directory
from discovery.epochs import Rotation
from discovery.service import DiscoveryService
from discovery.snapshot import SnapshotUnusable
from discovery.snapshot_builder import build
from discovery.updater import DirectoryUpdater


def discovery_commands(
    runtime: Runtime,
    service: DiscoveryService,
    directory: Directory,
    rotation: Rotation,
    updater: DirectoryUpdater,
) -> CommandGroup:
    """Build the commands of discovery."""
    group = CommandGroup("discovery", help="The directory: epochs, snapshots and budgets.")

    @group.command("rotate")
    def rotate() -> None:
        """Rotate to a new epoch, with a new salt; lookups are answered meanwhile.

        If it is interrupted, run it again or leave it to the server: it continues where it was.

        Example: flask --app app discovery rotate
        """
        rotation.announce()
        with click.progressbar(length=1000, label="filling the new epoch") as bar:
            for filled in updater.rotate():
                bar.update(int(filled * 1000) - bar.pos)
            bar.update(1000 - bar.pos)
        current, previous = service.parameters()
        click.echo(f"Epoch {current.id} answers.")
        if previous:
            ends = f"{previous.expires_at:%Y-%m-%d %H:%M} UTC"
            click.echo(f"Epoch {previous.id} answers until {ends}.")

    @group.command("rebuild")
    def rebuild() -> None:
        """Rebuild this host's snapshot of the current epoch; running workers adopt it.

        Workers rebuild it themselves when they need to.

        Example: flask --app app discovery rebuild
        """
        epoch, _ = service.parameters()
        with suppress(SnapshotUnusable):
            directory.adopt(epoch)
        with runtime.database.read() as connection:
            people = epochs.count_accounts(connection)
        request = directory.build_request(epoch)
        with click.progressbar(length=max(people, 1), label="building the snapshot") as bar:
            build(runtime.database, request, runtime.clock, runtime.entropy, bar.update)

    @group.command("epochs")
    def list_epochs() -> None:
        """List the epochs.

        Example: flask --app app discovery epochs
        """
        with runtime.database.read() as connection:
            for epoch in epochs.read(connection):
                ends = f"until {epoch.expires_at:%Y-%m-%d %H:%M} UTC" if epoch.expires_at else ""
                begun = f"{epoch.created_at:%Y-%m-%d %H:%M} UTC"
                click.echo(f"{epoch.id:10} {epoch.state:10} begun {begun} {ends}".rstrip())

    @group.command("budget")
    @click.argument("number")
    @click.option("--tier", help="Assign this tier of KITH_DISCOVERY_TIERS, or `default`.")
    def budget(number: str, tier: str | None) -> None:
        """Show a number's budget, and assign it another tier.

        What was spent stays spent.

        Example: flask --app app discovery budget +4915112345678 --tier partner
        """
        e164 = read_number(number)
        try:
            held = service.balance_of(e164) if tier is None else service.assign_tier(e164, tier)
        except KeyError:
            raise click.UsageError(f"KITH_DISCOVERY_TIERS has no {tier!r}.") from None
        click.echo(f"{held.left} of {held.capacity} left, {held.refill_per_day} more a day.")

    return group
