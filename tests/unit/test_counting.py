"""Limits that are counted together: what a bucket or a window holds, and how it is put right again."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from core import counting, limits
from core.counting import Amount, Drop, Poured, Sum
from core.database import Database
from core.limits import EPOCH, Limit, LimitCounter
from tests.unit.test_limits import BUCKET, HERS, HIS, NOON, after, by_hypothesis, fresh_subject

TICK = timedelta(microseconds=1)


def pour(database: Database, seconds: float = 0, limit: Limit = BUCKET) -> Poured:
    """Put a drop into her bucket, in a transaction of its own."""
    with database.write() as connection:
        (poured,) = counting.pour(connection, [Drop(limit, HERS)], after(seconds))
    return poured


def take_out(database: Database, *poured: Poured) -> None:
    """Take drops out again, in a transaction of their own."""
    with database.write() as connection:
        counting.take_out(connection, poured)


def add(database: Database, *amounts: int, seconds: float = 0, ends: float = 60) -> list[Sum]:
    """Add to her windows, in a transaction of its own."""
    with database.write() as connection:
        return counting.add(connection, _amounts(amounts, ends), after(seconds))


def correct(database: Database, *amounts: int, ends: float = 60) -> None:
    """Put her windows right, in a transaction of its own."""
    with database.write() as connection:
        counting.correct(connection, _amounts(amounts, ends))


def _amounts(amounts: Sequence[int], ends: float) -> list[Amount]:
    return [
        Amount(f"window-{place}", HERS, amount, after(ends)) for place, amount in enumerate(amounts)
    ]


def ends(database: Database) -> dict[tuple[bytes, str], float]:
    """Read when each counter is over, in seconds after noon."""
    query = select(LimitCounter.subject, LimitCounter.name, LimitCounter.until_us)
    with database.read() as connection:
        return {
            (row.subject, row.name): (EPOCH + row.until_us * TICK - NOON).total_seconds()
            for row in connection.execute(query)
        }


def test_drops_fill_a_bucket_and_leak_out(database: Database) -> None:
    """Each makes it an interval fuller, one over its capacity too, and time empties it."""
    assert [pour(database).level_us for _ in range(5)] == [
        n * BUCKET.interval_us for n in (1, 2, 3, 4, 5)
    ]
    assert pour(database, 25).level_us == 3.5 * BUCKET.interval_us
    assert pour(database, 1000).level_us == BUCKET.interval_us


def test_a_bucket_holds_one_more_than_its_capacity(database: Database) -> None:
    """Whoever goes on all the same does not fill it for days."""
    poured = [pour(database) for _ in range(8)]
    assert [one.level_us for one in poured[4:]] == [5 * BUCKET.interval_us] * 4
    assert [one.added_us for one in poured] == [BUCKET.interval_us] * 5 + [0] * 3
    last = pour(database, 2.5)
    assert (last.level_us, last.added_us) == (5 * BUCKET.interval_us, 2_500_000)


def test_several_buckets_at_once(database: Database) -> None:
    """They are answered in the order asked in, and those of others are others."""
    wider = Limit("wider", 2, timedelta(seconds=10))
    drops = [Drop(wider, HIS), Drop(BUCKET, HIS), Drop(BUCKET, HERS), Drop(wider, HERS)]
    pour(database)
    with database.write() as connection:
        poured = counting.pour(connection, drops, NOON)
    assert [one.drop for one in poured] == drops
    assert [one.level_us / 1_000_000 for one in poured] == [5, 10, 20, 5]


def test_a_clock_that_jumps_back_empties_no_bucket(database: Database) -> None:
    """What was full stays full until the time that it was full to."""
    for _ in range(5):
        pour(database)
    poured = pour(database, -3600)
    assert (poured.level_us / 1_000_000, poured.added_us) == (3650, 0)
    assert ends(database) == {(HERS, "bucket"): 50}
    take_out(database, poured)
    assert ends(database) == {(HERS, "bucket"): 50}


@pytest.mark.parametrize("before", range(7))
def test_what_is_taken_out_leaves_what_was(database: Database, before: int) -> None:
    """However full the bucket was, and though others came after."""
    for _ in range(before):
        pour(database, 1)
    was = ends(database).get((HERS, "bucket"), 2)
    taken, other = pour(database, 2), pour(database, 2)
    take_out(database, taken)
    assert ends(database) == {(HERS, "bucket"): was + other.added_us / 1_000_000}
    take_out(database, other)
    assert ends(database) == {(HERS, "bucket"): was}


def test_taking_out_of_what_was_purged(database: Database) -> None:
    """A bucket that is gone was empty and stays so."""
    poured = pour(database)
    with database.write() as connection:
        assert limits.purge_limits(connection, after(3600)) == 1
    take_out(database, poured)
    assert ends(database) == {}


@by_hypothesis
@given(
    st.integers(1, 5),
    st.lists(st.integers(-20_000, 30_000).map(lambda ms: ms / 1000), min_size=1, max_size=25),
)
def test_pouring_admits_what_taking_does(
    database: Database, capacity: int, steps: list[float]
) -> None:
    """A level that is judged and poured back when over lets exactly those through that `take` does."""
    limit = Limit("bucket", capacity, timedelta(seconds=30))
    poured_into, taken_from = fresh_subject(), fresh_subject()
    now = NOON
    with database.write() as connection:
        for step in steps:
            now += timedelta(seconds=step)
            allowed, _ = limits.take(connection, limit, taken_from, now)
            savepoint = connection.begin_nested()
            (poured,) = counting.pour(connection, [Drop(limit, poured_into)], now)
            fits = poured.level_us <= limit.capacity * limit.interval_us
            if fits:
                savepoint.commit()
            else:
                savepoint.rollback()
            assert fits == allowed


@by_hypothesis
@given(
    st.lists(
        st.tuples(st.integers(-90, 90), st.sampled_from(["keep", "keep", "take out"])), max_size=25
    )
)
def test_no_bucket_is_ever_emptier_for_a_drop(
    database: Database, steps: list[tuple[int, str]]
) -> None:
    """Whatever the clock does, its end only moves on, and comes back exactly when a drop is taken out."""
    subject = fresh_subject()
    now, end = NOON, after(-3600)
    with database.write() as connection:
        for step, then in steps:
            now += timedelta(seconds=step)
            (poured,) = counting.pour(connection, [Drop(BUCKET, subject)], now)
            assert now + poured.level_us * TICK == max(end, now) + poured.added_us * TICK
            assert 0 <= poured.added_us <= BUCKET.interval_us
            if then == "keep":
                end = now + poured.level_us * TICK
            else:
                counting.take_out(connection, [poured])
                end = max(end, now)


def test_windows_add_up_until_they_end(database: Database) -> None:
    """Then they begin with what comes next, and end where that says."""
    assert add(database, 5, 7) == [Sum(5, after(60)), Sum(7, after(60))]
    assert add(database, 2, 0, seconds=59.999999, ends=90) == [
        Sum(7, after(60)),
        Sum(7, after(60)),
    ]
    assert add(database, 3, seconds=60, ends=90) == [Sum(3, after(90))]


def test_a_clock_that_jumps_back_reopens_no_window(database: Database) -> None:
    """What was spent tomorrow counts today too."""
    add(database, 5, ends=60)
    assert add(database, 1, seconds=-3600, ends=-3540) == [Sum(6, after(60))]
    assert add(database, 1, seconds=30, ends=60) == [Sum(7, after(60))]


def test_sums_are_larger_than_two_thousand_million(database: Database) -> None:
    """A budget of a million is 10^12 in millionths."""
    assert add(database, 10**12) == [Sum(10**12, after(60))]
    assert add(database, 10**12 + 1) == [Sum(2 * 10**12 + 1, after(60))]
    correct(database, -(10**12))
    assert add(database, 0) == [Sum(10**12 + 1, after(60))]


def test_a_window_that_is_over_stays_over(database: Database) -> None:
    """What turns out about yesterday's money changes nothing of today's."""
    add(database, 5, 8, ends=60)
    correct(database, -2, 4, ends=60)
    assert add(database, 0, 0) == [Sum(3, after(60)), Sum(12, after(60))]
    add(database, 10, seconds=60, ends=120)
    correct(database, -3, ends=60)
    assert add(database, 0, seconds=60, ends=120) == [Sum(10, after(120))]


def test_a_savepoint_that_is_rolled_back_leaves_nothing(database: Database) -> None:
    """Neither new counters nor changes of old ones."""
    pour(database)
    add(database, 5)
    before = ends(database)
    with database.write() as connection:
        savepoint = connection.begin_nested()
        counting.pour(connection, [Drop(BUCKET, HERS), Drop(BUCKET, HIS)], NOON)
        counting.add(connection, _amounts([7, 9], 60), NOON)
        savepoint.rollback()
    assert ends(database) == before
    assert add(database, 0) == [Sum(5, after(60))]
