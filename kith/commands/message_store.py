"""The message store in commands that also work without the extra `kith[messages]`: register, link,
sync and logout. Its modules are imported where they are needed.
"""

import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kith.api.verification import DeviceRecovery
from kith.commands.errors import Failure
from kith.commands.output import ask_secret, note
from kith.commands.session import Session
from kith.errors import KithError, MessagesNotInstalled
from kith.models import Verification
from kith.storage import Credentials, CredentialsFile, default_state_directory
from kith.sync import Book

if TYPE_CHECKING:
    from kith.messaging.store import Store

PASSPHRASE_VARIABLE = "KITH_PASSPHRASE"


def open_store(file: CredentialsFile, credentials: Credentials, *, ask: bool = True) -> "Store":
    """Open a profile's message store; raise StoreLocked, StoreBroken or MessagesNotInstalled.

    ask: prompt for the passphrase when there is one that KITH_PASSPHRASE does not give.
    """
    from kith.messaging.store import Store
    from kith.messaging.store_encryption import StoreLocked, UnlockMethod

    path, key_file = store_path(credentials), file.path.with_suffix(".key")
    given = os.environ.get(PASSPHRASE_VARIABLE) or None
    try:
        return Store(path, UnlockMethod(key_file, given))
    except StoreLocked:
        if given or not ask or key_file.exists():
            raise
        passphrase = ask_secret("Passphrase of the messages kept here")
        return Store(path, UnlockMethod(key_file, passphrase))


def store_path(credentials: Credentials) -> Path:
    """Return the path of a device's message store, in the XDG state directory."""
    identity = f"{credentials.server}\0{credentials.device_id}".encode("utf-8", "surrogateescape")
    name = f"messages-{hashlib.sha256(identity).hexdigest()[:32]}.db"
    return default_state_directory() / name


def delete_store(file: CredentialsFile, credentials: Credentials) -> None:
    """Delete a device's messages and keys, and the key file."""
    path = store_path(credentials)
    for part in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        part.unlink(missing_ok=True)
    file.path.with_suffix(".key").unlink(missing_ok=True)


def publish_keys(session: Session) -> None:
    """Publish the keys of a new device, so that others can write to it at once.

    When that fails, the next command about messages does it. Nothing is published without the
    extra.
    """
    try:
        from kith.commands.messaging import messaging

        with messaging(session):
            pass
    except MessagesNotInstalled:
        return
    except (KithError, Failure) as error:
        note(f"Nobody can write to this device yet; kith inbox tries again. {error}")


def sign_recovery(session: Session, verified: Verification) -> DeviceRecovery | None:
    """Return the recovery of this machine's device of the same number, None without one.

    Confirm before going on without it when the keys are here and cannot be opened: the messages
    that wait for the device are then deleted.
    """
    stored_credentials = session.credentials_of_server()
    if stored_credentials is None or stored_credentials.phone_number != verified.phone_number:
        return None
    if not store_path(stored_credentials).exists():
        return None
    try:
        from kith.messaging import StoreBroken, StoreLocked
        from kith.messaging.keys import OwnKeys

        try:
            with open_store(session.file, stored_credentials) as store:
                return OwnKeys(store, time.time).recovery(stored_credentials.device_id, verified.id)
        except (StoreBroken, StoreLocked) as error:
            note(str(error))
    except MessagesNotInstalled as error:
        note(str(error))
    click.confirm(
        "Go on without the keys of this device? Its messages at the server are lost then.",
        abort=True,
        err=True,
    )
    return None


def save_names(session: Session, credentials: Credentials, book: Book) -> None:
    """Save the names of a book's matches for `kith send`, without asking for a passphrase."""
    try:
        from kith.messaging import StoreBroken, StoreLocked
        from kith.messaging.accounts import ContactNames
    except MessagesNotInstalled:
        return
    try:
        with open_store(session.file, credentials, ask=False) as store:
            ContactNames(store).add_matches(book.matches())
    except (StoreLocked, StoreBroken) as error:
        note(f"kith send will not know these names: {error}")
