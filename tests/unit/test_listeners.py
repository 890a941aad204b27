"""Wake-ups between those who store and those who listen, in one process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from messaging.message_types import CloseCode, Signal
from messaging.notifications.listeners import ListenerRegistry, Waiter
from messaging.notifications.notifications import Arrived, Emptied, Hint, Passed, Stored

HERS, HIS = UUID(int=1), UUID(int=2)
#: Far longer than any test may take, so that a wait that ends was woken.
LONG = 60.0


@contextmanager
def waiting(wakeups: ListenerRegistry) -> Iterator[Waiter]:
    """Wait for her mailbox."""
    waiter = Waiter()
    with wakeups.listening(HERS, waiter):
        yield waiter


def test_what_was_stored_ends_the_wait():
    """Who waits is woken from another thread."""
    wakeups = ListenerRegistry()
    with waiting(wakeups) as waiter:
        threading.Timer(0.05, wakeups.stored, [{HERS: ()}]).start()
        assert waiter.wait(LONG)


def test_what_nobody_heard():
    """Of the devices that nobody listens for, those it is urgent for are woken in another way."""
    wakeups, unheard = ListenerRegistry(), []
    wakeups.unheard.append(unheard.append)
    with waiting(wakeups):
        wakeups.stored({HERS: (), HIS: ()}, urgent={HERS, HIS})
        wakeups.stored({HIS: ()})
    assert unheard == [[HIS]]


def test_a_wake_up_before_the_wait_is_not_lost():
    """A wake-up between the look and the wait ends the wait at once."""
    wakeups = ListenerRegistry()
    with waiting(wakeups) as waiter:
        waiter.clear()
        wakeups.stored({HERS: ()})
        assert waiter.wait(LONG)


def test_only_the_mailbox_that_changed_is_woken():
    """What is stored for another leaves her waiting."""
    wakeups = ListenerRegistry()
    with waiting(wakeups) as waiter:
        wakeups.stored({HIS: ()})
        assert not waiter.wait(0.01)


def test_a_newer_wait_ends_the_older():
    """At most one listens for a mailbox; the one before is told to end."""
    wakeups = ListenerRegistry()
    with waiting(wakeups) as older, waiting(wakeups) as newer:
        assert older.wait(LONG)
        assert older.closed
        assert not newer.closed


def test_a_poll_and_a_socket_live_side_by_side():
    """Each kind ends its own older one only; both hear what is stored, the socket alone all else."""
    wakeups = ListenerRegistry()
    poll, socket = Told(), Told()
    with (
        wakeups.listening(HERS, socket),
        wakeups.listening(HERS, poll, is_poll=True),
    ):
        assert (poll.why, socket.why) == ([], [])
        wakeups.stored({HERS: ()})
        assert poll.wait(LONG)
        assert socket.wait(LONG)
        now = datetime.now(UTC)
        wakeups.signal(HERS, Signal(HIS, HIS, b"ring", now, now))
        assert (len(poll.signals), len(socket.signals)) == (0, 1)
        with wakeups.listening(HERS, Told(), is_poll=True), wakeups.listening(HERS, Told()):
            assert (poll.why, socket.why) == ([CloseCode.REPLACED], [CloseCode.REPLACED])
    assert len(wakeups.seats()) == 0


def test_a_revoked_device_has_neither():
    """What ends the listeners of a device ends both."""
    wakeups = ListenerRegistry()
    poll, socket = Told(), Told()
    with wakeups.listening(HERS, socket), wakeups.listening(HERS, poll, is_poll=True):
        wakeups.close(HERS, CloseCode.REVOKED)
    assert (poll.why, socket.why) == ([CloseCode.REVOKED], [CloseCode.REVOKED])


def test_the_end_of_an_older_wait_leaves_the_newer_one():
    """Leaving in any order, the newest waiter still hears."""
    wakeups = ListenerRegistry()
    first, second = waiting(wakeups), waiting(wakeups)
    first.__enter__()
    newer = second.__enter__()
    first.__exit__(None, None, None)
    wakeups.stored({HERS: ()})
    assert newer.wait(LONG)
    second.__exit__(None, None, None)
    assert len(wakeups.seats()) == 0


def test_nobody_is_kept_after_the_wait():
    """A request that ended, by whatever, is forgotten."""
    wakeups = ListenerRegistry()
    try:
        with waiting(wakeups):
            assert len(wakeups.seats()) == 1
            raise ConnectionError
    except ConnectionError:
        pass
    assert len(wakeups.seats()) == 0


def test_who_came_with_another_token_ends():
    """A replaced token ends who came with it, and not who came with the newer one."""
    wakeups = ListenerRegistry()
    for token, ends in ((b"older" * 4, True), (b"newer" * 4, False)):
        waiter = Waiter()
        with wakeups.listening(HERS, waiter, token):
            wakeups.close(HERS, CloseCode.TOKEN_REPLACED, b"newer" * 4)
            assert waiter.closed is ends


class Told(Waiter):
    """A listener that keeps why it was ended, and the signals it was passed."""

    def __init__(self) -> None:
        super().__init__()
        self.why: list[CloseCode] = []
        self.signals: list[Signal] = []
        self.through: list[int] = []

    def acknowledged(self, through: int) -> None:
        """Keep how far."""
        self.through.append(through)

    def receive(self, signal: Signal) -> None:
        """Keep a signal."""
        self.signals.append(signal)

    def close(self, why: CloseCode) -> None:
        """Keep why."""
        self.why.append(why)


class Bus:
    """A bus that keeps what it is given."""

    def __init__(self) -> None:
        self.published: list[Hint] = []

    def listening_changed(self, device_id: UUID) -> None:
        """Let it go."""

    def publish(self, device_id: UUID, hint: Hint) -> None:
        """Keep a hint."""
        self.published.append(hint)


@pytest.fixture
def met():
    """Give a listener that meets announcements of others: wakeups, bus, listener, its own one."""
    wakeups, bus, listener = ListenerRegistry(), Bus(), Told()
    wakeups.bus = bus
    with wakeups.listening(HERS, listener):
        yield wakeups, bus, listener, wakeups.seats_of(HERS)[0].arrival(again=False)


def test_who_is_announced_later_is_newer(met):
    """What is announced before one's own announcement is older, what comes after it is newer."""
    wakeups, _, listener, own = met
    # Clocks of hosts differ by a little, and must not decide this.
    other = Arrived(b"elsewhere", own.since - 1, again=False)
    wakeups.hear(HERS, other)
    assert listener.why == []
    wakeups.hear(HERS, own)
    assert listener.why == []
    wakeups.hear(HERS, other)
    assert listener.why == [CloseCode.REPLACED]


def test_a_poll_elsewhere_is_told_too(met):
    """A socket that knows of a poll elsewhere has it told; a poll tells a socket elsewhere that it waits."""
    wakeups, bus, listener, own = met
    wakeups.stored({HERS: ()})
    assert bus.published == []
    wakeups.hear(HERS, Arrived(b"a poll", own.since + 60, again=False, is_poll=True))
    assert listener.why == []
    wakeups.stored({HERS: ()}, urgent={HERS})
    assert bus.published == [Stored(0, urgent=False)]
    bus.published.clear()
    poll = Told()
    with wakeups.listening(HIS, poll, is_poll=True):
        arrival = wakeups.seats_of(HIS)[0].arrival(again=True)
        wakeups.hear(HIS, Arrived(b"a socket", own.since + 60, again=False))
        assert (poll.why, bus.published) == ([], [arrival])
        wakeups.hear(HIS, Arrived(b"a poll", own.since + 60, again=True, is_poll=True))
        assert poll.why == [CloseCode.REPLACED]


def test_what_was_told_here_is_not_told_again(met):
    """The bus brings back what this process published itself."""
    wakeups, _, listener, _ = met
    wakeups.hear(HERS, Stored(7, urgent=False))
    assert listener.wait(LONG)
    listener.clear()
    wakeups.hear(HERS, Stored(7, urgent=False))
    assert not listener.wait(0)
    wakeups.hear(HERS, Stored(8, urgent=False))
    assert listener.wait(LONG)


def test_an_acknowledgement_over_http_is_told(met):
    """It makes room in the socket's window, here and elsewhere."""
    wakeups, bus, listener, _ = met
    wakeups.acknowledged(HERS, 3)
    wakeups.hear(HERS, Emptied(4))
    assert listener.through == [3, 4]
    wakeups.acknowledged(HIS, 5)
    assert bus.published == [Emptied(5)]


def test_who_is_announced_again_is_compared_by_time(met):
    """After the bus was away the order of announcements says nothing; the older hears of the newer."""
    wakeups, bus, listener, own = met
    wakeups.hear(HERS, own)
    wakeups.hear(HERS, Arrived(b"older", own.since - 1, again=True))
    assert listener.why == []
    assert bus.published == [Arrived(own.name, own.since, again=True)]
    wakeups.hear(HERS, Arrived(b"newer", own.since + 1, again=True))
    assert listener.why == [CloseCode.REPLACED]


def test_a_bus_that_stood_still(met):
    """What it held for long ends nobody who came since, and passes no signal that is over."""
    wakeups, _, listener, own = met
    wakeups.hear(HERS, own)
    wakeups.hear(HERS, Arrived(b"older", own.since - 60, again=False))
    assert listener.why == []
    now = datetime.now(UTC)
    over = Signal(HIS, HIS, b"ring", now, now)
    current = over._replace(expires_at=now + timedelta(minutes=1))
    for signal in (over, current):
        wakeups.hear(HERS, Passed(signal))
    assert listener.signals == [current]


def test_who_left_meanwhile_is_woken_in_another_way(met):
    """A hint that finds nobody any more is not lost when it is urgent."""
    wakeups, unheard = met[0], []
    wakeups.unheard.append(unheard.append)
    wakeups.hear(HIS, Stored(1, urgent=False))
    wakeups.hear(HIS, Stored(1, urgent=True))
    assert unheard == [[HIS]]
