"""Own `kith register` and `kith link`: how this machine becomes a device of an account."""

import platform
import re
import time
from collections.abc import Callable
from typing import TextIO

import click

from kith.api.verification import DeviceRecovery
from kith.client import Kith
from kith.codes import read_code
from kith.commands.failures import REFUSED, Failure, duration, failure_of
from kith.commands.messaging import publish_keys
from kith.commands.output import PIN_FILE, ask_secret, note, pin_from, print_json
from kith.commands.recovery import recovery_of
from kith.commands.session import Session
from kith.contacts.numbers import NumberUnreadable, normalise
from kith.credentials import Credentials
from kith.errors import KithProblem, KithUnreachable
from kith.models import Channel, Registration, Verification
from kith.problems import (
    CodeRejected,
    DeviceNotRecoverable,
    NoSendsLeft,
    NotFound,
    RegistrationLocked,
)

PIN_TRIES = 3
OUTBOX_LOOKS = 5

_AGAIN: dict[str, Channel] = {"again": "sms", "call": "voice"}


@click.command()
@click.argument("number")
@click.option(
    "--region", metavar="CC", help="Country of a number without country code, such as DE."
)
@click.option(
    "--voice", is_flag=True, help="Have the code read out in a call instead of sent as text."
)
@click.option("--name", help="Name of this device, shown in the list of devices.")
@PIN_FILE
@click.option("--dev", is_flag=True, help="Read the code from a development server's outbox.")
@click.option(
    "--replace", is_flag=True, help="Do not ask before replacing this profile's credentials."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON, without the token."
)
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
    """Prove that NUMBER is yours and make this machine a device of its account.

    A code is sent and asked for. Instead of the code, "again" has it sent again and "call" has it
    read out. A machine that was a device of the number before, and has its keys still, keeps its
    messages and what waits for it.

    \b
    Example:
      kith register +4915112345678
      kith register "0151 12345678" --region DE --voice
    """
    _may_replace(session, number, region, replace)
    session.file.prepare()
    with session.stranger() as kith:
        started = _start(kith, number, region, "voice" if voice else "sms")
        if dev:
            code = _code_from_outbox(kith, started, session.wiring.sleep)
            kith.check_code(started.id, code)
        else:
            _prove(kith, started)
        recovery = recovery_of(session, started)
        registration = _register(kith, started.id, name, pin_from(pin_file), recovery)
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
@click.option("--name", help="Name of this device, shown in the list of devices.")
@click.option(
    "--replace", is_flag=True, help="Do not ask before replacing this profile's credentials."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON, without the token."
)
@click.pass_obj
def link(session: Session, code: str, name: str | None, replace: bool, as_json: bool) -> None:
    """Make this machine a further device of the account that made the link CODE.

    \b
    Example:
      kith devices link          (on the device that is signed in)
      kith link CODE             (here)
    """
    _may_replace(session, None, None, replace)
    session.file.prepare()
    with session.stranger() as kith:
        linked = kith.redeem_device_link(code, name=name, platform=_platform())
        credentials = Credentials(
            server=session.server,
            account_id=linked.account_id,
            device_id=linked.device_id,
            phone_number="",
            device_token=linked.device_token,
        )
        # Stored before it is used: the link code works once, a lost token would stay lost.
        session.file.save(credentials)
        kith.device_token = linked.device_token
        number = kith.account().phone_number
    credentials = Credentials(
        credentials.server,
        credentials.account_id,
        credentials.device_id,
        number,
        credentials.device_token,
    )
    session.file.save(credentials)
    publish_keys(session)
    _welcome(credentials, as_json, reregistered=False)


def code_in(body: str, length: int) -> str | None:
    """Return the code that a text ("123456") or a call ("1, 2, 3, 4, 5, 6") tells, or None."""
    written = re.search(rf"(?<!\d)\d{{{length}}}(?!\d)", body)
    if written:
        return written[0]
    spoken = re.search(rf"(?<!\d)\d(?:[,.\s]+\d){{{length - 1}}}(?!\d)", body)
    return re.sub(r"\D", "", spoken[0]) if spoken else None


def _may_replace(session: Session, number: str | None, region: str | None, replace: bool) -> None:
    present = session.present()
    if present is None or replace or _e164(number, region) == present.phone_number:
        return
    click.confirm(
        f"This profile is signed in as {present.phone_number or 'a linked device'}. Replace it?",
        abort=True,
        err=True,
    )


def _e164(number: str | None, region: str | None) -> str | None:
    try:
        return normalise(number or "", region)
    except NumberUnreadable:
        return None


def _start(kith: Kith, number: str, region: str | None, channel: Channel) -> Verification:
    try:
        return kith.start_verification(
            number, region=region.upper() if region else None, channel=channel
        )
    except KithProblem as problem:
        if problem.code != "phone-number-invalid" or not region:
            raise
        failure = failure_of(problem)
        failure.hint = "Check the number, or write it as +4915112345678."
        raise failure from None


def _prove(kith: Kith, verification: Verification) -> None:
    how = "A call is on its way" if verification.channel == "voice" else "A text is on its way"
    note(f"{how} to {verification.phone_number}.")
    _tell_waits(verification)
    while True:
        answer = click.prompt("Code", err=True)
        word = answer.strip().lower()
        if word in _AGAIN:
            _send_again(kith, verification.id, _AGAIN[word])
            continue
        code = read_code(answer)
        if code is None or len(code) != verification.code_length:
            note(f"The code has {verification.code_length} digits.")
            continue
        try:
            kith.check_code(verification.id, code)
            return
        except CodeRejected as rejected:
            if rejected.checks_left == 0:
                raise
            left = "" if rejected.checks_left is None else f" {rejected.checks_left} tries left."
            note(f"That is not the code.{left}")
        except KithUnreachable:
            # Each check counts, so it is not repeated blindly: it may have arrived.
            if kith.verification(verification.id).status == "verified":
                return
            note("The connection broke; the code may not have arrived. Enter it again.")


def _send_again(kith: Kith, verification_id: str, channel: Channel) -> None:
    try:
        verification = kith.send_code(verification_id, channel)
    except KithProblem as problem:
        if problem.status != 429 and not isinstance(problem, NoSendsLeft):
            raise
        failure = failure_of(problem)
        note(f"{failure.message} {failure.hint}")
        return
    note("On its way again." if channel == "sms" else "A call is on its way.")
    _tell_waits(verification)


def _tell_waits(verification: Verification) -> None:
    ways = [
        f'"{word}" {what} in {duration(wait)}' if wait else f'"{word}" {what} now'
        for word, what, wait in (
            ("again", "sends it again", verification.next_sms_in),
            ("call", "has it read out", verification.next_voice_in),
        )
        if wait is not None
    ]
    if ways:
        note(f"Nothing came? Enter {', or '.join(ways)}.")


def _code_from_outbox(
    kith: Kith, verification: Verification, sleep: Callable[[float], None] = time.sleep
) -> str:
    for look in range(OUTBOX_LOOKS):
        if look:
            sleep(0.5)
        try:
            texts = kith.outbox(verification.phone_number)
        except NotFound:
            break
        code = code_in(texts[0].body, verification.code_length) if texts else None
        if code:
            return code
    raise Failure(
        "The server has no outbox with a code.",
        hint="--dev works with a development server (mock provider) only; leave it out.",
        exit_code=REFUSED,
    )


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
            note("The server has kept nothing for this device; it begins anew.")
            recovery = None
        except RegistrationLocked:
            if tries == PIN_TRIES:
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
