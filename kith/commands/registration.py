"""`kith register` and `kith link`: add this machine to an account."""

import platform
from typing import TextIO

import click
from msgspec.structs import replace as replace_members

from kith.api.verification import DeviceRecovery
from kith.client import Kith
from kith.commands.code_prompt import ask_for_code, read_outbox_code, send_first_code
from kith.commands.message_store import publish_keys, sign_recovery
from kith.commands.output import ask_secret, note, pin_file_option, print_json, read_pin
from kith.commands.session import Session
from kith.contacts.numbers import NumberUnreadable, normalise
from kith.models import Registration
from kith.problems import DeviceNotRecoverable, RegistrationLocked
from kith.storage import Credentials

MAX_PIN_TRIES = 3

_name_option = click.option("--name", help="Name of this device, shown in the list of devices.")
_replace_option = click.option(
    "--replace", is_flag=True, help="Do not ask before replacing this profile's credentials."
)
_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON, without the token."
)


@click.command()
@click.argument("number")
@click.option(
    "--region", metavar="CC", help="Country of a number without country code, such as DE."
)
@click.option("--voice", is_flag=True, help="Get the code in a call instead of a text.")
@_name_option
@pin_file_option
@click.option("--dev", is_flag=True, help="Read the code from a development server's outbox.")
@_replace_option
@_json_option
@click.pass_obj
def register(
    session: Session,
    number: str,
    region: str | None,
    voice: bool,
    name: str | None,
    pin_file: TextIO | None,
    dev: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Verify NUMBER and add this machine to its account.

    Enter the code that is sent, "again" to send it again, or "call" to have it read out. A machine
    that was a device of the number before and still has its keys keeps its messages.

    \b
    Example:
      kith register +4915112345678
      kith register "0151 12345678" --region DE --voice
    """
    _may_replace(session, number, region, replace)
    session.file.prepare()
    with session.anonymous() as kith:
        started = send_first_code(kith, number, region, "voice" if voice else "sms")
        if dev:
            code = read_outbox_code(kith, started, session.dependencies.sleep)
            kith.check_code(started.id, code)
        else:
            ask_for_code(kith, started)
        recovery = sign_recovery(session, started)
        registration = _register(kith, started.id, name, read_pin(pin_file), recovery)
    credentials = Credentials(
        server=session.server,
        account_id=registration.account_id,
        device_id=registration.device_id,
        phone_number=registration.phone_number,
        device_token=registration.device_token,
    )
    session.file.save(credentials)
    publish_keys(session)
    kept = recovery is not None and recovery.device_id == registration.device_id
    _welcome(credentials, as_json, reregistered=registration.reregistered, kept=kept)


@click.command()
@click.argument("code")
@_name_option
@_replace_option
@_json_option
@click.pass_obj
def link(session: Session, code: str, name: str | None, replace: bool, as_json: bool) -> None:
    """Add this machine to the account that created the link CODE.

    \b
    Example:
      kith devices link          (on the device that is signed in)
      kith link CODE             (here)
    """
    _may_replace(session, None, None, replace)
    session.file.prepare()
    with session.anonymous() as kith:
        linked = kith.redeem_device_link(code, name=name, platform=_platform())
        credentials = Credentials(
            server=session.server,
            account_id=linked.account_id,
            device_id=linked.device_id,
            phone_number="",
            device_token=linked.device_token,
        )
        # Saved before it is used: the link code works once, and a lost token is lost.
        session.file.save(credentials)
        kith.device_token = linked.device_token
        number = kith.account().phone_number
    credentials = replace_members(credentials, phone_number=number)
    session.file.save(credentials)
    publish_keys(session)
    _welcome(credentials, as_json, reregistered=False)


def _may_replace(session: Session, number: str | None, region: str | None, replace: bool) -> None:
    stored = session.stored_credentials()
    if stored is None or replace or _e164(number, region) == stored.phone_number:
        return
    click.confirm(
        f"This profile is signed in as {stored.phone_number or 'a linked device'}. Replace it?",
        abort=True,
        err=True,
    )


def _e164(number: str | None, region: str | None) -> str | None:
    try:
        return normalise(number or "", region)
    except NumberUnreadable:
        return None


def _register(
    kith: Kith,
    verification_id: str,
    name: str | None,
    pin: str | None,
    recovery: DeviceRecovery | None,
) -> Registration:
    tries = 0
    while True:
        try:
            return kith.register(
                verification_id,
                name=name,
                platform=_platform(),
                registration_lock_pin=pin,
                recovery=recovery,
            )
        except DeviceNotRecoverable:
            note("The server has kept nothing for this device; it starts over.")
            recovery = None
        except RegistrationLocked:
            if tries == MAX_PIN_TRIES:
                raise
            note("That is not the PIN." if pin is not None else "This account is locked by a PIN.")
            tries += 1
            pin = ask_secret("PIN")


def _welcome(
    credentials: Credentials, as_json: bool, *, reregistered: bool, kept: bool = False
) -> None:
    if as_json:
        print_json(
            {
                "phone_number": credentials.phone_number,
                "account_id": credentials.account_id,
                "device_id": credentials.device_id,
                "reregistered": reregistered,
            }
        )
        return
    back = " Welcome back; your other devices were signed out." if reregistered else ""
    back += " This one kept its messages." if kept else ""
    click.echo(f"You are {credentials.phone_number}, account {credentials.account_id}.{back}")


def _platform() -> str:
    return platform.system().lower() or "unknown"
