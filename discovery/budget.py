"""The budget: how many hashes a verified number may ask about that it has not asked about before.

Owns the table `discovery_budgets` and the arithmetic of a leaky bucket. It belongs to the number and
not to account or device, so nothing that a person can do again gives it back; a service's belongs to
its name. A page is charged whole
or refused whole, under the lock of its row and before anything is looked up. No hash is kept: of the
last few charges there is a keyed fingerprint each, so that a request repeated after a lost answer costs
nothing.
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
#: Millionths of a hash, in which a bucket is counted.
UNITS_PER_HASH = 1_000_000
FINGERPRINT_SIZE = 16
#: Charges that are known again.
MAX_REMEMBERED_CHARGES = 8
#: A row is deleted when nothing was charged for so long: its bucket has leaked empty ten times over.
RETENTION = timedelta(days=500)


@dataclass(frozen=True)
class Tier:
    """So many at once, and so many more a day."""

    name: str
    capacity: int
    per_day: int


@dataclass(frozen=True)
class Tiers:
    """The budgets there are; a number has the first one until an operator gives it another."""

    default: Tier
    others: Mapping[str, Tier]

    @classmethod
    def from_settings(cls, settings: DiscoverySettings) -> "Tiers":
        """Read what the operator set."""
        default = Tier("default", settings.discovery_burst, settings.discovery_per_day)
        tiers = [text.split(":") for text in settings.discovery_tiers]
        return cls(default, {name: Tier(name, int(n), int(m)) for name, n, m in tiers})

    def find(self, name: str | None) -> Tier:
        """Give a tier by its name; the default when there is none, or none any more."""
        return self.others.get(name or "", self.default)


class Charge(NamedTuple):
    """A set of hashes to pay for: how many, in which epoch, and what it is known again by."""

    hashes: int
    epoch: int
    fingerprint: bytes


class Balance(NamedTuple):
    """What a budget holds, as clients are told."""

    left: int
    capacity: int
    refill_per_day: int

    def rate_limit_status(self, retry_after: int = 0) -> RateLimitStatus:
        """Write it as every limit is announced."""
        period = self.capacity * DAY_SECONDS // self.refill_per_day
        return RateLimitStatus(NAME, self.capacity, period, self.left, retry_after)


class Payment(NamedTuple):
    """What a charge left, and how many hashes were paid for: none when their set was paid for before."""

    left: Balance
    hashes: int


@dataclass(frozen=True)
class Bucket:
    """The state of one budget at a moment.

    spent: millionths of a hash. at_us: microseconds since 1970. A clock that jumps back only makes it
    stricter, for nothing leaks until it has caught up.
    """

    spent: int = 0
    at_us: int = 0
    epoch: int = 0
    #: Payment for in that epoch.
    paid: int = 0
    #: May be re-evaluated in it free of charge.
    free: int = 0
    recent: bytes = b""

    def as_of(self, now_us: int, tier: Tier) -> "Bucket":
        """Let it leak until now."""
        passed = max(0, now_us - self.at_us)
        leaked = passed * tier.per_day // DAY_SECONDS
        return replace(self, spent=max(0, self.spent - leaked), at_us=max(now_us, self.at_us))

    def left_of(self, tier: Tier) -> Balance:
        """Say what it holds."""
        left = max(0, tier.capacity * UNITS_PER_HASH - self.spent) // UNITS_PER_HASH
        return Balance(left, tier.capacity, tier.per_day)

    def knows(self, charge: Charge) -> bool:
        """Say whether this very set was charged lately."""
        size = FINGERPRINT_SIZE
        starts = range(0, len(self.recent), size)
        return charge.fingerprint in [self.recent[start : start + size] for start in starts]

    def charged(self, charge: Charge, tier: Tier) -> "Bucket | None":
        """Pay for a set of hashes; None when there is not enough for all of them.

        What is asked in an older epoch than the newest one is paid for like anything else.
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

    def costs(self, charge: Charge) -> int:
        """Say how many hashes of a charge the bucket has to pay for."""
        bucket = self._in_epoch(charge.epoch)
        return charge.hashes - bucket.free_of(charge)

    def wait(self, charge: Charge, tier: Tier) -> int:
        """Say in how many seconds there is enough for a charge that there is not enough for now."""
        lacking = self.spent + (self.costs(charge) - tier.capacity) * UNITS_PER_HASH
        return -(-lacking * DAY_SECONDS // (tier.per_day * UNITS_PER_HASH))

    def free_of(self, charge: Charge) -> int:
        """Say how many hashes of a charge are a re-evaluation."""
        return min(charge.hashes, self.free) if charge.epoch == self.epoch else 0

    def _in_epoch(self, epoch: int) -> "Bucket":
        """Go on to a newer epoch, in which all hashes are new: as many as were paid for are free."""
        if epoch <= self.epoch:
            return self
        return replace(self, epoch=epoch, free=self.paid, paid=0)


_BUDGETS = table(DiscoveryBudget).c
_READING = select(*table(DiscoveryBudget).columns).where(_BUDGETS.subject == bindparam("of"))
_HOLDING = _READING.with_for_update()
_STATE: dict[str, Any] = {name: bindparam(f"new_{name}") for name in Bucket.__dataclass_fields__}
_WRITING = update(table(DiscoveryBudget)).where(_BUDGETS.subject == bindparam("of")).values(_STATE)
_RENAMING = (
    update(table(DiscoveryBudget))
    .where(_BUDGETS.subject == bindparam("before"))
    .values(subject=bindparam("of"))
)


@cache
def _opening(dialect: str) -> Executable:
    return (
        insert_into(dialect, DiscoveryBudget)
        .values(subject=bindparam("of"), **_STATE)
        .on_conflict_do_nothing()
    )


class Budgets:
    """Charges budgets; a subject is a 16-byte digest, its digests under older secrets after it."""

    def __init__(self, tiers: Tiers) -> None:
        self.tiers = tiers

    def charge(
        self,
        connection: Connection,
        subjects: Sequence[bytes],
        charge: Charge,
        now: datetime,
        tier: Tier | None = None,
    ) -> Payment | Problem:
        """Pay for a set of hashes once, or give the refusal to raise after the commit.

        tier: that of a subject whose tier is not the row's to know, such as a service account.
        """
        bucket, own = self._hold(connection, subjects)
        tier = tier or self.tiers.find(own)
        bucket = bucket.as_of(unix_microseconds(now), tier)
        if bucket.knows(charge):
            return Payment(bucket.left_of(tier), 0)
        charged = bucket.charged(charge, tier)
        if charged is None:
            return _refusal(bucket, charge, tier)
        _write(connection, subjects[0], charged)
        return Payment(charged.left_of(tier), charge.hashes)

    def peek(
        self,
        connection: Connection,
        subjects: Sequence[bytes],
        now: datetime,
        tier: Tier | None = None,
    ) -> Balance:
        """Say what a budget holds."""
        bucket, tier = self._look(connection, subjects, now, tier)
        return bucket.left_of(tier)

    def known(
        self,
        connection: Connection,
        subjects: Sequence[bytes],
        charge: Charge,
        now: datetime,
        tier: Tier | None = None,
    ) -> Balance | None:
        """Say what a budget holds if it knows a charge, so that nothing is to be paid; else None."""
        bucket, tier = self._look(connection, subjects, now, tier)
        return bucket.left_of(tier) if bucket.knows(charge) else None

    def _look(
        self,
        connection: Connection,
        subjects: Sequence[bytes],
        now: datetime,
        tier: Tier | None,
    ) -> tuple[Bucket, Tier]:
        for subject in subjects:
            row = connection.execute(_READING, {"of": subject}).one_or_none()
            if row is not None:
                break
        tier = tier or self.tiers.find(row.tier if row else None)
        return (_bucket(row) if row else Bucket()).as_of(unix_microseconds(now), tier), tier

    def assign(
        self, connection: Connection, subjects: Sequence[bytes], tier: str | None, now: datetime
    ) -> None:
        """Give a subject a tier by its name, or None for the default; what it has spent stays."""
        bucket, own = self._hold(connection, subjects)
        leaked = bucket.as_of(unix_microseconds(now), self.tiers.find(own))
        _write(connection, subjects[0], leaked)
        connection.execute(
            update(DiscoveryBudget).where(DiscoveryBudget.subject == subjects[0]).values(tier=tier)
        )

    @staticmethod
    def _hold(connection: Connection, subjects: Sequence[bytes]) -> tuple[Bucket, str | None]:
        """Hold the row of a subject to the end of the transaction; make it when there is none."""
        subject, *before = subjects
        row = connection.execute(_HOLDING, {"of": subject}).one_or_none()
        if row is None:
            for older in before:
                # Under the previous secret it had another name, and goes on under the present one.
                connection.execute(_RENAMING, {"of": subject, "before": older})
            opening = _opening(connection.dialect.name)
            connection.execute(opening, {"of": subject} | _values(Bucket()))
            row = connection.execute(_HOLDING, {"of": subject}).one()
        return _bucket(row), row.tier

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of rows that nobody has paid with for long."""
        old = DiscoveryBudget.at_us < unix_microseconds(now - RETENTION)
        return purge(connection, DiscoveryBudget, old & DiscoveryBudget.tier.is_(None))


def _refusal(bucket: Bucket, charge: Charge, tier: Tier) -> Problem:
    left, needed = bucket.left_of(tier), bucket.costs(charge)
    members: dict[str, Any] = {"left": left.left, "capacity": left.capacity, "needed": needed}
    if needed > tier.capacity:
        return BudgetTooSmall(
            f"{needed} hashes are new, and this budget never holds more than {tier.capacity}:"
            " ask about fewer at once.",
            **members,
        )
    return BudgetExhausted(
        f"{needed} hashes are new and the budget holds {left.left}; nothing was looked up.",
        rate_limit=left.rate_limit_status(bucket.wait(charge, tier)),
        **members,
    )


def _bucket(row: Any) -> Bucket:
    return Bucket(**{name: getattr(row, name) for name in Bucket.__dataclass_fields__})


def _values(bucket: Bucket) -> dict[str, Any]:
    return {f"new_{name}": value for name, value in vars(bucket).items()}


def _write(connection: Connection, subject: bytes, bucket: Bucket) -> None:
    connection.execute(_WRITING, {"of": subject} | _values(bucket))
