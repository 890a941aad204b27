"""Devices with stores for the tests of messaging."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kith import Kith
from kith.api.keys import KeyBundle
from kith.messaging.history import Entry
from kith.messaging.keys import OwnKeys
from kith.messaging.messenger import Messenger
from kith.messaging.sessions import OldSessions, Peer, Sessions
from kith.messaging.store import Store
from kith.messaging.store_encryption import UnlockMethod
from tests.unit.kith.message_server import MessageServer


@dataclass
class Clock:
    """A clock that tests advance."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self.now


def new_id(name: str) -> str:
    """Return the id that stands for a name in these tests."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


Make = Callable[..., "MessageDevice"]


@dataclass
class MessageDevice:
    """A device of an account with its store."""

    name: str
    message_server: MessageServer
    directory: Path
    clock: Clock
    owner: str = ""
    kith: Kith = field(init=False)
    store: Store = field(init=False)
    keys: OwnKeys = field(init=False)
    sessions: Sessions = field(init=False)
    messenger: Messenger = field(init=False)

    def __post_init__(self) -> None:
        """Register at the server and create the store."""
        self.account_id = new_id(f"{self.owner or self.name}'s account")
        self.device_id = new_id(f"{self.name}'s device")
        self.kith = self.message_server.add(self.account_id, self.device_id)
        self.start()

    def start(self) -> None:
        """Open the store, as a new process does."""
        self.store = Store(
            self.directory / f"{self.name}.db", UnlockMethod(self.directory / f"{self.name}.key")
        )
        self.keys = OwnKeys(self.store, self.clock)
        self.sessions = Sessions(self.store, self.keys, self.account_id, self.device_id, self.clock)
        self.messenger = Messenger(
            self.kith, self.store, self.account_id, self.device_id, clock=self.clock
        )

    def restart(self) -> None:
        """Restart the process."""
        self.store.close()
        self.start()

    def send(self, other: "MessageDevice", text: str) -> Entry:
        """Send a text to the owner of another device."""
        return self.messenger.send(other.account_id, text)

    def texts(self) -> list[str | None]:
        """Fetch messages; return the new texts."""
        return [entry.text for entry in self.messenger.receive() if not entry.outgoing]

    def bundle(self) -> KeyBundle:
        """Take one of this device's bundles."""
        somebody = self.message_server.client("somebody", "else")
        (bundle,) = somebody.fetch_keys(self.account_id, device_id=self.device_id).devices
        return bundle

    def first(self, other: "MessageDevice", text: bytes) -> bytes:
        """Start a session with another device."""
        return self.sessions.initiate(other.account_id, other.bundle(), text)

    def encrypt_for(self, other: "MessageDevice", text: bytes) -> bytes:
        """Encrypt for another device."""
        return self.sessions.encrypt(other.account_id, other.device_id, text)

    def decrypt_from(self, other: "MessageDevice", content: bytes) -> bytes | None:
        """Decrypt a message of another device."""
        opened = self.sessions.decrypt(other.account_id, other.device_id, content)
        return None if opened is None else opened.plaintext

    def lose_sessions(self, other: "MessageDevice") -> None:
        """Lose all sessions with another device, as a restored backup does."""
        for model in (Peer, OldSessions):
            self.store.delete(model, f"{other.account_id}/{other.device_id}")

    def start_over(self, *, as_another: bool = True) -> None:
        """Continue with an empty store and new keys: as another device of the account, or as
        the same one.
        """
        self.store.close()
        self.name += "'s next"
        self.message_server.keys.pop(self.device_id)
        if as_another:
            self.message_server.remove(self.account_id, self.device_id)
            self.device_id = new_id(f"{self.name}'s device")
            self.kith = self.message_server.add(self.account_id, self.device_id)
        self.start()
        self.messenger.prepare()
