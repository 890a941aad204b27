"""Lookup budgets: how many new hashes a number or a service may look up.

A budget is a leaky bucket, a row of `discovery_budgets`. It belongs to the number, so registering again
does not refill it; a service's belongs to its name. A lookup is charged or refused as a whole, under the
lock of the row and before anything is matched. No hash is stored. Of the last charges a keyed fingerprint
each is kept, so that a request repeated after a lost answer costs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Executable, bindparam, select, update

from core.clock import unix_microseconds
from core.database import insert_into, purge, table
from core.problems import Problem, RateLimitStatus
from discovery.models import DiscoveryBudget
from discovery.problems import BudgetExhausted, BudgetTooSmall
from discovery.settings import DiscoverySettings

NAME = "discovery"
DAY_SECONDS = 86_400
#: A bucket counts in millionths of a hash.
UNITS_PER_HASH = 1_000_000
FINGERPRINT_SIZE = 16
#: Charges of which a fingerprint is kept.
MAX_REMEMBERED_CHARGES = 8
#: How long a row is kept after its last charge: its bucket has leaked empty ten times over.
RETENTION = timedelta(days=500)


@dataclass(frozen=True)
class Tier:
    """A size of budgets: new hashes at once, and more a day."""

    name: str
    capacity: int
    per_day: int


@dataclass(frozen=True)
class Tiers:
    """All tiers; a number has the default one until an operator assigns another."""

    default: Tier
    others: Mapping[str, Tier]

    @classmethod
    def from_settings(cls, settings: DiscoverySettings) -> "Tiers":
        """Return the tiers that the operator set."""
        default = Tier("default", settings.discovery_burst, settings.discovery_per_day)
        tiers = [text.split(":") for text in settings.discovery_tiers]
        return cls(default, {name: Tier(name, int(n), int(m)) for name, n, m in tiers})

    def find(self, name: str | None) -> Tier:
        """Return a tier by its name; the default one if there is none of that name."""
        return self.others.get(name or "", self.default)


class Charge(NamedTuple):
    """A set of hashes to pay for."""

    hashes: int
    epoch: int
    fingerprint: bytes


class Balance(NamedTuple):
    """What a budget holds."""

    left: int
    capacity: int
    refill_per_day: int

    def rate_limit_status(self, retry_after: int = 0) -> RateLimitStatus:
        """Return it for the `RateLimit` header fields."""
        period = self.capacity * DAY_SECONDS // self.refill_per_day
        return RateLimitStatus(NAME, self.capacity, period, self.left, retry_after)


class Payment(NamedTuple):
    """The result of a charge; `hashes` is 0 if the set was paid for before."""

    balance: Balance
    hashes: int


@dataclass(frozen=True)
class Bucket:
    """The state of a budget at a time.

    spent: millionths of a hash. at_us: microseconds since 1970. A clock that jumps back makes it stricter:
    nothing leaks until the clock has caught up.
    """

    spent: int = 0
    at_us: int = 0
    epoch: int = 0
    #: Payment for in that epoch.
    paid: int = 0
    #: Hashes that may be looked up again in it for free.
    free: int = 0
    recent: bytes = b""

    def as_of(self, now_us: int, tier: Tier) -> "Bucket":
        """Return the bucket after leaking until now."""
        passed = max(0, now_us - self.at_us)
        leaked = passed * tier.per_day // DAY_SECONDS
        return replace(self, spent=max(0, self.spent - leaked), at_us=max(now_us, self.at_us))

    def balance(self, tier: Tier) -> Balance:
        """Return what the budget holds."""
        left = max(0, tier.capacity * UNITS_PER_HASH - self.spent) // UNITS_PER_HASH
        return Balance(left, tier.capacity, tier.per_day)

    def knows(self, charge: Charge) -> bool:
        """Return whether the same set was one of the last charges."""
        size = FINGERPRINT_SIZE
        starts = range(0, len(self.recent), size)
        return charge.fingerprint in [self.recent[start : start + size] for start in starts]

    def pay(self, charge: Charge, tier: Tier) -> "Bucket | None":
        """Return the bucket after a charge; None if it does not hold enough.

        Hashes of an older epoch than the newest one are never free.
        """
        bucket = self._in_epoch(charge.epoch)
        free = bucket.free_of(charge)
        cost = (charge.hashes - free) * UNITS_PER_HASH
        if cost and bucket.spent + cost > tier.capacity * UNITS_PER_HASH:
            return None
        return replace(
            bucket,
            spent=bucket.spent + cost,
            free=bucket.free - free,
            paid=bucket.paid + (charge.hashes if charge.epoch == bucket.epoch else 0),
            recent=(charge.fingerprint + bucket.recent)[
                : MAX_REMEMBERED_CHARGES * FINGERPRINT_SIZE
            ],
        )

    def cost(self, charge: Charge) -> int:
        """Return how many hashes of a charge are not free."""
        bucket = self._in_epoch(charge.epoch)
        return charge.hashes - bucket.free_of(charge)

    def wait(self, charge: Charge, tier: Tier) -> int:
        """Return the seconds until the bucket holds enough for a charge that it cannot pay now."""
        lacking = self.spent + (self.cost(charge) - tier.capacity) * UNITS_PER_HASH
        return -(-lacking * DAY_SECONDS // (tier.per_day * UNITS_PER_HASH))

    def free_of(self, charge: Charge) -> int:
        """Return how many hashes of a charge are free."""
        return min(charge.hashes, self.free) if charge.epoch == self.epoch else 0

    def _in_epoch(self, epoch: int) -> "Bucket":
        """Return the bucket in a newer epoch: all hashes are new, and as many as were paid for are free."""
        if epoch <= self.epoch:
            return self
        return replace(self, epoch=epoch, free=self.paid, paid=0)


_BUDGETS = table(DiscoveryBudget).c
_SELECT_BUDGET = select(*table(DiscoveryBudget).columns).where(
    _BUDGETS.subject == bindparam("subject")
)
_LOCK_BUDGET = _SELECT_BUDGET.with_for_update()
_UPDATE_BUDGET = update(table(DiscoveryBudget)).where(_BUDGETS.subject == bindparam("owner"))
_UPDATE_SUBJECT = (
    update(table(DiscoveryBudget))
    .where(_BUDGETS.subject == bindparam("former"))
    .values(subject=bindparam("current"))
)


@cache
def _insert_budget(dialect: str) -> Executable:
    return insert_into(dialect, DiscoveryBudget).on_conflict_do_nothing()


@dataclass(frozen=True)
class Budgets:
    """Charges budgets.

    subjects: the 16-byte digests of one owner, under the current secret first.
    """

    tiers: Tiers

    def charge(
        self,
        connection: Connection,
        subjects: Sequence[bytes],
        charge: Charge,
        now: datetime,
        tier: Tier | None = None,
    ) -> Payment | Problem:
        """Charge a set of hashes once, or return the problem to raise after the commit.

        tier: overrides the tier of the row, for services.
        """
        bucket, own = self._lock(connection, subjects)
        tier = tier or self.tiers.find(own)
        bucket = bucket.as_of(unix_microseconds(now), tier)
        if bucket.knows(charge):
            return Payment(bucket.balance(tier), 0)
        charged = bucket.pay(charge, tier)
        if charged is None:
            return _refusal(bucket, charge, tier)
        _write(connection, subjects[0], charged)
        return Payment(charged.balance(tier), charge.hashes)

    def balance(
        self,
        connection: Connection,
        subjects: Sequence[bytes],
        now: datetime,
        tier: Tier | None = None,
    ) -> Balance:
        """Return what a budget holds."""
        bucket, tier = self._read(connection, subjects, now, tier)
        return bucket.balance(tier)

    def balance_if_paid(
        self,
        connection: Connection,
        subjects: Sequence[bytes],
        charge: Charge,
        now: datetime,
        tier: Tier | None = None,
    ) -> Balance | None:
        """Return what a budget holds if a charge is empty or was paid before; otherwise None."""
        bucket, tier = self._read(connection, subjects, now, tier)
        return None if charge.hashes and not bucket.knows(charge) else bucket.balance(tier)

    def _read(
        self,
        connection: Connection,
        subjects: Sequence[bytes],
        now: datetime,
        tier: Tier | None,
    ) -> tuple[Bucket, Tier]:
        for subject in subjects:
            row = connection.execute(_SELECT_BUDGET, {"subject": subject}).one_or_none()
            if row is not None:
                break
        tier = tier or self.tiers.find(row.tier if row else None)
        return (_bucket(row) if row else Bucket()).as_of(unix_microseconds(now), tier), tier

    def assign(
        self, connection: Connection, subjects: Sequence[bytes], tier: str | None, now: datetime
    ) -> None:
        """Assign a tier by its name, None for the default; what was spent stays spent."""
        bucket, own = self._lock(connection, subjects)
        leaked = bucket.as_of(unix_microseconds(now), self.tiers.find(own))
        _write(connection, subjects[0], leaked)
        connection.execute(
            update(DiscoveryBudget).where(DiscoveryBudget.subject == subjects[0]).values(tier=tier)
        )

    @staticmethod
    def _lock(connection: Connection, subjects: Sequence[bytes]) -> tuple[Bucket, str | None]:
        """Lock a budget's row, created if there is none; return the bucket and the name of its tier."""
        subject, *former = subjects
        row = connection.execute(_LOCK_BUDGET, {"subject": subject}).one_or_none()
        if row is None:
            for older in former:
                # The row of the former secret continues under the current one.
                connection.execute(_UPDATE_SUBJECT, {"current": subject, "former": older})
            statement = _insert_budget(connection.dialect.name)
            connection.execute(statement, {"subject": subject} | vars(Bucket()))
            row = connection.execute(_LOCK_BUDGET, {"subject": subject}).one()
        return _bucket(row), row.tier

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of rows without a charge for long."""
        old = DiscoveryBudget.at_us < unix_microseconds(now - RETENTION)
        return purge(connection, DiscoveryBudget, old & DiscoveryBudget.tier.is_(None))


def _refusal(bucket: Bucket, charge: Charge, tier: Tier) -> Problem:
    balance, needed = bucket.balance(tier), bucket.cost(charge)
    members: dict[str, Any] = {"left": balance.left, "capacity": tier.capacity, "needed": needed}
    if needed > tier.capacity:
        return BudgetTooSmall(
            f"{needed} hashes are new, and this budget never holds more than {tier.capacity}."
            " Look up fewer at once.",
            **members,
        )
    return BudgetExhausted(
        f"{needed} hashes are new and the budget holds {balance.left}. Nothing was looked up.",
        rate_limit=balance.rate_limit_status(bucket.wait(charge, tier)),
        **members,
    )


def _bucket(row: Any) -> Bucket:
    return Bucket(**{name: getattr(row, name) for name in Bucket.__dataclass_fields__})


def _write(connection: Connection, subject: bytes, bucket: Bucket) -> None:
    connection.execute(_UPDATE_BUDGET, {"owner": subject} | vars(bucket))
