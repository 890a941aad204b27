"""Own what the commands about messages start from: the store opened, the messenger, and who is
meant by a name.

Refuse to ask for a passphrase where there is no terminal and none was given.
"""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from kith.api.discovery import hash_number
from kith.client import Kith
from kith.commands.failures import LOCAL_FILE, REFUSED, Failure
from kith.commands.output import ask_secret, note
from kith.commands.session import Session
from kith.contacts.numbers import NumberUnreadable, normalise, region_of
from kith.credentials import Credentials, CredentialsFile, default_state_directory
from kith.errors import KithError
from kith.messaging.addresses import Addresses
from kith.messaging.messenger import Messenger, TextUnfit
from kith.messaging.refusals import KeysChanged, KeysUnfit, NobodyReads
from kith.messaging.store import Store
from kith.messaging.vault import StoreBroken, StoreLocked, Unlocking
from kith.models import GroupSummary

PASSPHRASE = "KITH_PASSPHRASE"  # the name of a variable
MYSELF = "me"


@dataclass(frozen=True)
class Messaging:
    """What one command about messages works with."""

    kith: Kith
    credentials: Credentials
    store: Store
    messenger: Messenger
    addresses: Addresses
    _group_names: dict[str, str] = field(default_factory=dict)

    def account(self, name: str) -> str:
        """Return the account that is meant by a name, a number or an id; raise Failure."""
        if name == MYSELF:
            return self.credentials.account_id
        try:
            return str(uuid.UUID(name))
        except ValueError:
            pass
        number = self._number(name)
        return self._named(name) if number is None else self._with_number(number)

    def label(self, account_id: str) -> str:
        """Return what to call an account."""
        return (
            "you" if account_id == self.credentials.account_id else self.addresses.label(account_id)
        )

    def group_label(self, group_id: str) -> str:
        """Return the name of a group; its id where there is nothing better."""
        if not self._group_names:
            with contextlib.suppress(KithError):
                self._group_names.update({one.id: one.name for one in all_groups(self.kith)})
        return self._group_names.get(group_id, group_id)

    def _number(self, name: str) -> str | None:
        if not any(character.isdigit() for character in name):
            return None
        try:
            own_number = self.credentials.phone_number
            return normalise(name, region_of(own_number), own_number)
        except NumberUnreadable:
            return None

    def _with_number(self, number: str) -> str:
        known = self.addresses.of_number(number)
        if known is not None:
            return known.account_id
        parameters = self.kith.discovery_parameters()
        found = self.kith.look_up(parameters.epoch, [hash_number(number, parameters.salt)]).matches
        for account_id in found.values():
            return self.addresses.add(account_id, number).account_id
        raise Failure(f"Nobody with the number {number} is here.", exit_code=REFUSED)

    def _named(self, name: str) -> str:
        found = self.addresses.named(name)
        if not found:
            raise Failure(
                f"Nobody is known as {name}.",
                hint="Find people with: kith sync FILE. A number or an account id works as well.",
                exit_code=REFUSED,
            )
        if len(found) > 1:
            choices = "; ".join(f"{one.label} {one.phone_number}" for one in found[:10])
            raise Failure(
                f"{len(found)} people are known as {name}: {choices}.",
                hint="Say which, with the whole name or the number.",
                exit_code=REFUSED,
            )
        return found[0].account_id


@contextmanager
def messaging(session: Session, *, online: bool = True) -> Iterator[Messaging]:
    """Open the store and the messenger of this profile; raise Failure.

    online: publish keys that are due and send what still waits, before anything else.
    """
    with explained(), ExitStack() as stack:
        kith, credentials = session.signed_in()
        stack.enter_context(kith)
        store = stack.enter_context(open_store(session.file, credentials))
        messenger = Messenger(kith, store, credentials.account_id, credentials.device_id)
        opened = Messaging(kith, credentials, store, messenger, Addresses(store))
        with refusals(opened):
            if online:
                messenger.prepare()
            yield opened


def all_groups(kith: Kith) -> Iterator[GroupSummary]:
    """Yield the groups of the account, and those it is invited to."""
    after = None
    while True:
        page = kith.groups(after=after)
        yield from page.groups
        if not page.more or not page.groups:
            return
        after = page.groups[-1].id


def publish_keys(session: Session) -> None:
    """Let others write to this new device at once; when that fails, any later command does it."""
    try:
        with messaging(session):
            pass
    except (KithError, Failure) as error:
        note(f"Nobody can write to this device yet; kith inbox tries again. {error}")


def open_store(file: CredentialsFile, credentials: Credentials, *, ask: bool = True) -> Store:
    """Open a profile's message store; raise StoreLocked or StoreBroken.

    ask: for the passphrase, when there is one that KITH_PASSPHRASE does not give.
    """
    path, key_file = store_path(credentials), file.path.with_suffix(".key")
    given = os.environ.get(PASSPHRASE) or None
    unlocking = Unlocking(key_file, given)
    try:
        return Store(path, unlocking)
    except StoreLocked:
        if given or not ask or key_file.exists():
            raise
        unlocking = Unlocking(key_file, ask_secret("Passphrase of the messages kept here"))
        return Store(path, unlocking)


def store_path(credentials: Credentials) -> Path:
    """Return where a device keeps its messages, below the XDG state directory."""
    identity = f"{credentials.server}\0{credentials.device_id}".encode("utf-8", "surrogateescape")
    name = f"messages-{hashlib.sha256(identity).hexdigest()[:32]}.db"
    return default_state_directory() / name


def forget_store(file: CredentialsFile, credentials: Credentials) -> None:
    """Delete a device's messages and keys, and what opens them."""
    path = store_path(credentials)
    for part in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        part.unlink(missing_ok=True)
    file.path.with_suffix(".key").unlink(missing_ok=True)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what can go wrong with the store into a Failure."""
    try:
        yield
    except StoreLocked as error:
        hint = f"Give it as {PASSPHRASE}." if "passphrase" in str(error) else ""
        raise Failure(str(error), hint=hint, exit_code=LOCAL_FILE) from None
    except StoreBroken as error:
        raise Failure(str(error), exit_code=LOCAL_FILE) from None


@contextmanager
def refusals(opened: Messaging) -> Iterator[None]:
    """Turn what the messenger refuses into a Failure."""
    try:
        yield
    except KeysChanged as changed:
        label = opened.label(changed.account_id)
        name = MYSELF if label == "you" else label
        count = len(changed.device_ids)
        raise Failure(
            f"Not sent: {count} device{'s' if count > 1 else ''} of {label} "
            f"{'have' if count > 1 else 'has'} keys that you have not accepted.",
            hint=f"A new phone, or somebody in between? Compare: kith keys {name!r}. "
            f"Then: kith keys accept {name!r}",
            exit_code=REFUSED,
        ) from None
    except NobodyReads:
        raise Failure(
            "Not sent: none of their devices can read messages yet.",
            hint="They have to run kith inbox once.",
            exit_code=REFUSED,
        ) from None
    except KeysUnfit as error:
        raise Failure(f"Not sent: {error}", exit_code=REFUSED) from None
    except TextUnfit as error:
        raise click.BadParameter(str(error), param_hint="TEXT") from None
