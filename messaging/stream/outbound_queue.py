"""The outbound queue of a socket: answers, messages, signals and notices that wait to be written.

It decides how they share a WebSocket message, and keeps a bounded number of each kind for a slow peer; of
signals and notices the oldest are dropped. It writes nothing itself.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from messaging.mailbox.envelopes import MailboxPage
from messaging.message_types import Delivery, KeysLowNotice, Notice, Signal
from messaging.stream.codecs import Codec
from messaging.stream.frames import CaughtUpFrame, Frame, notice_frame
from messaging.stream.window import Window

#: Frames that may wait for their answer, or their answer for being written, before no more are read.
MAX_UNANSWERED = 256
#: Of each kind in one WebSocket message, 256 frames together; more signals and notices are not kept.
MAX_ANSWERS_AT_ONCE = 96
MAX_MESSAGES_AT_ONCE = 96
MAX_SIGNALS = 32
MAX_NOTICES = 31
#: Bytes of content after which a WebSocket message takes no more messages.
MAX_BYTES_AT_ONCE = 262_144


class OutboundQueue:
    """Any thread adds to it, one takes from it."""

    def __init__(
        self,
        codec: Codec,
        clock: Callable[[], datetime],
        read_page: Callable[[int, int], MailboxPage],
        ready: Frame,
        notices: Sequence[Notice],
    ) -> None:
        """Begin with a frame, notices and what is in the mailbox.

        read_page: returns the oldest messages of the mailbox after a number, at most so many.
        """
        self._codec = codec
        self._clock = clock
        self._read_page = read_page
        self._lock = threading.Lock()
        self._has_work = threading.Event()
        self._has_work.set()
        self._window = Window()
        self._answers = [ready, *map(notice_frame, notices)]
        #: Frames that are answered, counted by the reader and by the writer. Hot, so neither takes the lock.
        self._expected = len(self._answers)
        self._answered = 0
        self._signals: list[Signal] = []
        self._notices: list[Notice] = []
        #: The notice about keys that was sent last: one is enough until the device uploads keys.
        self._keys_low = next((one for one in notices if isinstance(one, KeysLowNotice)), None)
        self._has_room = threading.Event()
        self._stopped = False

    def on_stored(self, deliveries: Sequence[Delivery]) -> None:
        """Send stored messages as soon as there is room for them."""
        with self._lock:
            self._window.add_stored(deliveries)
        self._has_work.set()

    def on_signal(self, signal: Signal) -> None:
        """Send a signal, if the peer reads it before it expires."""
        with self._lock:
            self._signals.append(signal)
            del self._signals[:-MAX_SIGNALS]
        self._has_work.set()

    def on_notice(self, notice: Notice) -> None:
        """Send a notice; one about low keys once, until the device uploads some."""
        with self._lock:
            if isinstance(notice, KeysLowNotice):
                known, self._keys_low = self._keys_low, notice
                if known is not None and known.uploaded_at == notice.uploaded_at:
                    return
            self._notices.append(notice)
            if self._keys_low in self._notices[:-MAX_NOTICES]:
                self._keys_low = None
            del self._notices[:-MAX_NOTICES]
        self._has_work.set()

    def on_acknowledged(self, through: int) -> None:
        """Make room in the window."""
        with self._lock:
            self._window.acknowledge(through)
        if not self._has_work.is_set():
            self._has_work.set()

    def expect_answer(self) -> None:
        """Count a frame that will be answered; called by the one thread that reads."""
        self._expected += 1

    def answer(self, frame: Frame) -> None:
        """Send the answer to a frame that was counted."""
        # No lock: what is taken is taken from the other end, by one thread.
        self._answers.append(frame)
        if not self._has_work.is_set():
            self._has_work.set()

    def await_room(self) -> None:
        """Wait while too much is unanswered: a peer that does not read is not read from either."""
        while self._is_full() and not self._stopped:
            self._has_room.clear()
            # Once more, for answers between the check and the line above.
            if self._is_full() and not self._stopped:
                self._has_room.wait()

    def _is_full(self) -> bool:
        return self._expected - self._answered >= MAX_UNANSWERED

    def wait(self) -> None:
        """Wait until there may be something to send."""
        self._has_work.wait()
        self._has_work.clear()

    def stop(self) -> None:
        """Send nothing more, and end both waits."""
        self._stopped = True
        self._has_work.set()
        self._has_room.set()

    def take(self) -> list[Frame]:
        """Return the frames of the next WebSocket message; none when nothing waits.

        Reads the mailbox when that is needed.
        """
        if self._stopped:
            return []
        deliveries, caught_up = self._take_deliveries()
        with self._lock:
            signals, self._signals = self._signals, []
            notices, self._notices = self._notices, []
        frames = self._answers[:MAX_ANSWERS_AT_ONCE]
        del self._answers[:MAX_ANSWERS_AT_ONCE]
        self._answered += len(frames)
        if not self._is_full():
            self._has_room.set()
        frames += map(self._codec.message_frame, deliveries)
        if caught_up is not None:
            frames.append(caught_up)
        frames += map(notice_frame, notices)
        if signals:
            now = self._clock()
            frames += [self._codec.signal_frame(one) for one in signals if one.expires_at > now]
        return frames

    def _take_deliveries(self) -> tuple[Sequence[Delivery], CaughtUpFrame | None]:
        """Return the messages to send next, and the mark when none are left behind them."""
        window = self._window
        while True:
            with self._lock:
                limit, after = window.begin_read(), window.sent_through
            page = self._read_page(after, limit) if limit else None
            with self._lock:
                if page is not None:
                    window.finish_read(page.deliveries, limit, page.last_seq)
                deliveries = window.take(MAX_MESSAGES_AT_ONCE, MAX_BYTES_AT_ONCE)
                # A gap shows only when something is taken, and nothing else would trigger the read.
                if not deliveries and window.must_read() and not self._stopped:
                    continue
                is_caught_up = window.take_caught_up()
                return deliveries, CaughtUpFrame(window.sent_through) if is_caught_up else None
