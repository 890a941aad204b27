"""Commands for the account: whoami, discoverable, lock, rotate, logout."""

from typing import TextIO

import click
from msgspec.structs import replace

from kith.commands.message_store import delete_store
from kith.commands.output import (
    ask_secret,
    local_time,
    note,
    pin_file_option,
    print_json,
    print_table,
    read_pin,
)
from kith.commands.session import Session
from kith.models import Account
from kith.problems import AccountNotFound, DeviceNotFound, TokenInvalid

MIN_PIN_LENGTH, MAX_PIN_LENGTH = 6, 64


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def whoami(session: Session, as_json: bool) -> None:
    """Show the account of this device.

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
            ("registration lock", _lock_state(account)),
            ("since", local_time(account.created_at)),
            ("server", credentials.server),
        ),
    )


def _lock_state(account: Account) -> str:
    if not account.registration_lock:
        return "not set"
    state = account.registration_lock_state or "set"
    ends_at = account.registration_lock_ends_at
    return state if ends_at is None else f"{state}, removed on {local_time(ends_at)}"


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
    """Protect the account by a PIN for registering its number again.

    \b
    Example:
      kith lock set
    """


@lock.command("set")
@pin_file_option
@click.option(
    "--current-pin-file",
    type=click.File(),
    help="Read the current PIN from a file, - is stdin; asked for by default.",
)
@click.pass_obj
def set_lock(session: Session, pin_file: TextIO | None, current_pin_file: TextIO | None) -> None:
    """Set the PIN, or change it with the current one.

    Six digits, or 6 to 64 characters; a PIN that is easy to guess is refused.

    \b
    Example:
      kith lock set
    """
    kith, _ = session.signed_in()
    pin = read_pin(pin_file) or ask_secret("New PIN (six digits)", again="New PIN again")
    if not MIN_PIN_LENGTH <= len(pin) <= MAX_PIN_LENGTH:
        raise click.BadParameter("a PIN has 6 to 64 characters", param_hint="--pin-file")
    with kith:
        current = None
        if kith.account().registration_lock:
            current = read_pin(current_pin_file) or ask_secret("Current PIN")
        kith.set_registration_lock(pin, current_pin=current)
    click.echo("The PIN is set. Remember it: nobody can look it up.")


@lock.command("remove")
@pin_file_option
@click.option("--forgotten", is_flag=True, help="Remove it without the PIN, in 7 days.")
@click.pass_obj
def remove_lock(session: Session, pin_file: TextIO | None, forgotten: bool) -> None:
    """Remove the PIN.

    At once with the PIN, in 7 days without it; your other devices are notified, and each can keep it.

    \b
    Example:
      kith lock remove
      kith lock remove --forgotten
    """
    if forgotten and pin_file:
        raise click.UsageError("Give --pin-file or --forgotten, not both.")
    kith, _ = session.signed_in()
    with kith:
        if not kith.account().registration_lock:
            click.echo("No PIN is set.")
            return
        if forgotten:
            account = kith.remove_registration_lock()
        else:
            account = kith.remove_registration_lock(read_pin(pin_file) or ask_secret("PIN"))
    if account.registration_lock_ends_at is None:
        click.echo("The PIN is removed.")
        return
    click.echo(f"The PIN is removed on {local_time(account.registration_lock_ends_at)}.")
    note("To keep it: kith lock keep")


@lock.command("keep")
@click.pass_obj
def keep_lock(session: Session) -> None:
    """Cancel the removal of the PIN.

    \b
    Example:
      kith lock keep
    """
    kith, _ = session.signed_in()
    with kith:
        kept = kith.keep_registration_lock().registration_lock
    click.echo("The PIN stays." if kept else "No PIN is set.")


@click.command()
@click.pass_obj
def rotate(session: Session) -> None:
    """Replace the token of this device; the old one stops working.

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
@click.option("--delete-account", is_flag=True, help="Delete the account with all its devices.")
@click.option("--yes", is_flag=True, help="Do not ask before deleting the account.")
@click.pass_obj
def logout(session: Session, delete_account: bool, yes: bool) -> None:
    """Remove this device at the server, and its credentials, keys and messages here.

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
    delete_store(session.file, credentials)
    click.echo("The account is deleted." if delete_account else "Signed out.")
