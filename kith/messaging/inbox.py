"""Incoming messages: decrypt, store, and queue receipts.

A page is one transaction: the texts, the ratchet states and the position in the mailbox are on disk
together before anything is acknowledged. The server is not trusted about senders: a message that the
sender's keys do not authenticate is shown as unreadable.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from kith.messaging import formats
from kith.messaging.accounts import KnownAccounts
from kith.messaging.formats import (
    MAX_RECEIPTS,
    PayloadUnreadable,
    Receipt,
    SessionRefresh,
    Text,
    Transcript,
    id_text,
)
from kith.messaging.history import Entry, History
from kith.messaging.outbox import Outbox
from kith.messaging.ratchet import NotDecrypted
from kith.messaging.recipients import ThisDevice
from kith.messaging.sessions import DecryptedMessage, MessageIgnored, Sessions
from kith.messaging.store import Record, Store
from kith.models import Message, Missed

REFRESH_INTERVAL_SECONDS = 3_600
MARKER_RETENTION_SECONDS = 31 * 86_400  # a message waits for at most 30 days


class ProcessedMessage(Record, frozen=True):
    """A processed message, for as long as it may be delivered again."""

    kind = "Taken"


class SentRefresh(Record, frozen=True):
    """A session refresh was sent to a device recently."""

    kind = "Refreshed"


class Gap(Record, frozen=True):
    """Messages since a time, in Unix milliseconds, that the server did not keep for this device.

    through: the number that distinguishes it from an earlier gap.
    """

    kind = "Gap"
    since: int
    through: int
    shown: bool = False


@dataclass(frozen=True)
class Inbox:
    """The received messages of this device."""

    _store: Store
    _accounts: KnownAccounts
    _history: History
    _sessions: Sessions
    _outbox: Outbox
    _own: ThisDevice
    _clock: Callable[[], float]

    def process(self, messages: Iterable[Message]) -> list[Entry]:
        """Save messages; return new texts and own texts with a new state.

        Processed messages are skipped, so that a message may be delivered twice.
        """
        with self._store.transaction():
            changed, received = list[Entry](), defaultdict[str, list[bytes]](list)
            until = int(self._clock()) + MARKER_RETENTION_SECONDS
            for message in messages:
                if self._store.get(ProcessedMessage, message.id) is not None:
                    continue
                self._store.put(message.id, ProcessedMessage(), expires_at=until)
                for entry in self._read(message):
                    changed.append(entry)
                    if entry.confirmable and not entry.new_keys:
                        received[entry.with_account].append(bytes.fromhex(entry.id))
            for account_id, ids in received.items():
                self.queue_receipts(account_id, ids, "delivered")
            return changed

    def record_gap(self, missed: Missed) -> None:
        """Record that the server did not keep messages; a repetition changes nothing."""
        with self._store.transaction():
            known = self._store.get(Gap, "")
            if known is None or missed.through > known.through:
                since = _milliseconds(missed.since)
                if known is not None and not known.shown:
                    since = min(since, known.since)
                self._store.put("", Gap(since, missed.through))

    def gap(self) -> Gap | None:
        """Return the gap that was not shown yet."""
        gap = self._store.get(Gap, "")
        return None if gap is None or gap.shown else gap

    def mark_gap_shown(self, gap: Gap) -> None:
        """Record that a gap was shown, unless it has grown since."""
        with self._store.transaction():
            if self._store.get(Gap, "") == gap:
                self._store.put("", msgspec.structs.replace(gap, shown=True))

    def queue_receipts(self, account_id: str, ids: list[bytes], state: formats.State) -> None:
        """Queue receipts for texts of an account."""
        if account_id == self._own.account_id:
            return
        for start in range(0, len(ids), MAX_RECEIPTS):
            self._outbox.queue(account_id, Receipt(state, ids[start : start + MAX_RECEIPTS]))

    def _read(self, message: Message) -> Iterable[Entry]:
        sender, device = message.from_account_id, message.from_device_id
        try:
            opened = self._sessions.decrypt(sender, device, message.content)
            if opened is None:
                return self._add_unreadable(message)
            new_keys = self._record_keys(sender, device, opened)
            payload = formats.decode_payload(opened.plaintext)
        except MessageIgnored:
            return ()
        except NotDecrypted:
            self._refresh(message)
            return self._add_unreadable(message)
        except PayloadUnreadable:
            return self._add_unreadable(message)
        match payload:
            case Text():
                return self._add_text(message, payload, new_keys=new_keys)
            case Transcript() if sender == self._own.account_id and not new_keys:
                return self._add_transcript(payload)
            case Receipt() if not new_keys:
                return self._apply_receipt(sender, payload)
            case Transcript() | Receipt() | SessionRefresh() | None:
                return ()

    def _record_keys(self, account_id: str, device_id: str, opened: DecryptedMessage) -> bool:
        """Record the sender's keys; return whether they are not accepted.

        Those of an old session are not recorded: its device may be gone, or have others now.
        """
        key = opened.identity_key
        if opened.old:
            return key not in self._accounts.get(account_id).known_keys
        person = self._accounts.record_identity(account_id, device_id, opened.registration_id, key)
        return not person.devices[device_id].accepted

    def _add_text(self, message: Message, text: Text, *, new_keys: bool) -> Iterable[Entry]:
        group_id = None if message.group is None else message.group.id
        # The server authenticates the members of a group, the sender which group it is.
        if group_id != (None if text.group is None else id_text(text.group)):
            return self._add_unreadable(message)
        outgoing = message.from_account_id == self._own.account_id and group_id is not None
        return self._add(
            Entry(
                id=text.id.hex(),
                with_account=message.from_account_id,
                group_id=group_id,
                from_account_id=message.from_account_id,
                outgoing=outgoing,
                text=text.text,
                sent_at=text.sent_at,
                request=bool(message.request),
                new_keys=new_keys,
                unread=not outgoing,
            )
        )

    def _add_transcript(self, transcript: Transcript) -> Iterable[Entry]:
        text = transcript.text
        return self._add(
            Entry(
                id=text.id.hex(),
                with_account=id_text(transcript.to),
                group_id=None,
                from_account_id=self._own.account_id,
                outgoing=True,
                text=text.text,
                sent_at=text.sent_at,
            )
        )

    def _apply_receipt(self, account_id: str, receipt: Receipt) -> Iterable[Entry]:
        changed = []
        for raw in receipt.ids:
            entry = self._history.get(self._own.account_id, raw.hex())
            if entry is not None and entry.with_account == account_id:
                further = self._history.advance(entry, receipt.state)
                changed += [] if further is None else [further]
        return changed

    def _add_unreadable(self, message: Message) -> Iterable[Entry]:
        return self._add(
            Entry(
                id=message.id,
                with_account=message.from_account_id,
                group_id=None if message.group is None else message.group.id,
                from_account_id=message.from_account_id,
                outgoing=False,
                text=None,
                sent_at=_milliseconds(message.sent_at),
                request=bool(message.request),
                unread=True,
            )
        )

    def _add(self, entry: Entry) -> Iterable[Entry]:
        if self._history.get(entry.from_account_id, entry.id) is not None:
            return ()
        self._history.add(entry)
        return (entry,)

    def _refresh(self, message: Message) -> None:
        """Start a new session with a device whose messages cannot be read, at most once an hour.

        Nobody is answered who is not accepted: strangers must not learn that this account is in
        use.
        """
        account_id, name = (
            message.from_account_id,
            f"{message.from_account_id}/{message.from_device_id}",
        )
        if message.request or self._store.get(SentRefresh, name) is not None:
            return
        if not self._accounts.get(account_id).settled:
            return
        self._store.put(
            name, SentRefresh(), expires_at=int(self._clock()) + REFRESH_INTERVAL_SECONDS
        )
        self._sessions.retire(account_id, message.from_device_id)
        self._outbox.queue(account_id, SessionRefresh())


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000)
