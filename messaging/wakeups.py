"""Wake-ups: who waits for a mailbox in this process hears at once that something was stored.

Owns the waiting requests. A wake-up is a hint, and the table the truth: what other processes store
is found by a slow poll. Refuses a second wait on one mailbox; the newer one ends the older.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID


class Waiter:
    """One waiting request."""

    def __init__(self) -> None:
        self._event = threading.Event()
        #: Whether a newer request waits in its place, so that this one should answer.
        self.replaced = False

    def clear(self) -> None:
        """Forget earlier wake-ups; what is looked for afterwards cannot be missed."""
        self._event.clear()

    def wake(self) -> None:
        """End the wait."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait for so long; say whether a wake-up came."""
        return self._event.wait(seconds)


class Wakeups:
    """Finds the waiter of a mailbox; at most one each, so dropped connections do not pile up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[UUID, Waiter] = {}

    @contextmanager
    def listen(self, device_id: UUID) -> Iterator[Waiter]:
        """Wait in this block, in the place of whoever waited for the mailbox before."""
        waiter = Waiter()
        with self._lock:
            older = self._waiters.get(device_id)
            self._waiters[device_id] = waiter
        if older is not None:
            older.replaced = True
            older.wake()
        try:
            yield waiter
        finally:
            with self._lock:
                if self._waiters.get(device_id) is waiter:
                    del self._waiters[device_id]

    def waiting(self) -> int:
        """Count the requests that wait."""
        with self._lock:
            return len(self._waiters)

    def notify(self, device_ids: Iterable[UUID]) -> None:
        """Tell that these mailboxes have something new; call it after the commit."""
        with self._lock:
            waiters = [self._waiters.get(device_id) for device_id in device_ids]
        for waiter in waiters:
            if waiter is not None:
                waiter.wake()
