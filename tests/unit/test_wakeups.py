"""Wake-ups between those who store and those who listen, in one process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from messaging.wakeups import Waiter, Wakeups

HERS, HIS = UUID(int=1), UUID(int=2)
#: Far longer than any test may take, so that a wait that ends was woken.
LONG = 60.0


@contextmanager
def waiting(wakeups: Wakeups) -> Iterator[Waiter]:
    """Wait for her mailbox."""
    waiter = Waiter()
    with wakeups.listening(HERS, waiter):
        yield waiter


def test_what_was_stored_ends_the_wait():
    """Who waits is woken from another thread."""
    wakeups = Wakeups()
    with waiting(wakeups) as waiter:
        threading.Timer(0.05, wakeups.stored, [{HERS: ()}]).start()
        assert waiter.wait(LONG)


def test_what_nobody_heard():
    """Of the devices that nobody listens for, those it is urgent for are woken in another way."""
    wakeups, unheard = Wakeups(), []
    wakeups.unheard.append(unheard.append)
    with waiting(wakeups):
        wakeups.stored({HERS: (), HIS: ()}, urgent={HERS, HIS})
        wakeups.stored({HIS: ()})
    assert unheard == [[HIS]]


def test_a_wake_up_before_the_wait_is_not_lost():
    """A wake-up between the look and the wait ends the wait at once."""
    wakeups = Wakeups()
    with waiting(wakeups) as waiter:
        waiter.clear()
        wakeups.stored({HERS: ()})
        assert waiter.wait(LONG)


def test_only_the_mailbox_that_changed_is_woken():
    """What is stored for another leaves her waiting."""
    wakeups = Wakeups()
    with waiting(wakeups) as waiter:
        wakeups.stored({HIS: ()})
        assert not waiter.wait(0.01)


def test_a_newer_wait_ends_the_older():
    """At most one listens for a mailbox; the one before is told to end."""
    wakeups = Wakeups()
    with waiting(wakeups) as older, waiting(wakeups) as newer:
        assert older.wait(LONG)
        assert older.closed
        assert not newer.closed


def test_the_end_of_an_older_wait_leaves_the_newer_one():
    """Leaving in any order, the newest waiter still hears."""
    wakeups = Wakeups()
    first, second = waiting(wakeups), waiting(wakeups)
    first.__enter__()
    newer = second.__enter__()
    first.__exit__(None, None, None)
    wakeups.stored({HERS: ()})
    assert newer.wait(LONG)
    second.__exit__(None, None, None)
    assert wakeups.listeners() == 0


def test_nobody_is_kept_after_the_wait():
    """A request that ended, by whatever, is forgotten."""
    wakeups = Wakeups()
    try:
        with waiting(wakeups):
            assert wakeups.listeners() == 1
            raise ConnectionError
    except ConnectionError:
        pass
    assert wakeups.listeners() == 0
