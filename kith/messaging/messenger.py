"""The messenger: send texts, receive messages, follow delivery states.

One object for one device and its store; several threads and processes may share a store.
"""

import contextlib
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from kith.client import Kith
from kith.errors import KithProblem, KithUnreachable
from kith.messaging.accounts import KnownAccount, KnownAccounts, safety_number
from kith.messaging.formats import ID_BYTES, MAX_TEXT_BYTES
from kith.messaging.history import Entry, History
from kith.messaging.inbox import Gap, Inbox
from kith.messaging.keys import OwnKeys
from kith.messaging.outbox import Outbox
from kith.messaging.recipients import KeysChanged, NotSent, Recipients, ThisDevice
from kith.messaging.sessions import Sessions
from kith.messaging.store import Store
from kith.models import Message, Missed

PAGE_SIZE = 100
MAX_KEY_CHANGES = (
    5  # of one text: members of a group may change keys, a hostile server may do it forever
)


class TextInvalid(ValueError):
    """A text is empty, or too long for one message."""


class Messenger:
    """Sends and receives the texts of one device, end-to-end encrypted and kept in its store."""

    def __init__(
        self,
        kith: Kith,
        store: Store,
        account_id: str,
        device_id: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the device's client and store; clock: Unix seconds."""
        self._kith = kith
        self._store = store
        self._clock = clock
        #: Called with each queued text that was then sent or refused.
        self.on_queued_result: Callable[[Entry], None] = lambda _: None
        # One thread sends at a time, or a newer text would overtake an older one.
        self._sending = threading.RLock()
        self._own = ThisDevice(account_id, device_id)
        self.keys = OwnKeys(store, clock)
        self.accounts = KnownAccounts(store)
        self.history = History(store)
        sessions = Sessions(store, self.keys, account_id, device_id, clock)
        self._recipients = Recipients(kith, store, self.accounts, sessions, self._own)
        self._outbox = Outbox(
            kith, store, self.accounts, sessions, self.history, self._recipients, self._own, clock
        )
        self._inbox = Inbox(
            store, self.accounts, self.history, sessions, self._outbox, self._own, clock
        )

    def prepare(self) -> None:
        """Publish due keys, delete expired records, send what still waits; raise KithError."""
        self._store.delete_expired(int(self._clock()))
        self._outbox.expire()
        self.keys.maintain(self._kith)
        if not self.accounts.get(self._own.account_id).settled:
            # The current other devices are trusted; later ones must be accepted.
            self.fetch_identities(self._own.account_id)
            self.accounts.pin_keys(self._own.account_id)
        self.flush()

    def send(
        self, to: str, text: str, *, is_group: bool = False, accept_new_keys: bool = False
    ) -> Entry:
        """Send a text to every device of an account, or of a group's members; return its entry.

        Raise TextInvalid; KeysChanged before anything is sent, unless `accept_new_keys`;
        NoRecipientDevices; KithProblem when the server refuses it; KithUnreachable when no answer
        came: the text is kept, and `flush` sends it. Texts that wait for the same recipient go out
        first; while they cannot, this one waits as well.
        """
        _check(text)
        entry = Entry(
            id=secrets.token_hex(ID_BYTES),
            with_account=self._own.account_id if is_group else to,
            group_id=to if is_group else None,
            from_account_id=self._own.account_id,
            outgoing=True,
            text=text,
            sent_at=int(self._clock() * 1_000),
            state="waiting",
        )
        with self._sending:
            for tries_left in reversed(range(MAX_KEY_CHANGES)):
                try:
                    self._deliver_in_order(self._outbox.queue_text(entry))
                    break
                except KeysChanged as changed:
                    if not accept_new_keys or not tries_left:
                        self.history.remove(entry)
                        raise
                    self.accounts.accept(changed.account_id)
            self.flush_if_possible()
        return self.history.get(self._own.account_id, entry.id) or entry

    def receive(self, wait: int = 0) -> list[Entry]:
        """Fetch and save what waits, and queue receipts; wait up to `wait` seconds (0 to 60) for a
        first message.

        Return new texts and own texts with a new state. Raise KithError; what was saved until then
        is in `history.unread`.
        """
        changed: list[Entry] = []
        more = True
        while more:
            page = self._kith.fetch_messages(limit=PAGE_SIZE, wait=0 if changed else wait)
            more = page.more and bool(page.messages)
            changed += self.process(page.messages)
            through = page.messages[-1].seq if page.messages else 0
            if page.missed is not None:
                self.record_gap(page.missed)
                if not page.more:
                    # All messages before it were in these pages.
                    through = max(through, page.missed.through)
            if through:
                self._kith.acknowledge(through)
        self.flush_if_possible()
        return changed

    def process(self, messages: Sequence[Message]) -> list[Entry]:
        """Save messages that arrived in another way; acknowledge them afterwards."""
        return self._inbox.process(messages)

    def record_gap(self, missed: Missed) -> None:
        """Record that the server did not keep messages for this device."""
        self._inbox.record_gap(missed)

    def gap(self) -> Gap | None:
        """Return since when messages are missing, until `mark_gap_shown`."""
        return self._inbox.gap()

    def mark_gap_shown(self, gap: Gap) -> None:
        """Record that the person was told of a gap."""
        self._inbox.mark_gap_shown(gap)

    def publish_keys(self) -> None:
        """Publish new one-time keys, as the server has announced that few are left; raise
        KithError.
        """
        self.keys.maintain(self._kith, few=True)

    def flush(self) -> None:
        """Send the queued texts and receipts; raise KithUnreachable.

        What the server refuses is dropped; a text then has the state "failed".
        """
        tried: set[str] = set()
        stays = False
        with self._sending:
            while waiting := [one for one in self._outbox.queued() if one not in tried]:
                for client_id in waiting:
                    tried.add(client_id)
                    if stays and self._outbox.queued_before(client_id):
                        continue  # or it would overtake a text that the server could not store
                    try:
                        self._deliver_queued(client_id)
                    except KithProblem as problem:
                        stays = stays or problem.status >= 500

    def flush_if_possible(self) -> None:
        """Send the queue as `flush` does; without an answer it waits."""
        with contextlib.suppress(KithUnreachable):
            self.flush()

    def _deliver_in_order(self, client_id: str) -> None:
        for earlier in self._outbox.queued_before(client_id):
            try:
                self._deliver_queued(earlier)
            except KithProblem as problem:
                if problem.status >= 500:
                    raise  # it is still queued, and a newer one must not overtake it
        self._outbox.deliver(client_id)

    def _deliver_queued(self, client_id: str) -> None:
        """Send a queued message and report a text's result; raise KithError."""
        text = self._outbox.text(client_id)
        try:
            with contextlib.suppress(NotSent):
                self._outbox.deliver(client_id)
        finally:
            now = text and self.history.get(self._own.account_id, text.id)
            if text and now and now.state != text.state and now.state in ("sent", "failed"):
                self.on_queued_result(now)

    def mark_shown(self, entries: Iterable[Entry], *, send_receipts: bool = False) -> None:
        """Record that texts were shown to the person; with `tell`, send read receipts."""
        read = defaultdict[str, list[bytes]](list)
        for entry in entries:
            if entry.confirmable:
                read[entry.with_account].append(bytes.fromhex(entry.id))
        self.history.mark_shown(entries)
        for account_id, ids in read.items() if send_receipts else ():
            self._inbox.queue_receipts(account_id, ids, "read")

    def fetch_identities(self, account_id: str) -> KnownAccount:
        """Fetch the identity keys of all current devices of an account; raise KithError."""
        return self._recipients.fetch_identities(account_id)

    def safety_number(self, account_id: str) -> str:
        """Return the safety number of this account and another; call `fetch_identities` for both
        before.
        """
        own = (
            self.keys.identity().public_key,
            *self.accounts.get(self._own.account_id).identity_keys,
        )
        theirs = self.accounts.get(account_id).identity_keys
        return safety_number(self._own.account_id, own, account_id, theirs)


def _check(text: str) -> None:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise TextInvalid("The text is not UTF-8.") from None
    if not text.strip() or size > MAX_TEXT_BYTES:
        raise TextInvalid(f"A text has 1 to {MAX_TEXT_BYTES:,} bytes.")
