"""Limits in SQL: buckets and windows count what they say, on both databases and on any clock."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from core import rate_limits
from core.clock import DAY
from core.database import Database
from core.problems import RateLimitStatus
from core.rate_limit_statements import RateLimitCounter
from core.rate_limits import RateLimit, purge_expired
from verification.limits import WRONG_CODES, WRONG_CODES_6_DIGITS

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BUCKET = RateLimit("bucket", 4, timedelta(seconds=40))
WINDOW = RateLimit("window", 3, timedelta(seconds=30), algorithm="fixed-window")
HERS, HIS = b"h" * 16, b"i" * 16
SUBJECTS: Iterator[int] = itertools.count(1)

by_hypothesis = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def after(seconds: float) -> datetime:
    """Give the time so many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def consume(
    database: Database, limit: RateLimit, seconds: float = 0, subject: bytes = HERS
) -> tuple[bool, RateLimitStatus]:
    """Count one in a transaction of its own."""
    with database.write() as connection:
        return rate_limits.consume(connection, limit, subject, after(seconds))


def remaining(
    database: Database, limit: RateLimit, seconds: float = 0, subject: bytes = HERS
) -> int:
    """Return what is left."""
    with database.read() as connection:
        return rate_limits.peek(connection, limit, subject, after(seconds)).remaining


def fresh_subject() -> bytes:
    """Name somebody nothing was counted of yet."""
    return next(SUBJECTS).to_bytes(16, "big")


def test_a_bucket_counts_down_and_says_when(database: Database) -> None:
    """It gives its capacity at once, then one more every period / capacity."""
    answers = [consume(database, BUCKET) for _ in range(5)]
    assert [allowed for allowed, _ in answers] == [True] * 4 + [False]
    assert [status.remaining for _, status in answers] == [3, 2, 1, 0, 0]
    assert [status.retry_after for _, status in answers] == [0, 0, 0, 10, 10]
    assert answers[0][1][:3] == ("bucket", 4, 40)
    assert not consume(database, BUCKET, 9.999999)[0]
    assert consume(database, BUCKET, 10)[0]
    assert not consume(database, BUCKET, 10)[0]


def test_waits_are_rounded_up(database: Database) -> None:
    """Whoever comes back after the whole seconds that were said is served."""
    for _ in range(4):
        consume(database, BUCKET)
    allowed, status = consume(database, BUCKET, 3.5)
    assert (allowed, status.retry_after) == (False, 7)
    assert consume(database, BUCKET, 3.5 + 7)[0]


def test_a_bucket_is_full_after_a_period(database: Database) -> None:
    """A refused try costs nothing, and idle time saves up no more than the capacity."""
    for _ in range(6):
        consume(database, BUCKET)
    assert [remaining(database, BUCKET, seconds) for seconds in (0, 10, 25, 40, 4000)] == [
        0,
        1,
        2,
        4,
        4,
    ]
    assert sum(consume(database, BUCKET, 4000)[0] for _ in range(6)) == 4


def test_a_window_opens_with_the_first_and_forgets_at_its_end(database: Database) -> None:
    """It refills nothing before its end, and everything then."""
    assert [consume(database, WINDOW, s)[0] for s in (0, 10, 20, 29.999999)] == [True] * 3 + [False]
    assert remaining(database, WINDOW, 29.9) == 0
    allowed, status = consume(database, WINDOW, 29.5)
    assert (allowed, status.retry_after) == (False, 1)
    assert remaining(database, WINDOW, 30) == 3
    assert [consume(database, WINDOW, 30)[0] for _ in range(4)] == [True] * 3 + [False]
    assert not consume(database, WINDOW, 59)[0]


@pytest.mark.parametrize("limit", [BUCKET, WINDOW], ids=lambda limit: limit.name)
def test_a_look_spends_nothing(database: Database, limit: RateLimit) -> None:
    """Looking leaves everything as it is, and writes nothing for somebody new."""
    assert [remaining(database, limit) for _ in range(5)] == [limit.quota] * 5
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(RateLimitCounter)) == 0
    consume(database, limit)
    assert [remaining(database, limit) for _ in range(5)] == [limit.quota - 1] * 5


@pytest.mark.parametrize("limit", [BUCKET, WINDOW], ids=lambda limit: limit.name)
def test_one_is_refunded(database: Database, limit: RateLimit) -> None:
    """What is refunded can be consumed once more, also from a limit that was used up."""
    for _ in range(limit.quota):
        consume(database, limit)
    with database.write() as connection:
        rate_limits.refund(connection, limit, HERS)
    assert remaining(database, limit) == 1
    assert [consume(database, limit)[0] for _ in range(2)] == [True, False]


@pytest.mark.parametrize("limit", [BUCKET, WINDOW], ids=lambda limit: limit.name)
def test_forgetting_is_of_one_limit_and_subject(database: Database, limit: RateLimit) -> None:
    """Everything is there again; somebody else's count and other limits stay."""
    other = RateLimit("other", 2, DAY)
    for subject in (HERS, HIS):
        consume(database, limit, subject=subject)
        consume(database, other, subject=subject)
    with database.write() as connection:
        rate_limits.reset(connection, limit, HERS)
    assert remaining(database, limit) == limit.quota
    assert remaining(database, limit, subject=HIS) == limit.quota - 1
    assert remaining(database, other) == 1


def test_limits_of_one_name_share_their_count(database: Database) -> None:
    """The 25 judged at 6 digits are the first of the 2,500 in all."""
    for n in range(27):
        assert consume(database, WRONG_CODES_6_DIGITS)[0] is (n < 25)
    assert remaining(database, WRONG_CODES) == 2475
    assert consume(database, WRONG_CODES)[0]


def test_a_smaller_limit_holds_at_once(database: Database) -> None:
    """What was counted under a larger limit counts under a smaller one, and never below zero."""
    many, few = RateLimit("sends", 7, DAY), RateLimit("sends", 3, DAY)
    assert [consume(database, many)[0] for _ in range(8)] == [True] * 7 + [False]
    allowed, status = consume(database, few)
    assert not allowed
    assert status.remaining == 0


def test_counters_move_to_the_digest_under_the_new_secret(database: Database) -> None:
    """Named counters are carried over, once; others, and those that are there already, are not."""
    old, new = fresh_subject(), fresh_subject()
    for _ in range(2):
        consume(database, BUCKET, subject=old)
    consume(database, WINDOW, subject=old)
    with database.write() as connection:
        rate_limits.transfer(connection, ("bucket",), [new, old])
    assert remaining(database, BUCKET, subject=new) == 2
    assert remaining(database, WINDOW, subject=new) == 3
    consume(database, BUCKET, subject=new)
    consume(database, BUCKET, subject=old)
    with database.write() as connection:
        rate_limits.transfer(connection, ("bucket",), [new, old])
    assert remaining(database, BUCKET, subject=new) == 1
    with database.write() as connection:
        rate_limits.transfer(connection, ("bucket",), [new])
    assert remaining(database, BUCKET, subject=new) == 1


@by_hypothesis
@given(capacity=st.integers(1, 12), gaps=st.lists(st.integers(0, 60_000_000), max_size=25))
def test_a_bucket_is_gcra(database: Database, capacity: int, gaps: list[int]) -> None:
    """Whatever the arrivals, it decides and tells as the virtual scheduling algorithm of I.371."""
    limit = RateLimit("model", capacity, timedelta(seconds=60))
    interval, subject, now, arrival = 60_000_000 // capacity, fresh_subject(), 0, 0
    with database.write() as connection:
        for gap in gaps:
            now += gap
            expected = arrival - now <= 60_000_000 - interval
            if expected:
                arrival = max(arrival, now) + interval
            allowed, status = rate_limits.consume(
                connection, limit, subject, after(now / 1_000_000)
            )
            assert allowed is expected
            room = 60_000_000 - max(0, arrival - now)
            assert status.remaining == room // interval
            wait = 0 if room >= interval else -(-(interval - room) // 1_000_000)
            assert status.retry_after == wait


@by_hypothesis
@given(moves=st.lists(st.integers(-20_000_000, 45_000_000), max_size=20))
@pytest.mark.parametrize("limit", [BUCKET, WINDOW], ids=lambda limit: limit.name)
def test_a_clock_that_jumps_back_gives_nothing_extra(
    database: Database, limit: RateLimit, moves: list[int]
) -> None:
    """Time that is lived through twice is paid for once, at any pace of asking."""
    subject, now, given = fresh_subject(), 0, 0
    times = [0]
    with database.write() as connection:
        for move in moves:
            now += move
            times.append(now)
            for _ in range(2):
                given += rate_limits.consume(connection, limit, subject, after(now / 1_000_000))[0]
    span = max(times) - min(times)
    if limit.algorithm == "gcra":
        assert given <= limit.quota + span // limit.interval_us
    else:
        assert given <= limit.quota * (1 + span // limit.period_us)


@pytest.mark.parametrize("limit", [BUCKET, WINDOW], ids=lambda limit: limit.name)
def test_an_hour_back_is_stricter(database: Database, limit: RateLimit) -> None:
    """A limit that is used up stays so when the clock goes back, and says how long."""
    for _ in range(limit.quota):
        consume(database, limit)
    allowed, status = consume(database, limit, -3600)
    assert not allowed
    assert status.remaining == 0
    assert status.retry_after > 3600


def test_what_limits_nothing_any_more_is_worthless(database: Database) -> None:
    """Purging a counter whose time has passed changes no limit."""
    consume(database, BUCKET)
    consume(database, WINDOW)
    with database.write() as connection:
        assert purge_expired(connection, after(10)) == 0
        assert purge_expired(connection, after(10.000001)) == 1
        assert purge_expired(connection, after(30.000001)) == 1
    assert remaining(database, BUCKET, 10.1) == 4
    assert remaining(database, WINDOW, 30.1) == 3
