"""What this device knows of other accounts: names and numbers from address books, identity keys and
whether they are trusted, and the safety number.

Keys are trusted on first use. A key that appears later, of a new device or of one that started over, must
be accepted by the person first: a server that wants to read along would show such a key.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

import msgspec

from kith.messaging.store import Record, Store
from kith.sync import Match


class KnownDevice(msgspec.Struct, frozen=True):
    """A device of an account with its current keys; only `accepted` devices are written to."""

    device_id: str
    registration_id: int
    identity_key: bytes
    accepted: bool


class KnownAccount(Record, frozen=True):
    """What is known of an account.

    devices: by id. keyless: devices that had published no keys. settled: keys were trusted on first
    use, later ones are not. known_keys: every identity key that was ever accepted. verified: the
    keys that were compared by safety number, in order.
    """

    kind = "Person"
    account_id: str
    devices: dict[str, KnownDevice] = {}
    keyless: frozenset[str] = frozenset()
    settled: bool = False
    known_keys: frozenset[bytes] = frozenset()
    verified: tuple[bytes, ...] = ()

    @property
    def identity_keys(self) -> tuple[bytes, ...]:
        """The identity keys of all current devices, in order."""
        return tuple(sorted(device.identity_key for device in self.devices.values()))

    @property
    def unaccepted(self) -> list[str]:
        """The devices whose keys are not accepted."""
        return [device.device_id for device in self.devices.values() if not device.accepted]


@dataclass(frozen=True)
class KnownAccounts:
    """The identity keys of other accounts, and whether they are trusted."""

    _store: Store

    def get(self, account_id: str) -> KnownAccount:
        """Return what is known of an account."""
        return self._store.get(KnownAccount, account_id) or KnownAccount(account_id)

    def record_identity(
        self, account_id: str, device_id: str, registration_id: int, key: bytes
    ) -> KnownAccount:
        """Record the identity key of a device; return the account."""
        with self._store.transaction():
            person = self.get(account_id)
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

    def record_keyless(self, account_id: str, device_ids: Collection[str]) -> KnownAccount:
        """Record that devices of an account have published no keys."""
        with self._store.transaction():
            person = self.get(account_id)
            return self._save(person, keyless=person.keyless | frozenset(device_ids))

    def is_accepted(self, account_id: str, device_id: str, key: bytes) -> bool:
        """Return whether an identity key of a device is accepted."""
        device = self.get(account_id).devices.get(device_id)
        return device is not None and device.accepted and device.identity_key == key

    def pin_keys(self, account_id: str) -> KnownAccount:
        """End trust on first use for an account."""
        with self._store.transaction():
            person = self.get(account_id)
            return person if person.settled else self._save(person, settled=True)

    def remove_devices(self, account_id: str, device_ids: Collection[str]) -> KnownAccount:
        """Remove devices of an account."""
        with self._store.transaction():
            person = self.get(account_id)
            left = {
                device_id: device
                for device_id, device in person.devices.items()
                if device_id not in device_ids
            }
            return self._save(person, devices=left, keyless=person.keyless - frozenset(device_ids))

    def accept(self, account_id: str, *, verified: bool = False) -> KnownAccount:
        """Accept all current keys of an account; with `verified`, as compared."""
        with self._store.transaction():
            person = self.get(account_id)
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

    def _save(self, person: KnownAccount, **members: object) -> KnownAccount:
        changed = msgspec.structs.replace(person, **members)
        self._store.put(person.account_id, changed)
        return changed


class ContactName(Record, frozen=True):
    """An account, its number, and its names in address books; a lookup gives none."""

    kind = "Address"
    account_id: str
    phone_number: str
    names: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name to show."""
        return self.names[0] if self.names else self.phone_number


@dataclass(frozen=True)
class ContactNames:
    """The accounts that this device has names for."""

    _store: Store

    def add_matches(self, matches: Iterable[Match]) -> None:
        """Save the matches of an address book."""
        with self._store.transaction():
            for match in matches:
                self.add(match.account_id, match.phone_number, match.name)

    def add(self, account_id: str, phone_number: str, name: str = "") -> ContactName:
        """Save an account with its number, and with a name if it has one."""
        with self._store.transaction():
            known = self._store.get(ContactName, account_id)
            names = () if known is None else known.names
            if name and name not in names:
                names = (*names, name)
            address = ContactName(account_id, phone_number, names)
            if address != known:
                self._store.put(account_id, address)
            return address

    def label(self, account_id: str) -> str:
        """Return the name to show for an account, its id without one."""
        known = self._store.get(ContactName, account_id)
        return account_id if known is None else known.label

    def find_by_number(self, phone_number: str) -> ContactName | None:
        """Return the account that last had a number."""
        found = None
        for address in self._store.all(ContactName):
            found = address if address.phone_number == phone_number else found
        return found

    def find_by_name(self, name: str) -> list[ContactName]:
        """Return the accounts with that name, else those with a name that has all its words."""
        everybody = list(self._store.all(ContactName))
        wanted = name.casefold().split()
        exact = [one for one in everybody if any(_words(n) == wanted for n in one.names)]
        return exact or [
            one for one in everybody if any(set(wanted) <= set(_words(n)) for n in one.names)
        ]


def _words(name: str) -> list[str]:
    return name.casefold().split()


ITERATIONS = 5_200
_FINGERPRINT_VERSION = bytes(2)
_GROUPS, _GROUP_BYTES, _GROUP_DIGITS = 6, 5, 5


def safety_number(
    own_account_id: str,
    own_keys: Iterable[bytes],
    their_account_id: str,
    their_keys: Iterable[bytes],
) -> str:
    """Return twelve groups of five digits, the same on both sides unless somebody sits between
    them.

    Made as Signal makes it, with the identity keys of all devices of an account in place of one.
    """
    halves = sorted(
        (_fingerprint(own_account_id, own_keys), _fingerprint(their_account_id, their_keys))
    )
    digits = "".join(halves)
    return " ".join(
        digits[start : start + _GROUP_DIGITS] for start in range(0, len(digits), _GROUP_DIGITS)
    )


def _fingerprint(account_id: str, keys: Iterable[bytes]) -> str:
    joined = b"".join(sorted(set(keys)))
    digest = _FINGERPRINT_VERSION + joined + UUID(account_id).bytes
    # Every attempt to find keys with a similar number costs as many hashes.
    for _ in range(ITERATIONS):
        digest = hashlib.sha512(digest + joined).digest()
    groups = (
        int.from_bytes(digest[start : start + _GROUP_BYTES], "big") % 10**_GROUP_DIGITS
        for start in range(0, _GROUPS * _GROUP_BYTES, _GROUP_BYTES)
    )
    return "".join(f"{group:0{_GROUP_DIGITS}}" for group in groups)
