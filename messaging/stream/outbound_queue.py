"""What the service has to say over one socket: answers, messages, signals and hints.

Owns how they share a WebSocket message, and that no more of them are kept for a slow peer than a fixed number
of each kind. Of signals and hints the older ones give way. Writes nothing itself.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from messaging.mailbox.store import MailboxPage
from messaging.message_types import Delivery, KeysLowNotice, Notice, Signal
from messaging.stream.codecs import Codec
from messaging.stream.frames import CaughtUp, Frame, notice
from messaging.stream.window import Window

#: Frames that may wait for their answer, or their answer for being written, before no more are read.
MAX_UNANSWERED = 256
#: What one WebSocket message has at most of each kind, 256 frames together; more of the last two is not kept.
ANSWERS_AT_ONCE = 96
MESSAGES_AT_ONCE = 96
MAX_SIGNALS = 32
MAX_NOTICES = 31
#: Bytes of content after which it takes no more messages.
FULL_BYTES = 262_144


class OutboundQueue:
    """Gathers what is said; any thread adds to it, one takes from it."""

    def __init__(
        self,
        form: Codec,
        clock: Callable[[], datetime],
        pending: Callable[[int, int], MailboxPage],
        ready: Frame,
        told: Sequence[Notice],
    ) -> None:
        """Begin with a frame, hints and what is in the mailbox.

        pending: gives the oldest messages of the mailbox after one, and at most so many.
        """
        self._form = form
        self._clock = clock
        self._pending = pending
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._wanted.set()
        self._window = Window()
        self._answers = [ready, *map(notice, told)]
        #: Frames that are answered: counted by who reads, and by who writes. Hot, so neither takes the lock.
        self._expected = len(self._answers)
        self._answered = 0
        self._signals: list[Signal] = []
        self._notices: list[Notice] = []
        #: The hint about keys that was given last: one is enough until there are others.
        self._keys_low = next((one for one in told if isinstance(one, KeysLowNotice)), None)
        self._has_room = threading.Event()
        self._over = False

    def wake(self, deliveries: Sequence[Delivery]) -> None:
        """Say what was stored, as soon as there is room for it."""
        with self._lock:
            self._window.offer(deliveries)
        self._wanted.set()

    def receive(self, signal: Signal) -> None:
        """Pass a signal on, if the peer reads it before it expires."""
        with self._lock:
            self._signals.append(signal)
            del self._signals[:-MAX_SIGNALS]
        self._wanted.set()

    def notice(self, told: Notice) -> None:
        """Give a hint; of keys that run out once, until the device uploads some."""
        with self._lock:
            if isinstance(told, KeysLowNotice):
                known, self._keys_low = self._keys_low, told
                if known is not None and known.uploaded_at == told.uploaded_at:
                    return
            self._notices.append(told)
            if self._keys_low in self._notices[:-MAX_NOTICES]:
                self._keys_low = None
            del self._notices[:-MAX_NOTICES]
        self._wanted.set()

    def expect(self) -> None:
        """Count a frame that will be answered; for the one thread that reads."""
        self._expected += 1

    def answer(self, frame: Frame) -> None:
        """Say the answer to a frame that was counted."""
        # No lock: what is taken is taken from the other end, by one thread.
        self._answers.append(frame)
        if not self._wanted.is_set():
            self._wanted.set()

    def acknowledged(self, through: int) -> None:
        """Make room in the window."""
        with self._lock:
            self._window.acknowledged(through)
        if not self._wanted.is_set():
            self._wanted.set()

    def await_room(self) -> None:
        """Wait while too much is unanswered: a peer that does not read is not read from either."""
        while self._is_full() and not self._over:
            self._has_room.clear()
            # Once more, for what was answered between the look and the line above.
            if self._is_full() and not self._over:
                self._has_room.wait()

    def _is_full(self) -> bool:
        return self._expected - self._answered >= MAX_UNANSWERED

    def wait(self) -> None:
        """Wait until there may be something to say."""
        self._wanted.wait()
        self._wanted.clear()

    def stop(self) -> None:
        """Say nothing more, and end both waits."""
        self._over = True
        self._wanted.set()
        self._has_room.set()

    def gather(self) -> list[Frame]:
        """Give what is said next, in one WebSocket message; nothing when there is nothing.

        Reads the mailbox when that is needed.
        """
        if self._over:
            return []
        deliveries, caught_up = self._take()
        with self._lock:
            signals, self._signals = self._signals, []
            notices, self._notices = self._notices, []
        said = self._answers[:ANSWERS_AT_ONCE]
        del self._answers[:ANSWERS_AT_ONCE]
        self._answered += len(said)
        if not self._is_full():
            self._has_room.set()
        said += map(self._form.message, deliveries)
        if caught_up is not None:
            said.append(caught_up)
        said += map(notice, notices)
        if signals:
            now = self._clock()
            said += [self._form.signal(signal) for signal in signals if signal.expires_at > now]
        return said

    def _take(self) -> tuple[Sequence[Delivery], CaughtUp | None]:
        """Take the messages that come next, and the mark when there is nothing left behind them."""
        window = self._window
        while True:
            with self._lock:
                wanted, after = window.wants(), window.sent_through
            page = self._pending(after, wanted) if wanted else None
            with self._lock:
                if page is not None:
                    window.put(page.deliveries, wanted, page.last_seq)
                deliveries = window.take(MESSAGES_AT_ONCE, FULL_BYTES)
                # A gap is only seen when something is taken, and nobody would say that it is to be filled.
                if not deliveries and window.must_look() and not self._over:
                    continue
                caught_up = CaughtUp(window.sent_through) if window.caught_up() else None
                return deliveries, caught_up
