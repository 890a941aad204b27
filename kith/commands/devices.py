"""`kith devices`: list, rename, remove and link the devices of the account."""

import click

from kith.commands.errors import REFUSED, Failure
from kith.commands.output import local_time, print_json, print_table
from kith.commands.session import Session
from kith.models import Device

#: The share of a full mailbox from which on it is shown.
NEARLY_FULL = 0.1


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def devices(ctx: click.Context, as_json: bool) -> None:
    """List the devices of your account, or change one.

    \b
    Example:
      kith devices
      kith devices rename ID "Old laptop"
    """
    if ctx.invoked_subcommand is not None:
        return
    session: Session = ctx.obj
    kith, _ = session.signed_in()
    with kith:
        found = kith.devices()
    if as_json:
        print_json(found)
        return
    print_table(
        ("", "NAME", "PLATFORM", "LAST SEEN", "WAITING", "ID"),
        [
            (
                "*" if device.current else "",
                device.name or "",
                device.platform or "",
                local_time(device.last_seen_at)
                + (", signed out" if device.token_revoked_at else ""),
                _waiting(device),
                device.id,
            )
            for device in found
        ],
    )


def _waiting(device: Device) -> str:
    """Return how many messages wait for a device, and how full its mailbox is."""
    if device.mailbox is None:
        return ""
    box = device.mailbox
    full = max(box.messages / box.max_messages, box.bytes / box.max_bytes)
    return f"{box.messages} ({full:.0%} full)" if full >= NEARLY_FULL else str(box.messages)


def _device_id(_: click.Context, __: click.Parameter, value: str) -> str:
    if value.strip(". ") == "":
        raise click.BadParameter("not a device id; see: kith devices")
    return value


def _given_id(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    return None if value is None else _device_id(ctx, parameter, value)


@devices.command("remove")
@click.argument("device_id", metavar="ID", required=False, callback=_given_id)
@click.option("--others", is_flag=True, help="All devices but this one.")
@click.pass_obj
def remove(session: Session, device_id: str | None, others: bool) -> None:
    """Sign out another device of your account, or all others.

    \b
    Example:
      kith devices remove 7b0f3a51-7d83-4b6f-9b3c-2f8f3c6f0a11
      kith devices remove --others
    """
    if others == (device_id is not None):
        raise click.UsageError("Give the ID of a device, or --others.")
    kith, credentials = session.signed_in()
    if device_id is None:
        with kith:
            removed = len(kith.remove_other_devices())
        click.echo(f"{removed} other device{'' if removed == 1 else 's'} signed out.")
        return
    if device_id == credentials.device_id:
        raise Failure(
            "That is the device you are using.", hint="Use: kith logout", exit_code=REFUSED
        )
    with kith:
        kith.remove_device(device_id)
    click.echo("The device is signed out.")


@devices.command("rename")
@click.argument("device_id", metavar="ID", callback=_device_id)
@click.argument("name")
@click.pass_obj
def rename(session: Session, device_id: str, name: str) -> None:
    """Rename a device.

    \b
    Example:
      kith devices rename 7b0f3a51-7d83-4b6f-9b3c-2f8f3c6f0a11 "Old laptop"
    """
    kith, _ = session.signed_in()
    with kith:
        kith.rename_device(device_id, name)
    click.echo("The device is renamed.")


@devices.command("link")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def link_code(session: Session, as_json: bool) -> None:
    """Print a code that adds one device to your account.

    \b
    Example:
      kith devices link
    """
    kith, _ = session.signed_in()
    with kith:
        made = kith.create_device_link()
    if as_json:
        print_json(made)
        return
    click.echo(f"kith link {made.link_code}")
    click.echo(
        f"Enter this on the other device before {local_time(made.expires_at)}; it works once.",
        err=True,
    )
