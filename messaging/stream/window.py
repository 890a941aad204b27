"""The send window of a socket: each message once, in order, and a bounded number unacknowledged.

Messages just stored come from memory while they follow what was sent without a gap. Everything else is read
from the table. The window itself sends and reads nothing.
"""

from collections import deque
from collections.abc import Sequence

from messaging.message_types import Delivery, first_within

#: Messages that may be unacknowledged at once.
MAX_UNACKNOWLEDGED = 256
#: Messages read from the table at once, and bytes of those that are kept for a slow peer.
MAX_READ = 128
MAX_READ_BYTES = 262_144
#: Bytes of messages just stored that are kept for a slow peer.
MAX_STORED_BYTES = 1_048_576


class Window:
    """The state of one socket. Not thread-safe: its user holds a lock."""

    def __init__(self) -> None:
        #: All up to here was sent, or was acknowledged over another connection.
        self.sent_through = 0
        #: Numbers that were sent and not acknowledged.
        self._unacknowledged: deque[int] = deque()
        #: Read from the table: all there was after what was sent.
        self._read: deque[Delivery] = deque()
        #: The number assigned last when the table was read to its end.
        self._read_through = 0
        #: Just stored, without a gap among them; numbers are assigned without one.
        self._stored: deque[Delivery] = deque()
        self._stored_bytes = 0
        #: Whether the table may hold something that is neither sent nor here.
        self._is_behind = True
        self._is_catching_up = True
        #: Smaller where messages are large.
        self._read_limit = MAX_READ

    def add_stored(self, deliveries: Sequence[Delivery]) -> None:
        """Add messages just stored, in order; none: they are in the table."""
        stored = self._stored
        follows = bool(deliveries) and (not stored or deliveries[0].seq == stored[-1].seq + 1)
        if follows:
            stored.extend(deliveries)
            self._stored_bytes += sum(len(delivery.content) for delivery in deliveries)
        if not follows or len(stored) > MAX_UNACKNOWLEDGED or self._stored_bytes > MAX_STORED_BYTES:
            self._fall_behind()

    def _fall_behind(self) -> None:
        """Forget what was just stored: the table has it before the next read."""
        self._stored.clear()
        self._stored_bytes = 0
        self._is_behind = self._is_catching_up = True

    def take(self, limit: int, max_bytes: int) -> list[Delivery]:
        """Return the messages to send next: at most `limit`, and no more once they have `max_bytes`."""
        taken: list[Delivery] = []
        limit = min(limit, MAX_UNACKNOWLEDGED - len(self._unacknowledged))
        while len(taken) < limit and max_bytes > 0:
            delivery = self._next()
            if delivery is None:
                break
            taken.append(delivery)
            self.sent_through = delivery.seq
            max_bytes -= len(delivery.content)
        self._skip_to_read()
        self._unacknowledged.extend(delivery.seq for delivery in taken)
        return taken

    def _next(self) -> Delivery | None:
        while True:
            if self._read:
                delivery = self._read.popleft()
            else:
                self._skip_to_read()
                if self._is_behind or not self._stored:
                    return None
                if self._stored[0].seq > self.sent_through + 1:
                    self._fall_behind()
                    return None
                delivery = self._stored.popleft()
                self._stored_bytes -= len(delivery.content)
            if delivery.seq > self.sent_through:
                return delivery

    def _skip_to_read(self) -> None:
        """Move to the end of the last read: numbers before it that were not read no longer exist."""
        if not self._read:
            self.sent_through = max(self.sent_through, self._read_through)

    def must_read(self) -> bool:
        """Return whether the table has to be read before anything else can be sent."""
        has_room = len(self._unacknowledged) < MAX_UNACKNOWLEDGED
        return self._is_behind and has_room and not self._read

    def begin_read(self) -> int:
        """Return how many messages after `sent_through` to read now and pass to `finish_read`; 0: none.

        What was just stored is in the table by now and is forgotten; what arrives meanwhile is kept.
        """
        if not self.must_read():
            return 0
        self._fall_behind()
        self._is_behind = False
        return self._read_limit

    def finish_read(self, found: Sequence[Delivery], limit: int, last_seq: int = 0) -> None:
        """Add messages read from the table; last_seq: the number assigned last as of that read."""
        kept = first_within(found, MAX_READ_BYTES)
        self._read.extend(kept)
        if len(kept) < len(found):
            self._read_limit = len(kept)
            self._fall_behind()
        elif len(kept) == limit:
            self._read_limit = min(2 * limit, MAX_READ)
            self._fall_behind()
        else:
            self._read_through = last_seq

    def take_caught_up(self) -> bool:
        """Return, once each time the table had to be read, whether everything in it has been sent."""
        if self._is_behind or self._read or not self._is_catching_up:
            return False
        self._is_catching_up = False
        return True

    def acknowledge(self, through: int) -> None:
        """Make room: messages up to this number are deleted, whether they were sent here or not."""
        unacknowledged = self._unacknowledged
        while unacknowledged and unacknowledged[0] <= through:
            unacknowledged.popleft()
        self.sent_through = max(self.sent_through, through)
