"""Own which identity keys this device has seen of whom, and which of them are good to write to.

The keys that an account has when it is first written to are taken on trust. A key that shows up
later, of a new device or of one that began anew, is not written to before the person has accepted
it: it is also what a server would show that wants to read along. Refuse to know names.
"""

from collections.abc import Collection

import msgspec

from kith.messaging.store import Store


class KnownDevice(msgspec.Struct, frozen=True):
    """A device of an account by the keys it has now; `accepted` lets this device write to it."""

    device_id: str
    registration_id: int
    identity_key: bytes
    accepted: bool


class Person(msgspec.Struct, frozen=True):
    """What is known of an account.

    devices: by id. keyless: devices that had published no keys. settled: its keys were taken on
    trust, no others are. known_keys: every identity key that was accepted once. verified: those
    that were compared by safety number, in order.
    """

    account_id: str
    devices: dict[str, KnownDevice] = {}
    keyless: frozenset[str] = frozenset()
    settled: bool = False
    known_keys: frozenset[bytes] = frozenset()
    verified: tuple[bytes, ...] = ()

    @property
    def identity_keys(self) -> tuple[bytes, ...]:
        """The identity keys of all devices that are there now, in order."""
        return tuple(sorted(device.identity_key for device in self.devices.values()))

    @property
    def unaccepted(self) -> list[str]:
        """The devices that this device does not write to yet."""
        return [device.device_id for device in self.devices.values() if not device.accepted]


class People:
    """The accounts that this device has met."""

    def __init__(self, store: Store) -> None:
        """Read nothing yet."""
        self._store = store

    def of(self, account_id: str) -> Person:
        """Return what is known of an account."""
        return self._store.get(Person, account_id) or Person(account_id)

    def saw(self, account_id: str, device_id: str, registration_id: int, key: bytes) -> Person:
        """Note the identity key of a device; return what is known of its account now."""
        with self._store.transaction():
            person = self.of(account_id)
            known = person.known_keys if person.settled else person.known_keys | {key}
            device = KnownDevice(device_id, registration_id, key, key in known)
            if person.devices.get(device_id) == device:
                return person
            return self._save(
                person,
                devices={**person.devices, device_id: device},
                keyless=person.keyless - {device_id},
                known_keys=known,
            )

    def has_no_keys(self, account_id: str, device_ids: Collection[str]) -> Person:
        """Note that devices of an account have published no keys."""
        with self._store.transaction():
            person = self.of(account_id)
            return self._save(person, keyless=person.keyless | frozenset(device_ids))

    def accepts(self, account_id: str, device_id: str, key: bytes) -> bool:
        """Return whether a device may be written to under an identity key."""
        device = self.of(account_id).devices.get(device_id)
        return device is not None and device.accepted and device.identity_key == key

    def settle(self, account_id: str) -> Person:
        """Take no more keys of an account on trust."""
        with self._store.transaction():
            person = self.of(account_id)
            return person if person.settled else self._save(person, settled=True)

    def gone(self, account_id: str, device_ids: Collection[str]) -> Person:
        """Note that an account has devices no more."""
        with self._store.transaction():
            person = self.of(account_id)
            left = {
                device_id: device
                for device_id, device in person.devices.items()
                if device_id not in device_ids
            }
            return self._save(person, devices=left, keyless=person.keyless - frozenset(device_ids))

    def accept(self, account_id: str, *, verified: bool = False) -> Person:
        """Accept all keys that an account has now; with `verified`, as compared."""
        with self._store.transaction():
            person = self.of(account_id)
            return self._save(
                person,
                devices={
                    device_id: msgspec.structs.replace(device, accepted=True)
                    for device_id, device in person.devices.items()
                },
                settled=True,
                known_keys=person.known_keys | frozenset(person.identity_keys),
                verified=person.identity_keys if verified else person.verified,
            )

    def _save(self, person: Person, **members: object) -> Person:
        changed = msgspec.structs.replace(person, **members)
        self._store.put(person.account_id, changed)
        return changed
