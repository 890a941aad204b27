"""The mailbox poller: reads the table for all listeners of a process together, and finds what they missed.

It notifies listeners whose mailbox has more than they know, closes listeners whose device is gone or whose
token was replaced, and closes all of them when another database took over.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from sqlalchemy import bindparam, select, tuple_

from core.database import Database, table
from core.database_history import History, read_history
from messaging.mailbox.models import Mailbox
from messaging.message_types import CloseCode
from messaging.notifications.listeners import ListenerSlot
from messaging.notifications.registry import ListenerRegistry
from tokens.device_tokens import SEEN_RESOLUTION, mark_seen
from tokens.models import Device

log = structlog.get_logger()

#: Seconds between two polls.
INTERVAL_SECONDS = 2.0
#: Mailboxes in one statement.
BATCH_SIZE = 200

_MAILBOXES, _DEVICES = table(Mailbox).c, table(Device).c
SELECT_MAILBOXES = select(
    _MAILBOXES.device_id, _MAILBOXES.account_id, _MAILBOXES.last_seq, _MAILBOXES.acked_seq
).where(_MAILBOXES.device_id.in_(bindparam("device_ids", expanding=True)))
SELECT_TOKENS = select(
    _DEVICES.account_id, _DEVICES.id, _DEVICES.token_hash, _DEVICES.last_seen_at
).where(tuple_(_DEVICES.account_id, _DEVICES.id).in_(bindparam("ids", expanding=True)))


class _MailboxState(NamedTuple):
    """A device and its mailbox, as stored."""

    token_hash: bytes
    last_seq: int
    acked_seq: int


@dataclass(eq=False)
class MailboxPoller:
    """Polls every few seconds, and for single devices on request."""

    database: Database
    clock: Callable[[], datetime]
    registry: ListenerRegistry
    interval_seconds: float = INTERVAL_SECONDS
    batch_size: int = BATCH_SIZE
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _requested: set[UUID] = field(default_factory=set, init=False)
    _event: threading.Event = field(default_factory=threading.Event, init=False)
    _stopped: bool = field(default=False, init=False)
    _history: History | None = field(default=None, init=False)

    def request(self, device_id: UUID) -> None:
        """Have a device polled now, together with others that are requested at the same time."""
        with self._lock:
            self._requested.add(device_id)
        self._event.set()

    def start(self) -> None:
        """Poll in a background thread (a greenlet under gevent)."""
        self._thread = threading.Thread(target=self._run, name="mailbox poller", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the background thread after its current poll."""
        self._stopped = True
        self._event.set()
        self._thread.join()

    def _run(self) -> None:
        next_poll = time.monotonic() + self.interval_seconds
        while not self._stopped:
            self._event.wait(max(0.0, next_poll - time.monotonic()))
            self._event.clear()
            with self._lock:
                requested, self._requested = self._requested, set()
            is_due = time.monotonic() >= next_poll
            if is_due:
                next_poll = time.monotonic() + self.interval_seconds
            try:
                self.poll(None if is_due else requested)
            except Exception as error:
                # The thread must survive any error, or lost notifications are never made up for.
                log.error("mailbox_poller.failed", error=type(error).__name__)

    def poll(self, device_ids: Collection[UUID] | None = None) -> None:
        """Read the mailboxes of those of the devices that have listeners here; None: of all."""
        # Copied before the tables are read: a later listener may know more than was read.
        slots = self.registry.slots()
        if slots and device_ids is None and self._failed_over():
            for slot in chain.from_iterable(slots.values()):
                slot.listener.close(CloseCode.FAILED_OVER)
            return
        wanted = iter(slots if device_ids is None else [d for d in device_ids if d in slots])
        while batch := list(islice(wanted, self.batch_size)):
            found = self._read(batch)
            for device_id in batch:
                for slot in slots[device_id]:
                    _update(slot, found.get(device_id))
            # Requests are answered between two statements.
            time.sleep(0)

    def _failed_over(self) -> bool:
        """Return whether another database answers than at the last poll.

        It reuses numbers that listeners here saw for messages it never received. A listener that
        counted on from them would be notified of nothing.
        """
        with self.database.read() as connection:
            previous, self._history = self._history, read_history(connection)
        return previous is not None and previous != self._history

    def _read(self, device_ids: list[UUID]) -> Mapping[UUID, _MailboxState]:
        with self.database.read() as connection:
            boxes = connection.execute(SELECT_MAILBOXES, {"device_ids": device_ids}).all()
            ids = [(box.account_id, box.device_id) for box in boxes]
            devices = connection.execute(SELECT_TOKENS, {"ids": ids}).all()
        self._mark_seen(devices)
        tokens = {device.id: device.token_hash for device in devices}
        return {
            box.device_id: _MailboxState(tokens[box.device_id], box.last_seq, box.acked_seq)
            for box in boxes
            if box.device_id in tokens
        }

    def _mark_seen(self, devices: Sequence[Any]) -> None:
        """Record that devices which listen are in use, though they make no requests."""
        now = self.clock()
        stale = [
            (device.account_id, device.id)
            for device in devices
            if now - device.last_seen_at >= SEEN_RESOLUTION
        ]
        if stale:
            with self.database.write() as connection:
                mark_seen(connection, stale, now)


def _update(slot: ListenerSlot, state: _MailboxState | None) -> None:
    """Bring a listener up to date; None: its device is gone."""
    # Without a token hash the device is kept, but its tokens were revoked.
    if state is None or not state.token_hash:
        slot.listener.close(CloseCode.REVOKED)
    elif slot.token_prefix is not None and slot.has_other_token(state.token_hash):
        slot.listener.close(CloseCode.TOKEN_REPLACED)
    else:
        if state.acked_seq > slot.acked_seq:
            slot.acked_seq = state.acked_seq
            slot.listener.on_acknowledged(state.acked_seq)
        if state.last_seq > max(slot.notified_seq, state.acked_seq):
            slot.notified_seq = state.last_seq
            slot.listener.on_stored(())
