"""What of a mailbox one socket is sent: each message once, in order, and only so many unacknowledged.

Owns the cursor of a socket. Messages that were just stored are taken from memory when they follow what was
sent without a gap; whatever does not follow is left to the table. Sends nothing and reads nothing itself.
"""

from collections import deque
from collections.abc import Sequence

from messaging.message_types import Delivery, first_within

#: Messages that may be unacknowledged at once.
UNACKNOWLEDGED = 256
#: Messages read from the table at once, and bytes of those kept in memory for a peer that is slow: read ones,
#: and those that were just stored.
MAX_AT_ONCE = 128
MAX_READ_BYTES = 262_144
MAX_BYTES = 1_048_576


class Window:
    """The state of one socket; whoever uses it from several threads holds a lock."""

    def __init__(self) -> None:
        #: All up to here was sent, or is of no interest to this device any more.
        self.sent_through = 0
        #: What was sent and not acknowledged.
        self._unacknowledged: deque[int] = deque()
        #: Read from the table: all there was after what was sent.
        self._read: deque[Delivery] = deque()
        #: The number given out last when the table was read to its end.
        self._read_through = 0
        #: Just stored, without a gap among them; numbers are given out without one.
        self._fresh: deque[Delivery] = deque()
        self._fresh_bytes = 0
        #: Whether the table may hold something that is neither sent nor here.
        self._behind = True
        self._catching_up = True
        #: Fewer are read at once where they are large.
        self._at_once = MAX_AT_ONCE

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Take what was stored, in order; nothing means that the table knows what."""
        fresh = self._fresh
        follows = bool(deliveries) and (not fresh or deliveries[0].seq == fresh[-1].seq + 1)
        if follows:
            fresh.extend(deliveries)
            self._fresh_bytes += sum(len(delivery.content) for delivery in deliveries)
        if not follows or len(fresh) > UNACKNOWLEDGED or self._fresh_bytes > MAX_BYTES:
            self._look()

    def _look(self) -> None:
        """Leave what is left to the table, which has all that was stored before it is read."""
        self._fresh.clear()
        self._fresh_bytes = 0
        self._behind = self._catching_up = True

    def take(self, most: int, most_bytes: int) -> list[Delivery]:
        """Take what follows and has room: so many, and no more once there are so many bytes."""
        taken: list[Delivery] = []
        most = min(most, UNACKNOWLEDGED - len(self._unacknowledged))
        while len(taken) < most and most_bytes > 0:
            delivery = self._next()
            if delivery is None:
                break
            taken.append(delivery)
            self.sent_through = delivery.seq
            most_bytes -= len(delivery.content)
        self._settle()
        self._unacknowledged.extend(delivery.seq for delivery in taken)
        return taken

    def _next(self) -> Delivery | None:
        while True:
            if self._read:
                delivery = self._read.popleft()
            else:
                self._settle()
                if self._behind or not self._fresh:
                    return None
                if self._fresh[0].seq > self.sent_through + 1:
                    self._look()
                    return None
                delivery = self._fresh.popleft()
                self._fresh_bytes -= len(delivery.content)
            if delivery.seq > self.sent_through:
                return delivery

    def _settle(self) -> None:
        """Move to where the table was read: what lies before and did not come is not there any more."""
        if not self._read:
            self.sent_through = max(self.sent_through, self._read_through)

    def must_look(self) -> bool:
        """Say whether the table has to be read before anything else can be sent."""
        has_room = len(self._unacknowledged) < UNACKNOWLEDGED
        return self._behind and has_room and not self._read

    def wants(self) -> int:
        """Say how many to read from the table after `sent_through` now, and give to `put`; 0 for none.

        What is fresh at this moment is in the table, so it is forgotten; what comes meanwhile is kept.
        """
        if not self.must_look():
            return 0
        self._look()
        self._behind = False
        return self._at_once

    def put(self, found: Sequence[Delivery], wanted: int, last_seq: int = 0) -> None:
        """Take what was read; last_seq: the number given out last as of then."""
        kept = first_within(found, MAX_READ_BYTES)
        self._read.extend(kept)
        if len(kept) < len(found):
            self._at_once = len(kept)
            self._look()
        elif len(kept) == wanted:
            self._at_once = min(2 * wanted, MAX_AT_ONCE)
            self._look()
        else:
            self._read_through = last_seq

    def caught_up(self) -> bool:
        """Say, once each time the table had to be read, that everything in it has been sent."""
        if self._behind or self._read or not self._catching_up:
            return False
        self._catching_up = False
        return True

    def acknowledged(self, through: int) -> None:
        """Make room: the messages up to one are deleted, those that never were sent here too."""
        unacknowledged = self._unacknowledged
        while unacknowledged and unacknowledged[0] <= through:
            unacknowledged.popleft()
        self.sent_through = max(self.sent_through, through)
