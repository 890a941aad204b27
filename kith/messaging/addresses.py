"""Own the names by which a person calls the accounts she has found, sealed like everything else.

They come from address books that were synced. Refuse to guess: who fits a name in several ways is
returned as several.
"""

from collections.abc import Iterable

import msgspec

from kith.messaging.store import Store
from kith.sync import Match


class Address(msgspec.Struct, frozen=True):
    """An account, its number, and the names it has in address books; of a lookup, none."""

    account_id: str
    phone_number: str
    names: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What to call it."""
        return self.names[0] if self.names else self.phone_number


class Addresses:
    """The accounts that this device can name."""

    def __init__(self, store: Store) -> None:
        """Read nothing yet."""
        self._store = store

    def note(self, matches: Iterable[Match]) -> None:
        """Keep who was found in an address book."""
        with self._store.transaction():
            for match in matches:
                self.add(match.account_id, match.phone_number, match.name)

    def add(self, account_id: str, phone_number: str, name: str = "") -> Address:
        """Keep an account with its number, and with a name where it has one."""
        with self._store.transaction():
            known = self._store.get(Address, account_id)
            names = () if known is None else known.names
            if name and name not in names:
                names = (*names, name)
            address = Address(account_id, phone_number, names)
            if address != known:
                self._store.put(account_id, address)
            return address

    def label(self, account_id: str) -> str:
        """Return what to call an account; its id where there is nothing better."""
        known = self._store.get(Address, account_id)
        return account_id if known is None else known.label

    def of_number(self, phone_number: str) -> Address | None:
        """Return the account that had a number when it was found last."""
        found = None
        for address in self._store.all(Address):
            found = address if address.phone_number == phone_number else found
        return found

    def named(self, name: str) -> list[Address]:
        """Return the accounts of that name, else those with a name that has its words."""
        everybody = list(self._store.all(Address))
        wanted = name.casefold().split()
        exact = [one for one in everybody if any(_words(n) == wanted for n in one.names)]
        return exact or [
            one for one in everybody if any(set(wanted) <= set(_words(n)) for n in one.names)
        ]


def _words(name: str) -> list[str]:
    return name.casefold().split()
