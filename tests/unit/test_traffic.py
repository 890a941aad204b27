"""Traffic: what is learned of a country and a prefix, over hours, days and clocks that jump."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.database import Database
from tests.conftest import Clock
from verification.policy import traffic
from verification.policy.facts import RecentTraffic, SpanTraffic
from verification.policy.models import Traffic
from verification.policy.traffic import (
    MAX_UNVERIFIED_RATIO,
    PRIOR_UNVERIFIED_RATIO,
    PRIOR_WEIGHT,
    CountedTraffic,
    ends_in,
    purge_traffic,
)

NOON = Clock.now
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PREFIX, COUNTRY = "+4915112", "DE"


class Flow:
    """Traffic in a database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def send(
        self, at: datetime = NOON, prefix: str = PREFIX, country: str = COUNTRY
    ) -> CountedTraffic:
        """Count a send."""
        with self.database.write() as connection:
            return traffic.count(connection, prefix, country, at)

    def past(self, at: datetime, sends: int, verified: int = 0, prefix: str = PREFIX) -> None:
        """Let there have been so much."""
        with self.database.write() as connection:
            cells = traffic.traffic_keys(prefix, COUNTRY, at)
            traffic.add(connection, cells, sends=sends, verified=verified)

    def rows(self) -> dict[tuple[str, str], list[tuple[int, int]]]:
        """Read all, the newest of each last."""
        columns = Traffic.__table__.columns
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        with self.database.read() as connection:
            for row in connection.execute(select(*columns).order_by(columns.start)):
                found.setdefault((row.scope, row.span), []).append((row.sends, row.verified))
        return found


@pytest.fixture
def flow(database: Database) -> Flow:
    """No traffic yet."""
    return Flow(database)


def test_the_first_send_of_a_country(flow: Flow) -> None:
    """Is counted in the hour and in the day of its prefix and its country, and nothing is known."""
    first = SpanTraffic(1, 0, 0, 0)
    counted = flow.send()
    assert (counted.prefix, counted.country) == (
        RecentTraffic(first, first),
        RecentTraffic(first, first),
    )
    assert counted.unverified_ratio == PRIOR_UNVERIFIED_RATIO
    scopes = [(cell.scope, cell.span) for cell in counted.keys]
    assert scopes == [(PREFIX, "hour"), (PREFIX, "day"), (COUNTRY, "hour"), (COUNTRY, "day")]
    assert list(flow.rows().values()) == [[(1, 0)]] * 4


def test_sends_add_up(flow: Flow) -> None:
    """Those of other prefixes count for the country, those of other countries for neither."""
    flow.send()
    flow.send(prefix="+4917100")
    flow.send(prefix="+3361234", country="FR")
    counted = flow.send()
    assert (counted.prefix.day.sends, counted.country.day.sends) == (2, 3)


def test_hours_and_days_change(flow: Flow) -> None:
    """A new hour counts from one while its day goes on; a new day counts from one."""
    late = NOON.replace(hour=22, minute=59, second=59)
    for at in (late, late):
        flow.send(at)
    seen = [flow.send(late + timedelta(seconds=s)) for s in (1, 3601)]
    assert [(one.prefix.hour.sends, one.prefix.day.sends) for one in seen] == [(1, 3), (1, 1)]


def test_the_best_and_the_last_span(flow: Flow) -> None:
    """The best of those before, the last directly before; this one is the last once it is more."""
    for hours, verified in ((1, 4), (2, 3), (5, 9), (24, 8), (25, 100)):
        flow.past(NOON - hours * HOUR, verified, verified)
    counted = flow.send()
    assert counted.prefix.hour == SpanTraffic(1, 0, best=9, last=4)
    flow.past(NOON, 6, 6)
    assert flow.send().prefix.hour == SpanTraffic(8, 6, best=9, last=6)
    assert flow.send(NOON + 2 * HOUR).prefix.hour.last == 0


def test_how_far_back_days_count(flow: Flow) -> None:
    """Fourteen, and not this one."""
    flow.past(NOON - 14 * DAY, 7, 7)
    flow.past(NOON - 15 * DAY, 50, 50)
    flow.past(NOON, 30, 30)
    assert flow.send().country.day == SpanTraffic(31, 30, best=7, last=30)


def usual(sends: int, verified: int) -> float:
    """Say what is believed after so much."""
    unverified = sends - verified
    return min(
        MAX_UNVERIFIED_RATIO,
        (unverified + PRIOR_UNVERIFIED_RATIO * PRIOR_WEIGHT) / (verified + PRIOR_WEIGHT),
    )


def test_what_usually_stays_unverified_is_learned(flow: Flow) -> None:
    """From the country's earlier days; of today, which is being judged, nothing is believed."""
    flow.past(NOON - DAY, 1_000, 900)
    flow.past(NOON - 2 * DAY, 500, 400)
    flow.past(NOON, 10_000, 0)
    assert flow.send().unverified_ratio == pytest.approx(usual(1_500, 1_300))
    assert usual(1_500, 1_300) < PRIOR_UNVERIFIED_RATIO


def test_no_country_is_believed_to_be_worse_than_one_for_one(flow: Flow) -> None:
    """A country that attackers own earns nothing by it."""
    flow.past(NOON - DAY, 10_000, 5)
    assert flow.send().unverified_ratio == MAX_UNVERIFIED_RATIO


def test_days_that_verified_more_than_they_sent(flow: Flow) -> None:
    """Codes of before midnight are typed in after it: that takes nothing from other days."""
    flow.past(NOON - DAY, 0, 40)
    flow.past(NOON - 2 * DAY, 100, 60)
    assert flow.send().unverified_ratio == pytest.approx(usual(140, 100))


@pytest.mark.parametrize("back", [HOUR, 7 * HOUR, DAY, 40 * DAY])
def test_a_clock_set_back_reopens_nothing(flow: Flow, back: timedelta) -> None:
    """Later hours and days count with the one that the clock says it is."""
    for _ in range(3):
        flow.send()
    counted = flow.send(NOON - back)
    assert (counted.prefix.hour.sends, counted.prefix.day.sends) == (4, 4)
    assert (counted.country.hour.sends, counted.country.day.sends) == (4, 4)
    assert flow.send(NOON - back).country.hour.sends == 5
    assert flow.send().prefix.hour.sends == 4


def test_who_verifies_under_a_clock_set_back_is_believed(flow: Flow) -> None:
    """What is verified counts where what was sent does, so that nobody is locked out until later."""
    for _ in range(3):
        flow.send(NOON + DAY)
    for _ in range(3):
        flow.send()
    flow.past(NOON, 0, 3)
    counted = flow.send()
    assert (counted.prefix.day.unverified, counted.country.hour.unverified) == (4, 4)


def test_a_clock_set_forward(flow: Flow) -> None:
    """It begins the later hour; set right again, both count until that is over."""
    flow.past(NOON, 5, 5)
    assert flow.send(NOON + HOUR).prefix.hour == SpanTraffic(1, 0, best=5, last=5)
    assert flow.send().prefix.hour == SpanTraffic(7, 5, best=0, last=5)
    assert flow.send(NOON + HOUR).prefix.hour == SpanTraffic(2, 0, best=5, last=5)


def test_what_did_not_happen_is_taken_back(flow: Flow) -> None:
    """From the rows that it was counted in, though the clock went on."""
    flow.send()
    before = flow.rows()
    counted = flow.send()
    with flow.database.write() as connection:
        traffic.add(connection, counted.keys, sends=-1)
    assert flow.rows() == before


@pytest.mark.parametrize(
    ("at", "hour", "day"),
    [
        (NOON, 3600, 43_200),
        (NOON + timedelta(microseconds=1), 3600, 43_200),
        (NOON + timedelta(seconds=1), 3599, 43_199),
        (NOON + timedelta(hours=11, minutes=59, seconds=59.5), 1, 1),
        (NOON.replace(hour=0), 3600, 86_400),
    ],
)
def test_when_a_span_ends(at: datetime, hour: int, day: int) -> None:
    """Rounded up, so that whoever comes back then is in the next one."""
    assert (ends_in("hour", at), ends_in("day", at)) == (hour, day)


def test_what_nobody_looks_back_at_is_purged(flow: Flow) -> None:
    """And one span more is kept, for a clock that is set back."""
    for hours in (23, 25, 26):
        flow.past(NOON - hours * HOUR, 1)
    for days in (13, 15, 16):
        flow.past(NOON - days * DAY, 1)
    before = flow.send(NOON)

    def purge() -> Any:
        with flow.database.write() as connection:
            return purge_traffic(connection, NOON)

    assert purge() > 0
    assert purge() == 0
    rows = flow.rows()
    assert len(rows[COUNTRY, "h"]) == 3
    assert len(rows[COUNTRY, "d"]) == 4
    after = flow.send(NOON)
    assert after.unverified_ratio == before.unverified_ratio
