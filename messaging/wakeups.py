"""Wake-ups: who listens for a mailbox hears at once that something was stored for it.

Owns the listeners of this process: open sockets and long polls, one a device. A wake-up is a hint, and the
table the truth: what a listener was not told it finds by a slow poll. Refuses a second listener for a
device; the newer one ends the older.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID

from messaging.letters import Closing, Delivery, Notice, Signal


class Listener(Protocol):
    """Who listens for the mailbox of a device. Its methods are called often, and must not wait."""

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Hear that something was stored: all of it in order, or nothing when another process stored it."""

    def receive(self, signal: Signal) -> None:
        """Take an ephemeral envelope."""

    def notice(self, notice: Notice) -> None:
        """Take a hint."""

    def close(self, why: Closing) -> None:
        """End, because this device is not to listen here any more."""


class Waiter:
    """A long poll, which only wants to know that something was stored."""

    def __init__(self) -> None:
        self._event = threading.Event()
        #: Whether it should answer now, with whatever there is.
        self.closed = False

    def clear(self) -> None:
        """Forget earlier wake-ups; what is looked for afterwards cannot be missed."""
        self._event.clear()

    def wait(self, seconds: float) -> bool:
        """Wait for so long; say whether a wake-up came."""
        return self._event.wait(seconds)

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """End the wait."""
        self._event.set()

    def receive(self, signal: Signal) -> None:
        """Let it go: signals are for sockets."""

    def notice(self, notice: Notice) -> None:
        """Let it go: hints are for sockets."""

    def close(self, why: Closing) -> None:
        """End the wait, and the request."""
        self.closed = True
        self._event.set()


class Wakeups:
    """Finds the listener of a mailbox."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[UUID, Listener] = {}
        #: Told of devices that should be woken and for which nobody listens; must not wait.
        self.unheard: list[Callable[[Sequence[UUID]], None]] = []

    @contextmanager
    def listening(self, device_id: UUID, listener: Listener) -> Iterator[None]:
        """Listen in this block, in the place of whoever listened for the mailbox before."""
        with self._lock:
            older = self._listeners.get(device_id)
            self._listeners[device_id] = listener
        if older is not None:
            older.close(Closing.REPLACED)
        try:
            yield
        finally:
            with self._lock:
                if self._listeners.get(device_id) is listener:
                    del self._listeners[device_id]

    def listeners(self) -> int:
        """Count who listens in this process."""
        with self._lock:
            return len(self._listeners)

    def stored(
        self, deliveries: Mapping[UUID, Sequence[Delivery]], urgent: Collection[UUID] = ()
    ) -> None:
        """Tell what was stored, after the commit.

        urgent: those of the devices that are woken in another way (`unheard`) when nobody listens.
        """
        unheard = []
        for device_id, of_device in deliveries.items():
            listener = self._listeners.get(device_id)
            if listener is not None:
                listener.wake(of_device)
            elif device_id in urgent:
                unheard.append(device_id)
        if unheard:
            for wake in self.unheard:
                wake(unheard)

    def signal(self, device_id: UUID, signal: Signal) -> None:
        """Pass an ephemeral envelope on to whoever listens; it is gone when nobody does."""
        listener = self._listeners.get(device_id)
        if listener is not None:
            listener.receive(signal)

    def notice(self, device_id: UUID, notice: Notice) -> None:
        """Pass a hint on to whoever listens."""
        listener = self._listeners.get(device_id)
        if listener is not None:
            listener.notice(notice)

    def close(self, device_id: UUID, why: Closing) -> None:
        """End whoever listens for a device."""
        listener = self._listeners.get(device_id)
        if listener is not None:
            listener.close(why)
