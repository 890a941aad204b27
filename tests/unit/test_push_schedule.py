"""When a device is woken again."""

from datetime import UTC, datetime, timedelta

from messaging.push.schedule import MAX_BACK_OFF, next_repeat, next_try

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_repeats_grow_and_end() -> None:
    """Five of them, in a little more than a day."""
    repeats = [next_repeat(woken, NOW) for woken in range(7)]
    minutes = [repeat and (repeat - NOW) / timedelta(minutes=1) for repeat in repeats]
    assert minutes == [1, 10, 60, 360, 1440, None, None]


def test_a_back_off_doubles_up_to_its_longest() -> None:
    """However often it failed."""
    waits = [next_try(failures, NOW, None) - NOW for failures in (0, 1, 2, 8, 9, 10_000)]
    assert waits[:4] == [timedelta(minutes=minutes) for minutes in (1, 2, 4, 256)]
    assert waits[4:] == [MAX_BACK_OFF] * 2


def test_the_provider_may_ask_for_longer_but_not_for_shorter() -> None:
    """Its Retry-After is the least."""
    assert next_try(0, NOW, 3600) - NOW == timedelta(hours=1)
    assert next_try(3, NOW, 1) - NOW == timedelta(minutes=8)
