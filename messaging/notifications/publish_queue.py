"""What waits to be published: bounded, and at most one `Stored` a device.

Owns the queue between those who must not wait and the one who speaks to the bus. Refuses what is too much.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from messaging.notifications.notifications import Hint, Stored

#: Hints that wait: of stored messages, and of all others.
MAX_WAITING = 10_000


class Publication(NamedTuple):
    """A hint on its way."""

    device_id: UUID
    hint: Hint
    #: Told whether anybody heard it, by who asks just that.
    heard: Callable[[bool], None] | None = None

    @property
    def is_urgent(self) -> bool:
        """Whether the device is woken in another way when nobody hears it."""
        return isinstance(self.hint, Stored) and self.hint.urgent


class PublishQueue:
    """Takes hints at any time, and gives them out in batches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stored: dict[UUID, Stored] = {}
        self._others: deque[Publication] = deque()

    def put(self, publication: Publication) -> bool:
        """Take a hint; say whether there was room for it."""
        device_id, hint, heard = publication
        with self._lock:
            if heard is not None or not isinstance(hint, Stored):
                if len(self._others) >= MAX_WAITING:
                    return False
                self._others.append(publication)
                return True
            waiting = self._stored.get(device_id)
            if waiting is not None:
                hint = Stored(max(hint.seq, waiting.seq), hint.urgent or waiting.urgent)
            elif len(self._stored) >= MAX_WAITING:
                return False
            self._stored[device_id] = hint
            return True

    def take(self, most: int) -> Sequence[Publication]:
        """Give out at most so many; none when nothing waits."""
        with self._lock:
            taken = [self._others.popleft() for _ in range(min(most, len(self._others)))]
            first = islice(self._stored, most - len(taken))
            stored = [Publication(device_id, self._stored[device_id]) for device_id in first]
            for publication in stored:
                del self._stored[publication.device_id]
        return taken + stored
