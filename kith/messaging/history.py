"""The messages that this device keeps: texts, their senders and their delivery states; the newest 10,000."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

from kith.messaging.store import Record, Store

MAX_ENTRIES = 10_000

State = Literal["waiting", "failed", "sent", "delivered", "read"]
_ORDER: tuple[State, ...] = ("waiting", "failed", "sent", "delivered", "read")


class Entry(Record, frozen=True):
    """A text as this device knows it.

    id: its sender's, 32 hex digits. with_account: the other side, or the sender of a message to the
    group `group_id`. text: None when it could not be read. sent_at: Unix milliseconds. state: of
    own texts. request: this account has not accepted the sender. new_keys: the keys of the sender's
    device are not accepted.
    """

    kind = "Entry"
    id: str
    with_account: str
    group_id: str | None
    from_account_id: str
    outgoing: bool
    text: str | None
    sent_at: int
    state: State = "sent"
    request: bool = False
    new_keys: bool = False
    unread: bool = False

    @property
    def conversation(self) -> str:
        """The group, or else the other account, of the conversation."""
        return self.group_id or self.with_account

    @property
    def confirmable(self) -> bool:
        """Whether its sender gets receipts: not in requests, and not in groups."""
        return not (self.outgoing or self.group_id or self.request or self.text is None)


@dataclass(frozen=True)
class History:
    """The entries of a store."""

    _store: Store

    def get(self, from_account_id: str, entry_id: str) -> Entry | None:
        """Return the text that an account sent under an id."""
        return self._store.get(Entry, _name(from_account_id, entry_id))

    def add(self, entry: Entry) -> None:
        """Save a text, or its new state."""
        with self._store.transaction():
            self._store.put(_name(entry.from_account_id, entry.id), entry)
            self._store.keep_newest(Entry, MAX_ENTRIES)

    def remove(self, entry: Entry) -> None:
        """Delete a text."""
        self._store.delete(Entry, _name(entry.from_account_id, entry.id))

    def advance(self, entry: Entry, state: State) -> Entry | None:
        """Save the new state of an own text; return None when it had reached it already."""
        if _ORDER.index(state) <= _ORDER.index(entry.state):
            return None
        changed = msgspec.structs.replace(entry, state=state)
        self.add(changed)
        return changed

    def unread(self) -> list[Entry]:
        """Return the texts that were not shown yet, in the order of arrival."""
        return [entry for entry in self._store.all(Entry) if entry.unread]

    def newest(self, conversation: str, most: int) -> list[Entry]:
        """Return the last texts of the conversation with an account or group."""
        found = [one for one in self._store.all(Entry) if one.conversation == conversation]
        return found[-most:]

    def mark_shown(self, entries: Iterable[Entry]) -> None:
        """Record that texts were shown."""
        with self._store.transaction():
            for entry in entries:
                self.add(msgspec.structs.replace(entry, unread=False))


def _name(from_account_id: str, entry_id: str) -> str:
    return f"{from_account_id}/{entry_id}"
