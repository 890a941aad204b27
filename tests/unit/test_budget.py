"""The arithmetic of a budget, and its row."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.database import Database
from core.problems import Problem
from discovery.budget import (
    DAY_SECONDS,
    MAX_REMEMBERED_CHARGES,
    UNITS_PER_HASH,
    Balance,
    Bucket,
    Budgets,
    Charge,
    Payment,
    Tier,
    Tiers,
)
from discovery.problems import BudgetExhausted, BudgetTooSmall

TIER = Tier("default", 2_500, 50)
PARTNER = Tier("partner", 20_000, 500)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY_US = DAY_SECONDS * 1_000_000
ME, BEFORE = b"m" * 16, b"b" * 16


def charge(hashes: int, name: int = 0, epoch: int = 1) -> Charge:
    """Name a set of so many hashes; another `name` is another set."""
    return Charge(hashes, epoch, bytes([epoch, hashes % 251, name % 256, name // 256]) * 4)


def pay(bucket: Bucket, hashes: int, **identity: int) -> Bucket:
    """Pay, which must be possible."""
    paid = bucket.pay(charge(hashes, **identity), TIER)
    assert paid is not None
    return paid


def test_a_new_number_has_its_burst_and_not_one_more() -> None:
    """2,500 at once are paid, 2,501 are refused whole."""
    assert Bucket().pay(charge(2_501), TIER) is None
    full = pay(Bucket(), 2_500)
    assert full.balance(TIER) == Balance(0, 2_500, 50)
    assert full.pay(charge(1), TIER) is None


def test_it_leaks_fifty_a_day_and_no_faster() -> None:
    """A hash is free again after 28.8 minutes exactly, all of them after 50 days."""
    full = pay(Bucket(at_us=1), 2_500)
    one = 1_728_000_000
    assert full.as_of(one, TIER).balance(TIER).left == 0
    assert full.as_of(one + 1, TIER).balance(TIER).left == 1
    assert full.as_of(DAY_US + 1, TIER).balance(TIER).left == 50
    assert full.as_of(50 * DAY_US + 1, TIER) == Bucket(
        0, 50 * DAY_US + 1, full.epoch, full.paid, 0, full.recent
    )


def test_leaking_in_small_steps_is_no_faster() -> None:
    """Looking often gains nothing: what a step rounds away stays in the bucket."""
    often = once = pay(Bucket(), 2_500)
    for moment in range(0, DAY_US, 7_777_777_777):
        often = often.as_of(moment, TIER)
    last = often.at_us
    assert often.spent >= once.as_of(last, TIER).spent
    assert often.balance(TIER) == once.as_of(last, TIER).balance(TIER)


def test_a_clock_that_jumps_back_gives_nothing() -> None:
    """Nothing leaks until the clock has caught up with where it was."""
    bucket = pay(Bucket(at_us=10 * DAY_US), 2_500)
    back = bucket.as_of(DAY_US, TIER)
    assert back == bucket
    assert back.as_of(10 * DAY_US, TIER).balance(TIER).left == 0


@pytest.mark.parametrize(("hashes", "seconds"), [(1, 1_728), (50, 86_400), (2_500, 50 * 86_400)])
def test_it_says_when_there_is_enough(hashes: int, seconds: int) -> None:
    """At that second the charge is paid, a second before it is not."""
    empty = pay(Bucket(), 2_500)
    asked = charge(hashes, name=1)
    assert empty.wait(asked, TIER) == seconds
    assert empty.as_of((seconds - 1) * 1_000_000, TIER).pay(asked, TIER) is None
    assert empty.as_of(seconds * 1_000_000, TIER).pay(asked, TIER) is not None


def test_the_same_set_is_known_again_for_a_while() -> None:
    """The last eight sets cost nothing when they come again; one that came before those does."""
    bucket = Bucket()
    for name in range(MAX_REMEMBERED_CHARGES + 1):
        bucket = pay(bucket, 3, name=name)
    assert [bucket.knows(charge(3, name)) for name in range(MAX_REMEMBERED_CHARGES + 1)] == [
        False
    ] + [True] * MAX_REMEMBERED_CHARGES
    assert not bucket.knows(charge(3, 1, epoch=2))


def test_a_new_epoch_lets_as_many_be_asked_again() -> None:
    """What was paid for in the epoch before is free in the next, once, and not a hash more."""
    bucket = pay(pay(Bucket(), 1_000, name=1), 500, name=2)
    again = pay(bucket, 1_200, epoch=2)
    assert (again.balance(TIER).left, again.free, again.paid) == (1_000, 300, 1_200)
    more = pay(again, 400, name=3, epoch=2)
    assert (more.balance(TIER).left, more.free, more.paid) == (900, 0, 1_600)
    assert more.pay(charge(901, 4, epoch=2), TIER) is None


def test_the_old_epoch_costs_and_gives_nothing_after_the_new_one() -> None:
    """Whoever goes on in the epoch before pays for it, and may re-evaluate no more for it."""
    bucket = pay(pay(Bucket(), 100, epoch=1), 100, epoch=2)
    late = pay(bucket, 10, name=5, epoch=1)
    assert (late.epoch, late.paid, late.free) == (2, 100, 0)
    assert late.balance(TIER).left == 2_500 - 110


class TestRow:
    """The row, on both databases."""

    budgets = Budgets(Tiers(TIER, {"partner": PARTNER}))

    def take(self, database: Database, hashes: int, **by: Any) -> Balance | Problem:
        """Charge somebody in a transaction of its own."""
        at, subjects, tier = by.pop("at", NOW), by.pop("subjects", [ME]), by.pop("tier", None)
        with database.write() as connection:
            paid = self.budgets.charge(connection, subjects, charge(hashes, **by), at, tier)
        return paid.balance if isinstance(paid, Payment) else paid

    def test_a_charge_is_kept(self, database: Database) -> None:
        """What was paid is paid for whoever looks, and leaks as time passes."""
        assert self.take(database, 2_000) == Balance(500, 2_500, 50)
        with database.read() as connection:
            assert self.budgets.balance(connection, [ME], NOW) == Balance(500, 2_500, 50)
            later = NOW + timedelta(days=2)
            assert self.budgets.balance(connection, [ME], later) == Balance(600, 2_500, 50)
            assert self.budgets.balance(connection, [BEFORE], NOW) == Balance(2_500, 2_500, 50)

    def test_the_same_charge_again_costs_nothing(self, database: Database) -> None:
        """A repeated request is answered the same, even when the budget is used up."""
        nothing = Balance(0, 2_500, 50)
        with database.write() as connection:
            paid = [self.budgets.charge(connection, [ME], charge(2_500), NOW) for _ in range(2)]
        assert paid == [Payment(nothing, 2_500), Payment(nothing, 0)]
        assert isinstance(self.take(database, 1), BudgetExhausted)

    def test_a_refusal_says_what_is_left_and_when(self, database: Database) -> None:
        """Nothing is taken by it."""
        self.take(database, 2_400)
        refused = self.take(database, 200, name=1)
        assert isinstance(refused, BudgetExhausted)
        assert refused.members == {"left": 100, "capacity": 2_500, "needed": 200}
        assert refused.retry_after == 100 * 1_728
        assert refused.headers()["RateLimit-Policy"] == '"discovery";q=2500;w=4320000'
        assert self.take(database, 100, name=2) == Balance(0, 2_500, 50)

    def test_more_than_it_ever_holds_is_refused_for_good(self, database: Database) -> None:
        """Waiting would not help, so nobody is told to."""
        refused = self.take(database, 2_501)
        assert isinstance(refused, BudgetTooSmall)
        assert refused.members == {"left": 2_500, "capacity": 2_500, "needed": 2_501}
        assert refused.retry_after is None

    def test_re_evaluation_may_be_more_than_it_holds(self, database: Database) -> None:
        """In a new epoch a page is not too large while what it costs is not."""
        self.take(database, 2_500)
        self.take(database, 50, name=1, at=NOW + timedelta(days=1))
        assert self.take(database, 2_550, epoch=2, at=NOW + timedelta(days=1)) == Balance(
            0, 2_500, 50
        )

    def test_a_tier_of_the_operator_holds_until_it_is_gone(self, database: Database) -> None:
        """What was spent stays spent, whatever the size of the bucket."""
        self.take(database, 2_500)
        with database.write() as connection:
            self.budgets.assign(connection, [ME], "partner", NOW)
        assert self.take(database, 7_500, name=1) == Balance(10_000, 20_000, 500)
        assert Budgets(Tiers(TIER, {})).tiers.find("partner") == TIER
        with database.write() as connection:
            self.budgets.assign(connection, [ME], None, NOW)
        assert isinstance(self.take(database, 1, name=2), BudgetExhausted)

    def test_a_tier_may_come_with_the_charge(self, database: Database) -> None:
        """A subject whose budget is known elsewhere brings it."""
        assert self.take(database, 9_000, tier=PARTNER) == Balance(11_000, 20_000, 500)

    def test_a_rotated_secret_gives_nobody_a_new_budget(self, database: Database) -> None:
        """The row goes on under the number's name of the present secret."""
        self.take(database, 2_000, subjects=[BEFORE])
        with database.read() as connection:
            assert self.budgets.balance(connection, [ME, BEFORE], NOW).left == 500
        assert self.take(database, 300, name=1, subjects=[ME, BEFORE]) == Balance(200, 2_500, 50)
        assert self.take(database, 200, name=2) == Balance(0, 2_500, 50)
        with database.read() as connection:
            assert self.budgets.balance(connection, [BEFORE], NOW).left == 2_500

    def test_what_an_operator_gave_is_never_purged(self, database: Database) -> None:
        """A tier outlives years in which it was not used."""
        self.take(database, 1)
        with database.write() as connection:
            self.budgets.assign(connection, [ME], "partner", NOW)
        with database.write() as connection:
            assert Budgets.purge(connection, NOW + timedelta(days=2_000)) == 0


def test_a_whole_is_a_million_parts() -> None:
    """A day's refill is whole parts at every moment: no microsecond of the default rounds."""
    assert UNITS_PER_HASH == 1_000_000
    assert Bucket(spent=50 * UNITS_PER_HASH).as_of(DAY_US, TIER).spent == 0
