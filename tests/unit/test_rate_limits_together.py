"""Limits that are counted together: what a bucket or a window holds, and how it is put right again."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core import rate_limits
from core.clock import EPOCH
from core.database import Database
from core.rate_limit_statements import RateLimitCounter
from core.rate_limits import BucketLevel, RateLimit, WindowCharge, WindowUsage
from tests.unit.test_rate_limits import BUCKET, HERS, HIS, NOON, after, by_hypothesis, fresh_subject

TICK = timedelta(microseconds=1)


def fill(database: Database, seconds: float = 0, limit: RateLimit = BUCKET) -> BucketLevel:
    """Fill her bucket by one, in a transaction of its own."""
    with database.write() as connection:
        (level,) = rate_limits.fill_buckets(connection, [(limit, HERS)], after(seconds))
    return level


def drain(database: Database, *levels: BucketLevel) -> None:
    """Undo fills, in a transaction of their own."""
    with database.write() as connection:
        rate_limits.refund_buckets(connection, levels)


def add(
    database: Database, *amounts: int, seconds: float = 0, ends: float = 60
) -> list[WindowUsage]:
    """Add to her windows, in a transaction of its own."""
    with database.write() as connection:
        return rate_limits.add_to_windows(connection, _charges(amounts, ends), after(seconds))


def adjust(database: Database, *amounts: int, ends: float = 60) -> None:
    """Put her windows right, in a transaction of its own."""
    with database.write() as connection:
        rate_limits.adjust_windows(connection, _charges(amounts, ends))


def _charges(amounts: Sequence[int], ends: float) -> list[WindowCharge]:
    return [
        WindowCharge(f"window-{place}", HERS, amount, after(ends))
        for place, amount in enumerate(amounts)
    ]


def ends(database: Database) -> dict[tuple[bytes, str], float]:
    """Read when each counter is over, in seconds after noon."""
    query = select(RateLimitCounter.subject, RateLimitCounter.name, RateLimitCounter.until_us)
    with database.read() as connection:
        return {
            (row.subject, row.name): (EPOCH + row.until_us * TICK - NOON).total_seconds()
            for row in connection.execute(query)
        }


def test_fills_raise_a_bucket_and_leak_out(database: Database) -> None:
    """Each makes it an interval fuller, one over its capacity too, and time empties it."""
    assert [fill(database).level_us for _ in range(5)] == [
        n * BUCKET.interval_us for n in (1, 2, 3, 4, 5)
    ]
    assert fill(database, 25).level_us == 3.5 * BUCKET.interval_us
    assert fill(database, 1000).level_us == BUCKET.interval_us


def test_a_bucket_holds_one_more_than_its_capacity(database: Database) -> None:
    """Whoever goes on all the same does not fill it for days."""
    levels = [fill(database) for _ in range(8)]
    assert [one.level_us for one in levels[4:]] == [5 * BUCKET.interval_us] * 4
    assert [one.added_us for one in levels] == [BUCKET.interval_us] * 5 + [0] * 3
    last = fill(database, 2.5)
    assert (last.level_us, last.added_us) == (5 * BUCKET.interval_us, 2_500_000)


def test_several_buckets_at_once(database: Database) -> None:
    """They are answered in the order asked in, and those of others are others."""
    wider = RateLimit("wider", 2, timedelta(seconds=10))
    buckets = [(wider, HIS), (BUCKET, HIS), (BUCKET, HERS), (wider, HERS)]
    fill(database)
    with database.write() as connection:
        levels = rate_limits.fill_buckets(connection, buckets, NOON)
    assert [(one.limit, one.subject) for one in levels] == buckets
    assert [one.level_us / 1_000_000 for one in levels] == [5, 10, 20, 5]


def test_a_clock_that_jumps_back_empties_no_bucket(database: Database) -> None:
    """What was full stays full until the time that it was full to."""
    for _ in range(5):
        fill(database)
    level = fill(database, -3600)
    assert (level.level_us / 1_000_000, level.added_us) == (3650, 0)
    assert ends(database) == {(HERS, "bucket"): 50}
    drain(database, level)
    assert ends(database) == {(HERS, "bucket"): 50}


@pytest.mark.parametrize("before", range(7))
def test_a_drained_bucket_is_as_full_as_before(database: Database, before: int) -> None:
    """However full the bucket was, and though others came after."""
    for _ in range(before):
        fill(database, 1)
    was = ends(database).get((HERS, "bucket"), 2)
    first, other = fill(database, 2), fill(database, 2)
    drain(database, first)
    assert ends(database) == {(HERS, "bucket"): was + other.added_us / 1_000_000}
    drain(database, other)
    assert ends(database) == {(HERS, "bucket"): was}


def test_taking_out_of_what_was_purged(database: Database) -> None:
    """A bucket that is gone was empty and stays so."""
    level = fill(database)
    with database.write() as connection:
        assert rate_limits.purge_expired(connection, after(3600)) == 1
    drain(database, level)
    assert ends(database) == {}


@by_hypothesis
@given(
    st.integers(1, 5),
    st.lists(st.integers(-20_000, 30_000).map(lambda ms: ms / 1000), min_size=1, max_size=25),
)
def test_filling_admits_what_consuming_does(
    database: Database, capacity: int, steps: list[float]
) -> None:
    """A level that is judged and drained when over lets exactly those through that `consume` does."""
    limit = RateLimit("bucket", capacity, timedelta(seconds=30))
    filled, consumed = fresh_subject(), fresh_subject()
    now = NOON
    with database.write() as connection:
        for step in steps:
            now += timedelta(seconds=step)
            allowed, _ = rate_limits.consume(connection, limit, consumed, now)
            savepoint = connection.begin_nested()
            (level,) = rate_limits.fill_buckets(connection, [(limit, filled)], now)
            fits = level.level_us <= limit.quota * limit.interval_us
            if fits:
                savepoint.commit()
            else:
                savepoint.rollback()
            assert fits == allowed


@by_hypothesis
@given(
    st.lists(
        st.tuples(st.integers(-90, 90), st.sampled_from(["keep", "keep", "drain"])), max_size=25
    )
)
def test_no_bucket_is_ever_emptier_for_a_fill(
    database: Database, steps: list[tuple[int, str]]
) -> None:
    """Whatever the clock does, its end only moves on, and comes back exactly when a fill is undone."""
    subject = fresh_subject()
    now, end = NOON, after(-3600)
    with database.write() as connection:
        for step, then in steps:
            now += timedelta(seconds=step)
            (level,) = rate_limits.fill_buckets(connection, [(BUCKET, subject)], now)
            assert now + level.level_us * TICK == max(end, now) + level.added_us * TICK
            assert 0 <= level.added_us <= BUCKET.interval_us
            if then == "keep":
                end = now + level.level_us * TICK
            else:
                rate_limits.refund_buckets(connection, [level])
                end = max(end, now)


def test_windows_add_up_until_they_end(database: Database) -> None:
    """Then they begin with what comes next, and end where that says."""
    assert add(database, 5, 7) == [WindowUsage(5, after(60)), WindowUsage(7, after(60))]
    assert add(database, 2, 0, seconds=59.999999, ends=90) == [
        WindowUsage(7, after(60)),
        WindowUsage(7, after(60)),
    ]
    assert add(database, 3, seconds=60, ends=90) == [WindowUsage(3, after(90))]


def test_a_clock_that_jumps_back_reopens_no_window(database: Database) -> None:
    """What was spent tomorrow counts today too."""
    add(database, 5, ends=60)
    assert add(database, 1, seconds=-3600, ends=-3540) == [WindowUsage(6, after(60))]
    assert add(database, 1, seconds=30, ends=60) == [WindowUsage(7, after(60))]


def test_sums_are_larger_than_two_thousand_million(database: Database) -> None:
    """A budget of a million is 10^12 in millionths."""
    assert add(database, 10**12) == [WindowUsage(10**12, after(60))]
    assert add(database, 10**12 + 1) == [WindowUsage(2 * 10**12 + 1, after(60))]
    adjust(database, -(10**12))
    assert add(database, 0) == [WindowUsage(10**12 + 1, after(60))]


def test_a_window_that_is_over_stays_over(database: Database) -> None:
    """What turns out about yesterday's money changes nothing of today's."""
    add(database, 5, 8, ends=60)
    adjust(database, -2, 4, ends=60)
    assert add(database, 0, 0) == [WindowUsage(3, after(60)), WindowUsage(12, after(60))]
    add(database, 10, seconds=60, ends=120)
    adjust(database, -3, ends=60)
    assert add(database, 0, seconds=60, ends=120) == [WindowUsage(10, after(120))]


def test_a_savepoint_that_is_rolled_back_leaves_nothing(database: Database) -> None:
    """Neither new counters nor changes of old ones."""
    fill(database)
    add(database, 5)
    before = ends(database)
    with database.write() as connection:
        savepoint = connection.begin_nested()
        rate_limits.fill_buckets(connection, [(BUCKET, HERS), (BUCKET, HIS)], NOON)
        rate_limits.add_to_windows(connection, _charges([7, 9], 60), NOON)
        savepoint.rollback()
    assert ends(database) == before
    assert add(database, 0) == [WindowUsage(5, after(60))]
