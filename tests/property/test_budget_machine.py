"""A budget as a state machine: whatever is asked, repeated, rotated or waited for, it pays no more."""

from collections import deque
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from discovery.budget import MAX_REMEMBERED_CHARGES, UNITS_PER_HASH, Bucket, Charge, Tier

TIER = Tier("default", 100, 7)

DAY_US = 86_400 * 1_000_000


class BudgetMachine(RuleBasedStateMachine):
    """A model in exact fractions beside the code's whole millionths."""

    def __init__(self) -> None:
        super().__init__()
        self.bucket = Bucket()
        self.now_us = 0
        self.epoch = 1
        #: The model: what it holds, exactly; what was paid for by epoch; the sets it knows.
        self.holds = Fraction(TIER.capacity)
        self.asked_in = {1: 0}
        self.free = 0
        self.known: deque[Charge] = deque(maxlen=MAX_REMEMBERED_CHARGES)
        self.sets = 0
        #: All that was ever charged to the bucket.
        self.spent = 0

    @rule(microseconds=st.integers(0, 20 * DAY_US))
    def wait(self, microseconds: int) -> None:
        """Let time pass."""
        self.now_us += microseconds
        self.holds = min(
            Fraction(TIER.capacity), self.holds + Fraction(microseconds * TIER.per_day, DAY_US)
        )
        self.bucket = self.bucket.as_of(self.now_us, TIER)

    @rule(hashes=st.integers(1, 130), late=st.booleans())
    def ask(self, hashes: int, late: bool) -> None:
        """Ask about a new set, in the current epoch or the one before."""
        epoch = max(1, self.epoch - 1) if late else self.epoch
        self.sets += 1
        charge = Charge(hashes, epoch, self.sets.to_bytes(16, "big"))
        # With the first charge of an epoch as many as were asked about in the one before are free.
        first = epoch > self.bucket.epoch
        allowed = self.asked_in.get(self.bucket.epoch, 0) if first else self.free
        newest = max(epoch, self.bucket.epoch)
        free = min(allowed, hashes) if epoch == newest else 0
        cost = hashes - free
        paid = self.bucket.pay(charge, TIER)
        if paid is None:
            # Refused rightly: it holds less, but for what millionths have rounded away.
            assert self.holds < cost + Fraction(self.sets + 100, UNITS_PER_HASH)
            wait = self.bucket.wait(charge, TIER)
            if cost <= TIER.capacity:
                later = self.bucket.as_of(self.now_us + wait * 1_000_000, TIER)
                assert later.pay(charge, TIER) is not None
            return
        assert cost <= self.holds
        self.holds -= cost
        self.spent += cost
        if epoch == newest:
            self.free = allowed - free
            self.asked_in[epoch] = self.asked_in.get(epoch, 0) + hashes
        self.known.appendleft(charge)
        self.bucket = paid

    @precondition(lambda self: self.known)
    @rule(which=st.integers(0, MAX_REMEMBERED_CHARGES - 1))
    def repeat(self, which: int) -> None:
        """Repeat one of the last requests, whose answer was lost: it is known."""
        assert self.bucket.knows(self.known[which % len(self.known)])

    @rule()
    def rotate(self) -> None:
        """Begin a new epoch."""
        self.epoch += 1

    @invariant()
    def it_never_pays_more_than_it_was_given(self) -> None:
        """All that was charged is at most the burst and what was refilled since the beginning."""
        given = TIER.capacity + Fraction(self.now_us * TIER.per_day, DAY_US)
        assert self.spent <= given
        assert 0 <= self.bucket.balance(TIER).left <= TIER.capacity

    @invariant()
    def it_is_never_ahead_of_the_model(self) -> None:
        """Rounding is to the strict side, and less than a hash."""
        held = TIER.capacity - Fraction(self.bucket.spent, UNITS_PER_HASH)
        assert self.holds - 1 < held <= self.holds

    @invariant()
    def its_row_stays_small(self) -> None:
        """No more is kept than a few numbers and the last fingerprints."""
        assert len(self.bucket.recent) <= 16 * MAX_REMEMBERED_CHARGES


BudgetMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBudget = BudgetMachine.TestCase
