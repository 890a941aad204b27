"""Wake-ups between requests of one process."""

import threading
from uuid import UUID

from messaging.wakeups import Wakeups

HERS, HIS = UUID(int=1), UUID(int=2)
#: Far longer than any test may take, so that a wait that ends was woken.
LONG = 60.0


def test_a_notification_ends_the_wait():
    """Who waits is woken by a notification from another thread."""
    wakeups = Wakeups()
    with wakeups.listen(HERS) as waiter:
        threading.Timer(0.05, wakeups.notify, [[HERS]]).start()
        assert waiter.wait(LONG)


def test_a_notification_before_the_wait_is_not_lost():
    """A wake-up between the look and the wait ends the wait at once."""
    wakeups = Wakeups()
    with wakeups.listen(HERS) as waiter:
        waiter.clear()
        wakeups.notify([HERS])
        assert waiter.wait(LONG)


def test_only_the_mailbox_that_changed_is_woken():
    """A notification for one mailbox leaves the others waiting."""
    wakeups = Wakeups()
    with wakeups.listen(HERS) as waiter:
        wakeups.notify([HIS])
        assert not waiter.wait(0.01)


def test_a_newer_wait_ends_the_older():
    """At most one request waits for a mailbox; the one before is told that it was replaced."""
    wakeups = Wakeups()
    with wakeups.listen(HERS) as older, wakeups.listen(HERS) as newer:
        assert older.wait(LONG)
        assert older.replaced
        assert not newer.replaced


def test_the_end_of_an_older_wait_leaves_the_newer_one():
    """Leaving in any order, the newest waiter still hears."""
    wakeups = Wakeups()
    first, second = wakeups.listen(HERS), wakeups.listen(HERS)
    first.__enter__()
    newer = second.__enter__()
    first.__exit__(None, None, None)
    wakeups.notify([HERS])
    assert newer.wait(LONG)
    second.__exit__(None, None, None)
    assert wakeups.waiting() == 0


def test_nobody_is_kept_after_the_wait():
    """A request that ended, by whatever, is forgotten."""
    wakeups = Wakeups()
    try:
        with wakeups.listen(HERS):
            assert wakeups.waiting() == 1
            raise ConnectionError
    except ConnectionError:
        pass
    assert wakeups.waiting() == 0
