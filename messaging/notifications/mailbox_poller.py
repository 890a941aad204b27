"""The slow poll: what wake-ups did not tell is found by looking, for all listeners of a process together.

Owns the loop under the wake-ups. It wakes whose mailbox has more than she was told, and ends who may not
listen any more because her device is gone or her token was replaced, and everybody when another database took
over. Refuses to look for each by herself: thousands listen.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
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
from messaging.notifications.listeners import ListenerRegistry, ListenerSlot
from tokens.device_tokens import SEEN_RESOLUTION, mark_seen
from tokens.models import Device

log = structlog.get_logger()

#: Seconds between two looks.
INTERVAL = 2.0
#: Mailboxes a statement.
CHUNK = 200

_MAILBOXES, _DEVICES = table(Mailbox).c, table(Device).c
_LOOKING = select(
    _MAILBOXES.device_id, _MAILBOXES.account_id, _MAILBOXES.last_seq, _MAILBOXES.acked_seq
).where(_MAILBOXES.device_id.in_(bindparam("devices", expanding=True)))
_TOKENS = select(
    _DEVICES.account_id, _DEVICES.id, _DEVICES.token_hash, _DEVICES.last_seen_at
).where(tuple_(_DEVICES.account_id, _DEVICES.id).in_(bindparam("devices", expanding=True)))


class _Found(NamedTuple):
    """A device as the tables have it."""

    token_hash: bytes
    last_seq: int
    acked_seq: int


class MailboxPoller:
    """Looks for all listeners of a process, every few seconds and when it is asked to."""

    def __init__(
        self, database: Database, clock: Callable[[], datetime], wakeups: ListenerRegistry
    ) -> None:
        self._database = database
        self._clock = clock
        self._wakeups = wakeups
        self._lock = threading.Lock()
        self._soon: set[UUID] = set()
        self._asked = threading.Event()
        self._stopped = False
        self._history: History | None = None

    def look_soon(self, device_id: UUID) -> None:
        """Have a device looked for now, together with others that come at the same time."""
        with self._lock:
            self._soon.add(device_id)
        self._asked.set()

    def start(self) -> None:
        """Look in a background thread (a greenlet under gevent)."""
        self._thread = threading.Thread(target=self._run_for_ever, name="net", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the background thread after the look it is at."""
        self._stopped = True
        self._asked.set()
        self._thread.join()

    def _run_for_ever(self) -> None:
        next_look = time.monotonic() + INTERVAL
        while not self._stopped:
            self._asked.wait(max(0.0, next_look - time.monotonic()))
            asked_for: Collection[UUID] | None = self._taken()
            if time.monotonic() >= next_look:
                next_look, asked_for = time.monotonic() + INTERVAL, None
            try:
                self.look(asked_for)
            except Exception as error:
                # The thread must outlive whatever it was, or there is no net.
                log.error("net.failed", error=type(error).__name__)

    def _taken(self) -> set[UUID]:
        self._asked.clear()
        with self._lock:
            taken, self._soon = self._soon, set()
        return taken

    def look(self, device_ids: Collection[UUID] | None = None) -> None:
        """Look for those of the devices that somebody listens for here; None: for all of them."""
        # Taken before the tables are read: whoever comes later may know more than was read.
        seats = self._wakeups.seats()
        if seats and device_ids is None and self._failed_over():
            for seat in chain.from_iterable(seats.values()):
                seat.listener.close(CloseCode.FAILED_OVER)
            return
        wanted = iter(seats if device_ids is None else [d for d in device_ids if d in seats])
        while chunk := list(islice(wanted, CHUNK)):
            found = self._read(chunk)
            for device_id in chunk:
                for seat in seats[device_id]:
                    _judge(seat, found.get(device_id))
            # Requests are answered between two statements.
            time.sleep(0)

    def _failed_over(self) -> bool:
        """Say whether another database than at the last look answers.

        It gives out numbers again that were seen here for messages that it never received: a listener that
        goes on counting from those would be told of nothing.
        """
        with self._database.read() as connection:
            before, self._history = self._history, read_history(connection)
        return before is not None and before != self._history

    def _read(self, device_ids: list[UUID]) -> Mapping[UUID, _Found]:
        with self._database.read() as connection:
            boxes = connection.execute(_LOOKING, {"devices": device_ids}).all()
            keys = [(box.account_id, box.device_id) for box in boxes]
            devices = connection.execute(_TOKENS, {"devices": keys}).all()
        self._mark_seen(devices)
        tokens = {device.id: device.token_hash for device in devices}
        return {
            box.device_id: _Found(tokens[box.device_id], box.last_seq, box.acked_seq)
            for box in boxes
            if box.device_id in tokens
        }

    def _mark_seen(self, devices: Sequence[Any]) -> None:
        """Note that devices which listen are in use, though they make no requests."""
        now = self._clock()
        seen_long_ago = [
            (device.account_id, device.id)
            for device in devices
            if now - device.last_seen_at >= SEEN_RESOLUTION
        ]
        if seen_long_ago:
            with self._database.write() as connection:
                mark_seen(connection, seen_long_ago, now)


def _judge(seat: ListenerSlot, found: _Found | None) -> None:
    # Without a token hash the device is kept, but its tokens were revoked.
    if found is None or not found.token_hash:
        seat.listener.close(CloseCode.REVOKED)
    elif seat.token is not None and seat.holds_other_than(found.token_hash):
        seat.listener.close(CloseCode.TOKEN_REPLACED)
    else:
        if found.acked_seq > seat.acked:
            seat.acked = found.acked_seq
            seat.listener.acknowledged(found.acked_seq)
        if found.last_seq > max(seat.told, found.acked_seq):
            seat.told = found.last_seq
            seat.listener.wake(())
