"""The listener registry: notifies who listens for a mailbox, here or in another process, of what was stored.

A device has at most one listener of each kind, socket and long poll; a newer one replaces the older. A bus
connects the processes. Notifications may be lost; the mailbox poller (`mailbox_poller.py`) finds in the table
what they did not tell.
"""

import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from messaging.mailbox.schemas import MAX_WAIT_SECONDS
from messaging.message_types import CloseCode, Delivery, Signal
from messaging.notifications.listeners import (
    MAX_CLOCK_SKEW_SECONDS,
    TOKEN_PREFIX_BYTES,
    Listener,
    ListenerSlot,
)
from messaging.notifications.notifications import (
    CloseListeners,
    ListenerRegistered,
    MessagesAcknowledged,
    MessageStored,
    Notification,
)

#: Seconds for which a long poll elsewhere is notified after its registration; it waits no longer than this.
REMOTE_POLL_SECONDS = MAX_WAIT_SECONDS + 5.0


class Bus(Protocol):
    """Carries notifications between processes. Its methods are called often and must not block."""

    def listeners_changed(self, device_id: UUID) -> None:
        """Handle that a listener of a device was registered or removed here."""

    def publish(self, device_id: UUID, notification: Notification) -> None:
        """Notify the other processes; report an urgent message that none of them receives as offline."""

    def check_presence(self, device_id: UUID, on_result: Callable[[bool], None]) -> None:
        """Find out whether a device has a listener in another process."""


class ListenerRegistry:
    """Finds the listeners of a mailbox, here or through the bus."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sockets: dict[UUID, ListenerSlot] = {}
        self._polls: dict[UUID, ListenerSlot] = {}
        #: None: there are no other processes.
        self.bus: Bus | None = None
        #: Called with devices that have urgent messages and no listener; must not block.
        self.offline_handlers: list[Callable[[Sequence[UUID]], None]] = []

    @contextmanager
    def register(
        self,
        device_id: UUID,
        listener: Listener,
        token_hash: bytes | None = None,
        *,
        is_poll: bool = False,
    ) -> Iterator[None]:
        """Register a listener for the block, and close the one of its kind that it replaces.

        token_hash: of the token it authenticated with (`Caller.token_hash`); it is closed when that
        token is replaced.
        """
        prefix = None if token_hash is None else token_hash[:TOKEN_PREFIX_BYTES]
        now = self._clock().timestamp()
        slot = ListenerSlot(listener, prefix, secrets.token_bytes(8), now, is_poll)
        slots = self._polls if is_poll else self._sockets
        with self._lock:
            replaced = slots.get(device_id)
            slots[device_id] = slot
        if replaced is not None:
            replaced.listener.close(CloseCode.REPLACED)
        if self.bus is not None:
            self.bus.listeners_changed(device_id)
        try:
            yield
        finally:
            with self._lock:
                is_last = slots.get(device_id) is slot
                if is_last:
                    del slots[device_id]
            if is_last and self.bus is not None:
                self.bus.listeners_changed(device_id)

    def slots_of(self, device_id: UUID) -> Sequence[ListenerSlot]:
        """Return the slots of a device in this process: socket, long poll, both or none."""
        found = self._sockets.get(device_id), self._polls.get(device_id)
        return [slot for slot in found if slot is not None]

    def slots(self) -> dict[UUID, Sequence[ListenerSlot]]:
        """Return a copy of all slots of this process by device."""
        with self._lock:
            found: dict[UUID, Sequence[ListenerSlot]] = {
                device_id: (slot,) for device_id, slot in self._sockets.items()
            }
            for device_id, slot in self._polls.items():
                found[device_id] = (*found.get(device_id, ()), slot)
        return found

    def notify_stored(
        self, deliveries: Mapping[UUID, Sequence[Delivery]], urgent: Collection[UUID] = ()
    ) -> None:
        """Notify listeners of stored messages, after the commit.

        urgent: those of the devices that are reported as offline when they have no listener.
        """
        offline = []
        for device_id, of_device in deliveries.items():
            seq = of_device[-1].seq if of_device else 0
            socket, poll = self._sockets.get(device_id), self._polls.get(device_id)
            for slot in (socket, poll):
                if slot is not None:
                    slot.notified_seq = max(slot.notified_seq, seq)
                    slot.listener.on_stored(of_device)
            is_urgent = device_id in urgent and socket is None and poll is None
            # A device with a socket here has no other listener, unless a long poll waits elsewhere.
            may_be_elsewhere = socket is None or socket.remote_poll_until > time.monotonic()
            if self.bus is not None and may_be_elsewhere:
                self.bus.publish(device_id, MessageStored(seq, is_urgent))
            elif self.bus is None and is_urgent:
                offline.append(device_id)
        self.report_offline(offline)

    def report_offline(self, device_ids: Sequence[UUID]) -> None:
        """Pass devices that have urgent messages and no listener to the handlers."""
        if device_ids:
            for handle in self.offline_handlers:
                handle(device_ids)

    def check_presence(self, device_id: UUID, on_result: Callable[[bool], None]) -> None:
        """Find out whether a device has a listener, here or elsewhere.

        on_result: called with the answer, perhaps in another thread; must not block.
        """
        if self.slots_of(device_id):
            on_result(True)
        elif self.bus is None:
            on_result(False)
        else:
            self.bus.check_presence(device_id, on_result)

    def notify(self, device_id: UUID, notification: Notification) -> None:
        """Pass a notification to the open socket, here or elsewhere; drop it when there is none."""
        if (slot := self._sockets.get(device_id)) is not None:
            _deliver(slot, notification)
        elif self.bus is not None:
            self.bus.publish(device_id, notification)

    def close(self, device_id: UUID, code: CloseCode, unless_token: bytes | None = None) -> None:
        """Close the listeners of a device, here and elsewhere.

        unless_token: hash of the token whose listeners stay.
        """
        prefix = None if unless_token is None else unless_token[:TOKEN_PREFIX_BYTES]
        command = CloseListeners(code, prefix)
        for slot in self.slots_of(device_id):
            _deliver(slot, command)
        if self.bus is not None:
            self.bus.publish(device_id, command)

    def handle(self, device_id: UUID, notification: Notification) -> None:
        """Handle a notification from the bus, published by another process or by this one."""
        slots = self.slots_of(device_id)
        if isinstance(notification, ListenerRegistered):
            self._handle_registration(device_id, slots, notification)
            return
        if isinstance(notification, MessageStored) and notification.is_urgent and not slots:
            # Its listener left just now, and Valkey counted this process as a receiver.
            self.report_offline([device_id])
        # A bus that stood still delivers what it held when it goes on.
        if not isinstance(notification, Signal) or notification.expires_at > self._clock():
            for slot in slots:
                _deliver(slot, notification)

    def _handle_registration(
        self, device_id: UUID, slots: Sequence[ListenerSlot], other: ListenerRegistered
    ) -> None:
        """Compare a registered listener, which may be one of this process, with those here."""
        own = [slot for slot in slots if slot.id == other.id]
        for slot in own:
            slot.is_confirmed = True
        for slot in () if own else slots:
            if slot.is_poll and not other.is_poll:
                # The process of the socket has to know that this poll is to be notified too.
                self._republish(device_id, slot)
            elif other.is_poll and not slot.is_poll:
                slot.remote_poll_until = time.monotonic() + REMOTE_POLL_SECONDS
            elif slot.is_older_than(other):
                slot.listener.close(CloseCode.REPLACED)
            elif (
                other.is_repeat or slot.registered_at - other.registered_at > MAX_CLOCK_SKEW_SECONDS
            ):
                # The other one did not hear of this newer one.
                self._republish(device_id, slot)

    def _republish(self, device_id: UUID, slot: ListenerSlot) -> None:
        if self.bus is not None:
            self.bus.publish(device_id, slot.registration(is_repeat=True))


def _deliver(slot: ListenerSlot, notification: Notification) -> None:
    match notification:
        case MessageStored(seq=seq):
            # What it was notified of already, this process stored itself.
            if not seq or seq > slot.notified_seq:
                slot.notified_seq = max(slot.notified_seq, seq)
                slot.listener.on_stored(())
        case MessagesAcknowledged(through=through):
            slot.listener.on_acknowledged(through)
        case CloseListeners():
            if slot.has_other_token(notification.unless_token_prefix):
                slot.listener.close(notification.code)
        case Signal():
            slot.listener.on_signal(notification)
        case ListenerRegistered():
            pass
        case _:
            slot.listener.on_notice(notification)
