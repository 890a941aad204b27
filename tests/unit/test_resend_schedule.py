"""The resend schedule: when a verification may send again, from what it has sent."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.provider import Channel
from verification.resend_schedule import CALL_WAITS, MAX_CALLS, SMS_WAITS, SendHistory

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return the time so many seconds after the start."""
    return START + timedelta(seconds=seconds)


def history(
    sms: int = 1,
    calls: int = 0,
    *,
    last_sms: float | None = 0,
    last_call: float | None = None,
    life: float = 600,
) -> SendHistory:
    """Build what a verification sent so far."""
    return SendHistory(
        START,
        at(life),
        sms,
        calls,
        None if last_sms is None else at(last_sms),
        None if last_call is None else at(last_call),
    )


@pytest.mark.parametrize(
    ("count", "wait"), [(1, 60), (2, 120), (3, 300), (4, 600), (5, None), (9, None)]
)
def test_texts_wait_longer_each_time(count: int, wait: int | None) -> None:
    """After the first text it is 60 seconds, then 120, 300 and 600, then never."""
    sent = history(count, last_sms=10, life=3600)
    assert sent.next_at("sms") == (None if wait is None else at(10 + wait))


@pytest.mark.parametrize(("count", "wait"), [(1, 60), (2, 120), (3, None), (4, None)])
def test_three_calls_at_most(count: int, wait: int | None) -> None:
    """After the first call it is 60 seconds, then 120, then never."""
    sent = history(1, count, last_call=70, life=3600)
    assert sent.next_at("voice") == (None if wait is None else at(70 + wait))
    assert MAX_CALLS == 3


def test_the_first_call_waits_for_the_first_text() -> None:
    """It comes from a minute after the start, however many texts went out since."""
    assert history().next_at("voice") == at(60)
    assert history(3, last_sms=400).next_at("voice") == at(60)


def test_a_text_after_a_call_that_came_first() -> None:
    """A verification that started with a call texts from a minute after it."""
    sent = history(0, 1, last_sms=None, last_call=0)
    assert (sent.next_at("sms"), sent.next_at("voice")) == (at(60), at(60))


def test_nothing_is_sent_past_the_end() -> None:
    """A next send that would come when the code is dead never comes."""
    assert history(3, last_sms=299).next_at("sms") == at(599)
    assert history(3, last_sms=300).next_at("sms") is None
    assert history().seconds_until("sms", at(599)) == 0
    assert history().seconds_until("sms", at(600)) is None


@pytest.mark.parametrize(
    ("now", "wait"), [(0, 60), (0.1, 60), (59, 1), (59.999999, 1), (60, 0), (500, 0)]
)
def test_waits_are_whole_seconds_rounded_up(now: float, wait: int) -> None:
    """Whoever comes back after the seconds that were said is not too soon."""
    assert history().seconds_until("sms", at(now)) == wait


@given(
    st.integers(0, 6),
    st.integers(0, 5),
    st.floats(0, 3600),
    st.floats(0, 4000),
    st.sampled_from(["sms", "voice"]),
)
def test_the_wait_that_is_said_is_enough(
    sms: int, calls: int, last: float, now: float, channel: Channel
) -> None:
    """After the wait it is 0 seconds or the verification is over; a second earlier it is not."""
    last_sms, last_call = last if sms else None, last if calls else None
    sent = history(sms, calls, last_sms=last_sms, last_call=last_call, life=3600)
    wait = sent.seconds_until(channel, at(now))
    if wait is None:
        assert sent.next_at(channel) is None or at(now) >= sent.expires_at
    else:
        assert 0 <= wait <= 3600 + max(*SMS_WAITS, *CALL_WAITS).total_seconds()
        assert sent.seconds_until(channel, at(now) + timedelta(seconds=wait)) in (0, None)
        if wait > 1:
            assert sent.seconds_until(channel, at(now) + timedelta(seconds=wait - 1)) == 1
