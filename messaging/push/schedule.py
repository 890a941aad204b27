"""When a device is woken again: after a wake-up that it did not answer, and after one that failed."""

from datetime import datetime, timedelta

#: The waits between wake-ups that are not answered; a lost one must not silence a device forever.
REPEATS = (
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
)
#: The wait after the first failure; it doubles up to the longest.
MIN_BACK_OFF, MAX_BACK_OFF = timedelta(minutes=1), timedelta(hours=6)
#: Doublings that exceed the longest by far.
_MAX_DOUBLINGS = 16


def next_repeat(wakeups_unanswered: int, now: datetime) -> datetime | None:
    """Return when a device that is woken now is woken again; None: no more after so many before."""
    if wakeups_unanswered >= len(REPEATS):
        return None
    return now + REPEATS[wakeups_unanswered]


def next_check(wakeups_unanswered: int, failures: int, now: datetime) -> datetime | None:
    """Return when to check a device that listens again; None: no wake-up was sent or failed.

    It may leave without having answered, so the schedule goes on.
    """
    if failures:
        return next_try(failures - 1, now, None)
    if not wakeups_unanswered:
        return None
    return now + REPEATS[min(wakeups_unanswered, len(REPEATS)) - 1]


def next_try(failures: int, now: datetime, retry_after: int | None) -> datetime:
    """Return when to try a wake-up again after so many failures before; retry_after: seconds."""
    back_off = min(MIN_BACK_OFF * (1 << min(failures, _MAX_DOUBLINGS)), MAX_BACK_OFF)
    return now + max(back_off, timedelta(seconds=retry_after or 0))
