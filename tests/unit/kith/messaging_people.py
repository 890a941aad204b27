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
from tests.unit.kith.post_office import PostOffice


@dataclass
class Clock:
    """A clock that is told to go on."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Give the time in Unix seconds."""
        return self.now


def new_id(name: str) -> str:
    """Return the id that stands for a name in these tests."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


Make = Callable[..., "Machine"]


@dataclass
class Machine:
    """A device of an account with its store."""

    name: str
    office: PostOffice
    directory: Path
    clock: Clock
    owner: str = ""
    kith: Kith = field(init=False)
    store: Store = field(init=False)
    keys: OwnKeys = field(init=False)
    sessions: Sessions = field(init=False)
    messenger: Messenger = field(init=False)

    def __post_init__(self) -> None:
        """Register at the office and make the store."""
        self.account_id = new_id(f"{self.owner or self.name}'s account")
        self.device_id = new_id(f"{self.name}'s device")
        self.kith = self.office.add(self.account_id, self.device_id)
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
        """End the process and begin another."""
        self.store.close()
        self.start()

    def send(self, other: "Machine", text: str) -> Entry:
        """Send a text to the owner of another device."""
        return self.messenger.send(other.account_id, text)

    def texts(self) -> list[str | None]:
        """Fetch what waits; return the texts that are new."""
        return [entry.text for entry in self.messenger.receive() if not entry.outgoing]

    def bundle(self) -> KeyBundle:
        """Take one of this device's bundles."""
        somebody = self.office.client("somebody", "else")
        (bundle,) = somebody.fetch_keys(self.account_id, device_id=self.device_id).devices
        return bundle

    def first(self, other: "Machine", text: bytes) -> bytes:
        """Begin a session with another device."""
        return self.sessions.initiate(other.account_id, other.bundle(), text)

    def say(self, other: "Machine", text: bytes) -> bytes:
        """Encrypt for another device."""
        return self.sessions.encrypt(other.account_id, other.device_id, text)

    def hear(self, other: "Machine", content: bytes) -> bytes | None:
        """Decrypt what came from another device."""
        opened = self.sessions.decrypt(other.account_id, other.device_id, content)
        return None if opened is None else opened.plaintext

    def lose(self, other: "Machine") -> None:
        """Lose all sessions with another device, as a backup that is restored does."""
        for model in (Peer, OldSessions):
            self.store.delete(model, f"{other.account_id}/{other.device_id}")

    def begin_anew(self, *, as_another: bool = True) -> None:
        """Go on with an empty store, and so with other keys: as another device of the account, or as
        the same one.
        """
        self.store.close()
        self.name += "'s next"
        self.office.keys.pop(self.device_id)
        if as_another:
            self.office.remove(self.account_id, self.device_id)
            self.device_id = new_id(f"{self.name}'s device")
            self.kith = self.office.add(self.account_id, self.device_id)
        self.start()
        self.messenger.prepare()
