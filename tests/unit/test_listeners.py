"""The listener registry in one process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from messaging.message_types import CloseCode, Signal
from messaging.notifications.listeners import LongPoll
from messaging.notifications.notifications import (
    ListenerRegistered,
    MessagesAcknowledged,
    MessageStored,
    Notification,
)
from messaging.notifications.registry import ListenerRegistry

HERS, HIS = UUID(int=1), UUID(int=2)
#: Far longer than any test may take, so that a wait that ends was woken.
LONG = 60.0


@contextmanager
def waiting(registry: ListenerRegistry) -> Iterator[LongPoll]:
    """Wait for her mailbox."""
    waiter = LongPoll()
    with registry.register(HERS, waiter):
        yield waiter


def test_what_was_stored_ends_the_wait():
    """Who waits is woken from another thread."""
    registry = ListenerRegistry()
    with waiting(registry) as waiter:
        threading.Timer(0.05, registry.notify_stored, [{HERS: ()}]).start()
        assert waiter.wait(LONG)


def test_what_nobody_heard():
    """Of the devices that nobody listens for, those it is urgent for are woken in another way."""
    registry, offline = ListenerRegistry(), []
    registry.offline_handlers.append(offline.append)
    with waiting(registry):
        registry.notify_stored({HERS: (), HIS: ()}, urgent={HERS, HIS})
        registry.notify_stored({HIS: ()})
    assert offline == [[HIS]]


def test_a_wake_up_before_the_wait_is_not_lost():
    """A wake-up between the look and the wait ends the wait at once."""
    registry = ListenerRegistry()
    with waiting(registry) as waiter:
        waiter.clear()
        registry.notify_stored({HERS: ()})
        assert waiter.wait(LONG)


def test_only_the_mailbox_that_changed_is_woken():
    """What is stored for another leaves her waiting."""
    registry = ListenerRegistry()
    with waiting(registry) as waiter:
        registry.notify_stored({HIS: ()})
        assert not waiter.wait(0.01)


def test_a_newer_wait_ends_the_older():
    """At most one listens for a mailbox; the one before is told to end."""
    registry = ListenerRegistry()
    with waiting(registry) as older, waiting(registry) as newer:
        assert older.wait(LONG)
        assert older.closed
        assert not newer.closed


def test_a_poll_and_a_socket_live_side_by_side():
    """Each kind ends its own older one only; both hear what is stored, the socket alone all else."""
    registry = ListenerRegistry()
    poll, socket = RecordingListener(), RecordingListener()
    with (
        registry.register(HERS, socket),
        registry.register(HERS, poll, is_poll=True),
    ):
        assert (poll.why, socket.why) == ([], [])
        registry.notify_stored({HERS: ()})
        assert poll.wait(LONG)
        assert socket.wait(LONG)
        now = datetime.now(UTC)
        registry.notify(HERS, Signal(HIS, HIS, b"ring", now, now))
        assert (len(poll.signals), len(socket.signals)) == (0, 1)
        with (
            registry.register(HERS, RecordingListener(), is_poll=True),
            registry.register(HERS, RecordingListener()),
        ):
            assert (poll.why, socket.why) == ([CloseCode.REPLACED], [CloseCode.REPLACED])
    assert len(registry.slots()) == 0


def test_a_revoked_device_has_neither():
    """What ends the listeners of a device ends both."""
    registry = ListenerRegistry()
    poll, socket = RecordingListener(), RecordingListener()
    with registry.register(HERS, socket), registry.register(HERS, poll, is_poll=True):
        registry.close(HERS, CloseCode.REVOKED)
    assert (poll.why, socket.why) == ([CloseCode.REVOKED], [CloseCode.REVOKED])


def test_the_end_of_an_older_wait_leaves_the_newer_one():
    """Leaving in any order, the newest waiter still hears."""
    registry = ListenerRegistry()
    first, second = waiting(registry), waiting(registry)
    first.__enter__()
    newer = second.__enter__()
    first.__exit__(None, None, None)
    registry.notify_stored({HERS: ()})
    assert newer.wait(LONG)
    second.__exit__(None, None, None)
    assert len(registry.slots()) == 0


def test_nobody_is_kept_after_the_wait():
    """A request that ended, by whatever, is forgotten."""
    registry = ListenerRegistry()
    try:
        with waiting(registry):
            assert len(registry.slots()) == 1
            raise ConnectionError
    except ConnectionError:
        pass
    assert len(registry.slots()) == 0


def test_who_came_with_another_token_ends():
    """A replaced token ends who came with it, and not who came with the newer one."""
    registry = ListenerRegistry()
    for token, ends in ((b"older" * 4, True), (b"newer" * 4, False)):
        waiter = LongPoll()
        with registry.register(HERS, waiter, token):
            registry.close(HERS, CloseCode.TOKEN_REPLACED, b"newer" * 4)
            assert waiter.closed is ends


class RecordingListener(LongPoll):
    """A listener that keeps why it was ended, and the signals it was passed."""

    def __init__(self) -> None:
        super().__init__()
        self.why: list[CloseCode] = []
        self.signals: list[Signal] = []
        self.through: list[int] = []

    def on_acknowledged(self, through: int) -> None:
        """Keep how far."""
        self.through.append(through)

    def on_signal(self, signal: Signal) -> None:
        """Keep a signal."""
        self.signals.append(signal)

    def close(self, why: CloseCode) -> None:
        """Keep why."""
        self.why.append(why)


class Bus:
    """A bus that keeps what it is given."""

    def __init__(self) -> None:
        self.published: list[Notification] = []

    def listeners_changed(self, device_id: UUID) -> None:
        """Let it go."""

    def publish(self, device_id: UUID, notification: Notification) -> None:
        """Keep a notification."""
        self.published.append(notification)


@pytest.fixture
def met():
    """Give a listener that meets announcements of others: registry, bus, listener, its own one."""
    registry, bus, listener = ListenerRegistry(), Bus(), RecordingListener()
    registry.bus = bus
    with registry.register(HERS, listener):
        yield registry, bus, listener, registry.slots_of(HERS)[0].registration(is_repeat=False)


def test_who_is_announced_later_is_newer(met):
    """What is announced before one's own announcement is older, what comes after it is newer."""
    registry, _, listener, own = met
    # Clocks of hosts differ by a little, and must not decide this.
    other = ListenerRegistered(b"elsewhere", own.registered_at - 1, is_repeat=False)
    registry.handle(HERS, other)
    assert listener.why == []
    registry.handle(HERS, own)
    assert listener.why == []
    registry.handle(HERS, other)
    assert listener.why == [CloseCode.REPLACED]


def test_a_poll_elsewhere_is_told_too(met):
    """A socket that knows of a poll elsewhere has it told; a poll tells a socket elsewhere that it waits."""
    registry, bus, listener, own = met
    registry.notify_stored({HERS: ()})
    assert bus.published == []
    registry.handle(
        HERS, ListenerRegistered(b"a poll", own.registered_at + 60, is_repeat=False, is_poll=True)
    )
    assert listener.why == []
    registry.notify_stored({HERS: ()}, urgent={HERS})
    assert bus.published == [MessageStored(0, is_urgent=False)]
    bus.published.clear()
    poll = RecordingListener()
    with registry.register(HIS, poll, is_poll=True):
        arrival = registry.slots_of(HIS)[0].registration(is_repeat=True)
        registry.handle(
            HIS, ListenerRegistered(b"a socket", own.registered_at + 60, is_repeat=False)
        )
        assert (poll.why, bus.published) == ([], [arrival])
        registry.handle(
            HIS, ListenerRegistered(b"a poll", own.registered_at + 60, is_repeat=True, is_poll=True)
        )
        assert poll.why == [CloseCode.REPLACED]


def test_what_was_told_here_is_not_told_again(met):
    """The bus brings back what this process published itself."""
    registry, _, listener, _ = met
    registry.handle(HERS, MessageStored(7, is_urgent=False))
    assert listener.wait(LONG)
    listener.clear()
    registry.handle(HERS, MessageStored(7, is_urgent=False))
    assert not listener.wait(0)
    registry.handle(HERS, MessageStored(8, is_urgent=False))
    assert listener.wait(LONG)


def test_an_acknowledgement_over_http_is_told(met):
    """It makes room in the socket's window, here and elsewhere."""
    registry, bus, listener, _ = met
    registry.notify(HERS, MessagesAcknowledged(3))
    registry.handle(HERS, MessagesAcknowledged(4))
    assert listener.through == [3, 4]
    registry.notify(HIS, MessagesAcknowledged(5))
    assert bus.published == [MessagesAcknowledged(5)]


def test_who_is_announced_again_is_compared_by_time(met):
    """After the bus was away the order of announcements says nothing; the older hears of the newer."""
    registry, bus, listener, own = met
    registry.handle(HERS, own)
    registry.handle(HERS, ListenerRegistered(b"older", own.registered_at - 1, is_repeat=True))
    assert listener.why == []
    assert bus.published == [ListenerRegistered(own.id, own.registered_at, is_repeat=True)]
    registry.handle(HERS, ListenerRegistered(b"newer", own.registered_at + 1, is_repeat=True))
    assert listener.why == [CloseCode.REPLACED]


def test_a_bus_that_stood_still(met):
    """What it held for long ends nobody who came since, and passes no signal that is over."""
    registry, _, listener, own = met
    registry.handle(HERS, own)
    registry.handle(HERS, ListenerRegistered(b"older", own.registered_at - 60, is_repeat=False))
    assert listener.why == []
    now = datetime.now(UTC)
    over = Signal(HIS, HIS, b"ring", now, now)
    current = replace(over, expires_at=now + timedelta(minutes=1))
    for signal in (over, current):
        registry.handle(HERS, signal)
    assert listener.signals == [current]


def test_who_left_meanwhile_is_woken_in_another_way(met):
    """A notification that finds nobody any more is not lost when it is urgent."""
    registry, offline = met[0], []
    registry.offline_handlers.append(offline.append)
    registry.handle(HIS, MessageStored(1, is_urgent=False))
    registry.handle(HIS, MessageStored(1, is_urgent=True))
    assert offline == [[HIS]]
