"""Own the commands about the own account: whoami, discoverable, lock, rotate, logout."""

from dataclasses import replace

import click

from kith.commands.messaging import forget_store
from kith.commands.output import ask_secret, local_time, note, print_json, print_table
from kith.commands.session import Session
from kith.problems import AccountNotFound, DeviceNotFound, TokenInvalid

SHORTEST_PIN, LONGEST_PIN = 4, 64


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def whoami(session: Session, as_json: bool) -> None:
    """Show the account that this machine is signed in to.

    \b
    Example:
      kith whoami --json
    """
    kith, credentials = session.signed_in()
    with kith:
        account = kith.account()
    if as_json:
        print_json(account)
        return
    print_table(
        ("", ""),
        (
            ("number", account.phone_number),
            ("account", account.account_id),
            ("device", account.device_id),
            ("discoverable", "yes" if account.discoverable else "no"),
            ("registration lock", "set" if account.registration_lock else "not set"),
            ("since", local_time(account.created_at)),
            ("server", credentials.server),
        ),
    )


@click.command()
@click.argument("state", type=click.Choice(["on", "off"]))
@click.pass_obj
def discoverable(session: Session, state: str) -> None:
    """Let people who have your number find you (on), or not (off).

    \b
    Example:
      kith discoverable off
    """
    kith, _ = session.signed_in()
    with kith:
        account = kith.set_discoverable(state == "on")
    click.echo(
        "People who have your number "
        + ("find you." if account.discoverable else "do not find you.")
    )


@click.group()
def lock() -> None:
    """Guard the account by a PIN that is asked for when its number is registered again.

    \b
    Example:
      kith lock set
    """


@lock.command("set")
@click.option("--pin", help="The PIN, 4 to 64 characters; asked for twice when not given.")
@click.pass_obj
def set_lock(session: Session, pin: str | None) -> None:
    """Set the PIN, or change it.

    A PIN given as an option can be seen by others on this machine while the command runs.

    \b
    Example:
      kith lock set
    """
    kith, _ = session.signed_in()
    if pin is None:
        pin = ask_secret("PIN", again="PIN again")
    if not SHORTEST_PIN <= len(pin) <= LONGEST_PIN:
        raise click.BadParameter("a PIN has 4 to 64 characters", param_hint="--pin")
    with kith:
        kith.set_registration_lock(pin)
    click.echo("The PIN is set. Remember it: nobody can look it up.")


@lock.command("remove")
@click.pass_obj
def remove_lock(session: Session) -> None:
    """Ask for no PIN any more.

    \b
    Example:
      kith lock remove
    """
    kith, _ = session.signed_in()
    with kith:
        kith.remove_registration_lock()
    click.echo("The PIN is removed.")


@click.command()
@click.pass_obj
def rotate(session: Session) -> None:
    """Replace this device's token by a new one; the old one stops working.

    The new token is on disk before it is first used, so a crash in between loses nothing.

    \b
    Example:
      kith rotate
    """
    kith, credentials = session.signed_in()
    session.file.prepare()
    with kith:
        token = kith.rotate_token()
        session.file.save(replace(credentials, device_token=token))
        kith.device_token = token
        kith.account()
    click.echo("This device has a new token.")


@click.command()
@click.option(
    "--delete-account", is_flag=True, help="Delete the account with all its devices as well."
)
@click.option("--yes", is_flag=True, help="Do not ask before deleting the account.")
@click.pass_obj
def logout(session: Session, delete_account: bool, yes: bool) -> None:
    """Remove this device at the server, then its credentials, keys and messages here.

    \b
    Example:
      kith logout
      kith logout --delete-account
    """
    kith, credentials = session.signed_in()
    if delete_account and not yes:
        click.confirm(
            f"Delete the account of {credentials.phone_number} with all its devices for good?",
            abort=True,
            err=True,
        )
    with kith:
        try:
            if delete_account:
                kith.delete_account()
            else:
                kith.remove_device(credentials.device_id)
        except (TokenInvalid, DeviceNotFound, AccountNotFound) as gone:
            if delete_account and isinstance(gone, TokenInvalid):
                raise
            note("The server did not know this device any more.")
    session.file.remove()
    forget_store(session.file, credentials)
    click.echo("The account is deleted." if delete_account else "Signed out.")
