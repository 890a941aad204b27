"""When a device is woken again: after a wake-up that it did not answer, and after one that failed."""

from datetime import datetime, timedelta

#: How long after each wake-up the next one comes; a lost one must not silence a device for ever.
REPEATS = (
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
)
#: The wait after the first failure; it doubles up to the longest.
FIRST_BACK_OFF, MAX_BACK_OFF = timedelta(minutes=1), timedelta(hours=6)
#: Doublings after which the longest is passed by far.
_MAX_DOUBLINGS = 16


def next_repeat(woken: int, now: datetime) -> datetime | None:
    """Say when a device is woken again that was so often before; None once it was often enough."""
    return now + REPEATS[woken] if woken < len(REPEATS) else None


def next_look(woken: int, failures: int, now: datetime) -> datetime | None:
    """Say when to look again at a device that listens; None when it was neither woken nor failed to be.

    What was begun goes on: the device may go again without having answered.
    """
    if failures:
        return next_try(failures - 1, now, None)
    return now + REPEATS[min(woken, len(REPEATS)) - 1] if woken else None


def next_try(failures: int, now: datetime, retry_after: int | None) -> datetime:
    """Say when a wake-up is tried again that failed so often before; `retry_after` is in seconds."""
    back_off = min(FIRST_BACK_OFF * (1 << min(failures, _MAX_DOUBLINGS)), MAX_BACK_OFF)
    return now + max(back_off, timedelta(seconds=retry_after or 0))
