"""The publish queue: bounded, between callers that must not block and the thread that writes to the bus."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from messaging.notifications.notifications import MessageStored, Notification

#: Notifications of stored messages that wait, and as many of all others.
MAX_WAITING = 10_000


class Publication(NamedTuple):
    """A notification to be published."""

    device_id: UUID
    notification: Notification
    #: Called with whether any process received it; given where only that is asked.
    on_presence: Callable[[bool], None] | None = None

    @property
    def is_urgent(self) -> bool:
        """Whether its device is woken by push when no process receives it."""
        return isinstance(self.notification, MessageStored) and self.notification.is_urgent


class PublishQueue:
    """Takes notifications at any time and returns them in batches, with one `MessageStored` a device."""

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._stored: dict[UUID, MessageStored] = {}
        self._others: deque[Publication] = deque()

    def put(self, publication: Publication) -> bool:
        """Add a publication; return whether there was room for it."""
        device_id, notification, on_presence = publication
        with self._lock:
            if on_presence is not None or not isinstance(notification, MessageStored):
                if len(self._others) >= self._max_waiting:
                    return False
                self._others.append(publication)
                return True
            waiting = self._stored.get(device_id)
            if waiting is not None:
                seq = max(notification.seq, waiting.seq)
                notification = MessageStored(seq, notification.is_urgent or waiting.is_urgent)
            elif len(self._stored) >= self._max_waiting:
                return False
            self._stored[device_id] = notification
            return True

    def take(self, limit: int) -> Sequence[Publication]:
        """Remove and return at most `limit` publications."""
        with self._lock:
            taken = [self._others.popleft() for _ in range(min(limit, len(self._others)))]
            device_ids = list(islice(self._stored, limit - len(taken)))
            return taken + [Publication(one, self._stored.pop(one)) for one in device_ids]
