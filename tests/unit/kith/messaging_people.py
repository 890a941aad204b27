"""Own devices with stores for the tests of messaging."""

import uuid
from dataclasses import dataclass, field
from pathlib import Path

from kith import Kith
from kith.messaging.keys import OwnKeys
from kith.messaging.sessions import Sessions
from kith.messaging.store import Store
from kith.messaging.vault import Unlocking
from kith.key_models import KeyBundle
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

    def __post_init__(self) -> None:
        """Register at the office and make the store."""
        self.account_id = new_id(f"{self.owner or self.name}'s account")
        self.device_id = new_id(f"{self.name}'s device")
        self.kith = self.office.add(self.account_id, self.device_id)
        self.start()

    def start(self) -> None:
        """Open the store, as a new process does."""
        self.store = Store(
            self.directory / f"{self.name}.db", Unlocking(self.directory / f"{self.name}.key")
        )
        self.keys = OwnKeys(self.store, self.clock)
        self.sessions = Sessions(self.store, self.keys, self.account_id, self.device_id, self.clock)

    def bundle(self) -> KeyBundle:
        """Take one of this device's bundles."""
        (bundle,) = self.kith.take_keys(self.account_id, device_id=self.device_id).devices
        return bundle

    def first(self, other: "Machine", text: bytes) -> bytes:
        """Begin a session with another device."""
        return self.sessions.begin(other.account_id, other.bundle(), text)

    def say(self, other: "Machine", text: bytes) -> bytes:
        """Encrypt for another device."""
        return self.sessions.encrypt(other.account_id, other.device_id, text)

    def hear(self, other: "Machine", content: bytes) -> bytes | None:
        """Decrypt what came from another device."""
        return self.sessions.decrypt(other.account_id, other.device_id, content)
