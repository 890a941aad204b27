"""Own which devices a message is for: finding them, taking their keys, and refusing those whose
keys are not accepted.

Refuse to encrypt and to send; `kith.messaging.outbox` does.
"""

from collections.abc import Mapping
from typing import NamedTuple

from kith.api.keys import FetchedKeys, Identities, KeyBundle
from kith.client import Kith
from kith.messaging.people import People, Person
from kith.messaging.refusals import KeysChanged
from kith.messaging.sessions import Sessions
from kith.messaging.store import Store


class Own(NamedTuple):
    """Which device this is."""

    account_id: str
    device_id: str


class Addressed(NamedTuple):
    """The devices of a recipient, each with its account; of a group also which version they are of.

    bundles: keys that were met on the way, by device.
    """

    devices: dict[str, str]
    group_version: int
    bundles: dict[str, KeyBundle]


class Recipients:
    """Whom this device can write to."""

    def __init__(
        self, kith: Kith, store: Store, people: People, sessions: Sessions, own: Own
    ) -> None:
        """Look for nobody yet."""
        self._kith = kith
        self._store = store
        self._people = people
        self._sessions = sessions
        self._own = own

    def meet(self, account_id: str) -> Person:
        """Learn the keys of all devices that an account has now; raise KithError."""
        found = self._kith.identities(account_id)
        with self._store.transaction():
            person = self._note(account_id, found)
        there = {*(one.device_id for one in found.devices), *found.without_keys}
        gone = (person.devices.keys() | person.keyless) - there
        for device_id in gone:
            self._sessions.retire(account_id, device_id)
        return self._people.gone(account_id, gone)

    def of_account(self, account_id: str) -> Addressed:
        """Return the devices of an account, as far as they are known here."""
        bundles = dict[str, KeyBundle]()
        if account_id == self._own.account_id:
            # Asked each time: without another device nothing is sent, and nothing refused.
            devices = dict.fromkeys(self._kith.account_devices(account_id), account_id)
        else:
            if not self._people.of(account_id).settled:
                bundles = self.fetch(account_id)
            person = self._people.of(account_id)
            devices = dict.fromkeys((*person.devices, *person.keyless), account_id)
        devices.pop(self._own.device_id, None)
        return Addressed(devices, 0, bundles)

    def of_group(self, group_id: str) -> Addressed:
        """Return the devices of a group's members; nothing more is written under older keys."""
        group = self._kith.group_devices(group_id)
        for one in group.devices:
            self._sessions.began_anew(one.account_id, one.device_id, one.registration_id)
        devices = {one.device_id: one.account_id for one in group.devices}
        return Addressed(devices, group.version, {})

    def fetch(self, account_id: str, device_id: str | None = None) -> dict[str, KeyBundle]:
        """Take bundles of an account, and note whose keys they are."""
        found = self._kith.fetch_keys(account_id, device_id=device_id)
        with self._store.transaction():
            self._note(account_id, found)
        return {one.device_id: one for one in found.devices if one.device_id != self._own.device_id}

    def _note(self, account_id: str, found: FetchedKeys | Identities) -> Person:
        """Note whose keys devices have; return what is known of their account now."""
        for one in found.devices:
            if one.device_id != self._own.device_id:
                self._people.saw(account_id, one.device_id, one.registration_id, one.identity_key)
                self._sessions.began_anew(account_id, one.device_id, one.registration_id)
        without = [one for one in found.without_keys if one != self._own.device_id]
        if without:
            self._people.has_no_keys(account_id, without)
        return self._people.of(account_id)

    def refuse_new_keys(self, devices: Mapping[str, str]) -> None:
        """Raise KeysChanged when a device has keys that are not accepted."""
        for account_id in sorted(set(devices.values())):
            unaccepted = set(self._people.of(account_id).unaccepted) & devices.keys()
            if unaccepted:
                raise KeysChanged(account_id, sorted(unaccepted))
