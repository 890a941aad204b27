"""`kith keys`: show the keys of devices, compare safety numbers, accept keys, set a passphrase."""

import click

from kith.commands.errors import REFUSED, Failure
from kith.commands.messaging import Messaging, messaging
from kith.commands.output import ask_secret, print_json, print_table
from kith.commands.session import Session
from kith.messaging.accounts import KnownAccount
from kith.messaging.store_encryption import UnlockMethod


class _KeysGroup(click.Group):
    """Reads `kith keys NAME` as `kith keys show NAME`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand; somebody called "accept" needs `show`."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


@click.group(cls=_KeysGroup, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def keys(ctx: click.Context, as_json: bool) -> None:
    """Show the keys of your devices, or the safety number with somebody else.

    \b
    Example:
      kith keys
      kith keys Ann
    """
    if ctx.invoked_subcommand is not None:
        return
    with messaging(ctx.obj) as context:
        account_id = context.credentials.account_id
        rows = [
            (context.credentials.device_id, context.messenger.keys.identity().public_key, "this")
        ]
        rows += _devices(context.messenger.fetch_identities(account_id))
        if as_json:
            print_json(_listed(rows))
            return
        _print(rows)


@keys.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> None:
    """Show the safety number with NAME. Read it to each other: both must see the same.

    \b
    Example:
      kith keys Ann
    """
    with messaging(session) as context:
        account_id = _other(context, name)
        for one in (context.credentials.account_id, account_id):
            person = context.messenger.fetch_identities(one)
        if not person.devices:
            raise Failure("None of their devices has keys yet.", exit_code=REFUSED)
        number = context.messenger.safety_number(account_id)
        state = _state(person)
        if as_json:
            print_json(
                {
                    "account_id": account_id,
                    "safety_number": number,
                    "state": state,
                    "devices": _listed(_devices(person)),
                }
            )
            return
        groups = number.split(" ")
        for start in (0, 4, 8):
            click.echo("  ".join(groups[start : start + 4]))
        click.echo(f"\n{context.label(account_id)}: {state}")
        _print(_devices(person))


@keys.command()
@click.argument("name")
@click.pass_obj
def accept(session: Session, name: str) -> None:
    """Accept the current keys of NAME's devices, so that you can write to them.

    "me" accepts your own other devices. Compare the safety number first, if it matters.

    \b
    Example:
      kith keys accept Ann
    """
    _accept(session, name, verified=False)


@keys.command()
@click.argument("name")
@click.pass_obj
def verify(session: Session, name: str) -> None:
    """Record that you have compared the safety number with NAME, and accept the keys.

    \b
    Example:
      kith keys verify Ann
    """
    _accept(session, name, verified=True)


@keys.command()
@click.pass_obj
def passphrase(session: Session) -> None:
    """Protect stored keys and messages by a passphrase, or change it.

    An empty one removes it; the key file beside the credentials then protects them.

    \b
    Example:
      kith keys passphrase
    """
    with messaging(session, online=False) as context:
        key_file = session.file.path.with_suffix(".key")
        chosen = ask_secret("New passphrase", again="Again", empty=True) or None
        context.store.change_unlock(UnlockMethod(key_file, chosen))
        if chosen:
            key_file.unlink(missing_ok=True)
    click.echo("The passphrase is set." if chosen else "There is no passphrase any more.")


def _accept(session: Session, name: str, *, verified: bool) -> None:
    with messaging(session) as context:
        account_id = context.account(name)
        context.messenger.fetch_identities(account_id)
        person = context.messenger.accounts.accept(account_id, verified=verified)
        click.echo(f"{context.label(account_id)}: {_state(person)}")
        _print(_devices(person))


def _other(context: Messaging, name: str) -> str:
    account_id = context.account(name)
    if account_id == context.credentials.account_id:
        raise Failure("Compare with somebody else.", hint="See: kith keys", exit_code=REFUSED)
    return account_id


def _state(person: KnownAccount) -> str:
    if person.verified == person.identity_keys:
        return "verified"
    if person.verified:
        return "changed since you compared"
    return "changed, not accepted" if person.unaccepted else "not compared"


def _devices(person: KnownAccount) -> list[tuple[str, bytes, str]]:
    return [
        (device.device_id, device.identity_key, "" if device.accepted else "not accepted")
        for device in person.devices.values()
    ]


def _listed(rows: list[tuple[str, bytes, str]]) -> list[dict[str, str]]:
    return [
        {"device_id": device_id, "identity_key": key.hex(), "state": state}
        for device_id, key, state in rows
    ]


def _print(rows: list[tuple[str, bytes, str]]) -> None:
    print_table(
        ("DEVICE", "", "KEY"), [(device_id, state, key.hex()) for device_id, key, state in rows]
    )
