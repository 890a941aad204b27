"""The devices that a message is for: list them, fetch their keys, and refuse keys that are not accepted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kith.api.keys import FetchedKeys, Identities, KeyBundle
from kith.client import Kith
from kith.messaging.accounts import KnownAccount, KnownAccounts
from kith.messaging.sessions import Sessions
from kith.messaging.store import Store


class NotSent(Exception):
    """The message was not sent, because this device refuses to."""


class KeysChanged(NotSent):
    """An account has identity keys that are not accepted."""

    def __init__(self, account_id: str, device_ids: Sequence[str]) -> None:
        """Take the account and the devices with new keys."""
        super().__init__("There are devices whose keys are not accepted.")
        self.account_id = account_id
        self.device_ids = device_ids


class KeysInvalid(NotSent):
    """The published keys of a device are unsigned or weak."""


class NoRecipientDevices(NotSent):
    """No device of the recipient has keys."""


class ThisDevice(NamedTuple):
    """The ids of this device."""

    account_id: str
    device_id: str


class RecipientDevices(NamedTuple):
    """The devices of a recipient with their accounts, and the version of a group.

    bundles: keys that were fetched on the way, by device.
    """

    devices: dict[str, str]
    group_version: int
    bundles: dict[str, KeyBundle]


@dataclass(frozen=True)
class Recipients:
    """The devices that this device can write to."""

    _kith: Kith
    _store: Store
    _accounts: KnownAccounts
    _sessions: Sessions
    _own: ThisDevice

    def fetch_identities(self, account_id: str) -> KnownAccount:
        """Fetch the identity keys of all current devices of an account; raise KithError."""
        found = self._kith.identities(account_id)
        with self._store.transaction():
            person = self._note(account_id, found)
        there = {*(one.device_id for one in found.devices), *found.without_keys}
        gone = (person.devices.keys() | person.keyless) - there
        for device_id in gone:
            self._sessions.retire(account_id, device_id)
        return self._accounts.remove_devices(account_id, gone)

    def for_account(self, account_id: str) -> RecipientDevices:
        """Return the known devices of an account."""
        bundles = dict[str, KeyBundle]()
        if account_id == self._own.account_id:
            # Fetched each time: without another device there is nothing to send.
            devices = dict.fromkeys(self._kith.account_devices(account_id), account_id)
        else:
            if not self._accounts.get(account_id).settled:
                bundles = self.fetch(account_id)
            person = self._accounts.get(account_id)
            devices = dict.fromkeys((*person.devices, *person.keyless), account_id)
        devices.pop(self._own.device_id, None)
        return RecipientDevices(devices, 0, bundles)

    def for_group(self, group_id: str) -> RecipientDevices:
        """Return the devices of a group's members; sessions with older keys are retired."""
        group = self._kith.group_devices(group_id)
        for one in group.devices:
            self._sessions.retire_outdated(one.account_id, one.device_id, one.registration_id)
        devices = {one.device_id: one.account_id for one in group.devices}
        return RecipientDevices(devices, group.version, {})

    def fetch(self, account_id: str, device_id: str | None = None) -> dict[str, KeyBundle]:
        """Fetch bundles of an account, and record their identity keys."""
        found = self._kith.fetch_keys(account_id, device_id=device_id)
        with self._store.transaction():
            self._note(account_id, found)
        return {one.device_id: one for one in found.devices if one.device_id != self._own.device_id}

    def _note(self, account_id: str, found: FetchedKeys | Identities) -> KnownAccount:
        """Record the keys of devices; return their account."""
        for one in found.devices:
            if one.device_id != self._own.device_id:
                self._accounts.record_identity(
                    account_id, one.device_id, one.registration_id, one.identity_key
                )
                self._sessions.retire_outdated(account_id, one.device_id, one.registration_id)
        without = [one for one in found.without_keys if one != self._own.device_id]
        if without:
            self._accounts.record_keyless(account_id, without)
        return self._accounts.get(account_id)

    def require_accepted_keys(self, devices: Mapping[str, str]) -> None:
        """Raise KeysChanged when a device has keys that are not accepted."""
        for account_id in sorted(set(devices.values())):
            unaccepted = set(self._accounts.get(account_id).unaccepted) & devices.keys()
            if unaccepted:
                raise KeysChanged(account_id, sorted(unaccepted))
