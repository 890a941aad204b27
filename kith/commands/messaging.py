"""What the commands about messages share: the open store, the messenger, and the meaning of a name.

A passphrase is asked for only at a terminal.
"""

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import click

from kith.api.discovery import hash_number
from kith.client import Kith
from kith.commands.errors import LOCAL_FILE, REFUSED, Failure
from kith.commands.message_store import PASSPHRASE_VARIABLE, open_store
from kith.commands.session import Session
from kith.contacts.numbers import NumberUnreadable, normalise, region_of
from kith.errors import KithError
from kith.messaging.accounts import ContactNames
from kith.messaging.messenger import Messenger, TextInvalid
from kith.messaging.recipients import KeysChanged, KeysInvalid, NoRecipientDevices
from kith.messaging.store import Store
from kith.messaging.store_encryption import StoreBroken, StoreLocked
from kith.models import GroupSummary
from kith.storage import Credentials

MYSELF = "me"


@dataclass(frozen=True)
class Messaging:
    """The store, messenger and names of one command."""

    kith: Kith
    credentials: Credentials
    store: Store
    messenger: Messenger
    addresses: ContactNames
    _group_names: dict[str, str] = field(default_factory=dict)

    def account(self, name: str) -> str:
        """Return the account of a name, a number or an id; raise Failure."""
        if name == MYSELF:
            return self.credentials.account_id
        try:
            return str(uuid.UUID(name))
        except ValueError:
            pass
        number = self._number(name)
        return self._named(name) if number is None else self._with_number(number)

    def label(self, account_id: str) -> str:
        """Return the name to show for an account."""
        return (
            "you" if account_id == self.credentials.account_id else self.addresses.label(account_id)
        )

    def group_label(self, group_id: str) -> str:
        """Return the name of a group, its id without one."""
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
        known = self.addresses.find_by_number(number)
        if known is not None:
            return known.account_id
        parameters = self.kith.discovery_parameters()
        found = self.kith.look_up(parameters.epoch, [hash_number(number, parameters.salt)]).matches
        for account_id in found.values():
            return self.addresses.add(account_id, number).account_id
        raise Failure(f"Nobody with the number {number} is here.", exit_code=REFUSED)

    def _named(self, name: str) -> str:
        found = self.addresses.find_by_name(name)
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

    online: publish due keys and send what still waits first.
    """
    with store_errors(), ExitStack() as stack:
        kith, credentials = session.signed_in()
        stack.enter_context(kith)
        store = stack.enter_context(open_store(session.file, credentials))
        messenger = Messenger(kith, store, credentials.account_id, credentials.device_id)
        context = Messaging(kith, credentials, store, messenger, ContactNames(store))
        with send_errors(context):
            if online:
                messenger.prepare()
            yield context


def all_groups(kith: Kith) -> Iterator[GroupSummary]:
    """Yield the groups of the account, including invitations."""
    after = None
    while True:
        page = kith.groups(after=after)
        yield from page.groups
        if not page.more or not page.groups:
            return
        after = page.groups[-1].id


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn errors of the store into a Failure."""
    try:
        yield
    except StoreLocked as error:
        hint = f"Give it as {PASSPHRASE_VARIABLE}." if "passphrase" in str(error) else ""
        raise Failure(str(error), hint=hint, exit_code=LOCAL_FILE) from None
    except StoreBroken as error:
        raise Failure(str(error), exit_code=LOCAL_FILE) from None


@contextmanager
def send_errors(context: Messaging) -> Iterator[None]:
    """Turn messages that the messenger refuses into a Failure."""
    try:
        yield
    except KeysChanged as changed:
        label = context.label(changed.account_id)
        name = MYSELF if label == "you" else label
        count = len(changed.device_ids)
        raise Failure(
            f"Not sent: {count} device{'s' if count > 1 else ''} of {label} "
            f"{'have' if count > 1 else 'has'} keys that you have not accepted.",
            hint=f"A new phone, or somebody in between? Compare: kith keys {name!r}. "
            f"Then: kith keys accept {name!r}",
            exit_code=REFUSED,
        ) from None
    except NoRecipientDevices:
        raise Failure(
            "Not sent: none of their devices can read messages yet.",
            hint="They have to run kith inbox once.",
            exit_code=REFUSED,
        ) from None
    except KeysInvalid as error:
        raise Failure(f"Not sent: {error}", exit_code=REFUSED) from None
    except TextInvalid as error:
        raise click.BadParameter(str(error), param_hint="TEXT") from None
