"""Discovery: which numbers are listed, and lookups of hashed numbers.

A number is in the directory exactly while its account wants to be found: both change in one transaction. A
lookup is paid for, or refused, before anything is matched.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.database import Database
from core.problems import InvalidFields, Problem
from core.rate_limits import add_to_windows
from core.requester import Requester
from core.secrets import Keyring
from discovery import entries, epochs
from discovery.alerts import UsageAlerts
from discovery.budget import FINGERPRINT_SIZE, Balance, Budgets, Charge, Payment
from discovery.budget_owners import BudgetOwner, SyncTokens, identify, subjects_of
from discovery.digests import DIGEST_SIZE, DigestSet, digest_number
from discovery.directory import Directory
from discovery.epochs import Epoch
from discovery.metrics import DiscoveryMetrics
from discovery.problems import EpochUnknown
from discovery.replica import Matches
from tokens.authenticate import Caller, ServiceCaller


class LookupRequest(NamedTuple):
    """A lookup; `known` and `hashes` are concatenated digests."""

    epoch_id: str
    known: bytes
    hashes: bytes
    sync_token: str | None


class LookupResult(NamedTuple):
    """The looked-up set, its matches, the token that proves it is paid for, and what the budget holds."""

    digests: DigestSet
    matches: Matches
    sync_token: str
    balance: Balance


class PendingLookup(NamedTuple):
    """A lookup of an identified owner; `matches` and `balance` are None while it must be paid for."""

    owner: BudgetOwner
    epoch: Epoch
    digests: DigestSet
    charge: Charge
    balance: Balance | None
    matches: Matches | None


@dataclass
class SharedLimitReached(Exception):
    """A daily limit that budget owners share is used up for `retry_after` seconds."""

    retry_after: int


@dataclass(frozen=True)
class DiscoveryService:
    """Lists numbers as accounts change, and looks up hashed numbers."""

    database: Database
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    keyring: Keyring
    metrics: DiscoveryMetrics
    directory: Directory
    budgets: Budgets
    alerts: UsageAlerts
    sync_tokens: SyncTokens
    max_hashes: int

    def parameters(self) -> tuple[Epoch, Epoch | None]:
        """Return the current epoch, and the former one while it answers; create the first one."""
        with self.database.read() as connection:
            known = epochs.read(connection)
        if not known:
            with self.database.write() as connection:
                known = epochs.read_or_begin(connection, self.clock, self.entropy)
        now = self.clock()
        answering = [epoch for epoch in known if epoch.answers(now)]
        return answering[-1], answering[-2] if len(answering) > 1 else None

    def balance(self, caller: Caller | ServiceCaller) -> Balance:
        """Return what the caller's budget holds."""
        with self.database.read() as connection:
            owner = identify(connection, self.keyring, caller)
            return self.budgets.balance(connection, owner.subjects, self.clock(), owner.tier)

    def balance_of(self, e164: str) -> Balance:
        """Return what a number's budget holds, with or without an account."""
        with self.database.read() as connection:
            subjects = subjects_of(self.keyring, e164)
            return self.budgets.balance(connection, subjects, self.clock())

    def assign_tier(self, e164: str, tier: str) -> Balance:
        """Assign a tier, or `default`, to a number; return what its budget holds then.

        Raises KeyError if there is no such tier.
        """
        tiers, now = self.budgets.tiers, self.clock()
        name = None if tier == tiers.default.name else tiers.others[tier].name
        with self.database.write() as connection:
            self.budgets.assign(connection, subjects_of(self.keyring, e164), name, now)
        return self.balance_of(e164)

    def look_up(
        self, request: LookupRequest, caller: Caller | ServiceCaller, requester: Requester
    ) -> LookupResult:
        """Find the accounts of hashed numbers.

        Raises InvalidFields over `max_hashes`, EpochUnknown, BudgetExhausted or BudgetTooSmall.
        """
        count = (len(request.known) + len(request.hashes)) // DIGEST_SIZE
        if count > self.max_hashes:
            raise InvalidFields.at("/hashes", f"at most {self.max_hashes} a lookup")
        digests = DigestSet.of(request.known + request.hashes)
        with self.database.read() as connection:
            owner = identify(connection, self.keyring, caller)
            new = self._unpaid(request, owner, digests)
            pending = self.begin(connection, owner, request.epoch_id, digests, new)
        matches, balance = self.finish(pending, requester)
        token = self.sync_tokens.issue(owner.id, request.epoch_id, digests)
        return LookupResult(digests, matches, token, balance)

    def _unpaid(self, request: LookupRequest, owner: BudgetOwner, digests: DigestSet) -> DigestSet:
        """Return the new hashes: all but the known ones, if the sync token proves those."""
        if not request.known or request.sync_token is None:
            return digests
        known = DigestSet.of(request.known) if request.hashes else digests
        if not self.sync_tokens.proves(request.sync_token, owner.id, request.epoch_id, known):
            return digests
        # Known hashes come first, so a hash in both lists has the position of the known one.
        return digests.select(digests.positions * DIGEST_SIZE >= len(request.known))

    def begin(
        self,
        connection: Connection,
        owner: BudgetOwner,
        epoch_id: str,
        digests: DigestSet,
        new: DigestSet | None = None,
    ) -> PendingLookup:
        """Match a set at once if it costs nothing; otherwise `finish` charges it first.

        new: the part to pay for; None: all of it. Raises EpochUnknown.
        """
        now = self.clock()
        epoch = _answering(epochs.read(connection), epoch_id, now)
        charge = self._charge_for(epoch, digests if new is None else new)
        balance = self.budgets.balance_if_paid(connection, owner.subjects, charge, now, owner.tier)
        matches = None
        if balance is not None:
            matches = self.directory.match(connection, epoch, digests.digests)
        return PendingLookup(owner, epoch, digests, charge, balance, matches)

    def finish(self, pending: PendingLookup, requester: Requester) -> tuple[Matches, Balance]:
        """Charge a lookup and match it, unless `begin` did; return the matches and what the budget holds.

        Called outside of any transaction. Raises BudgetExhausted, BudgetTooSmall or SharedLimitReached.
        """
        owner, epoch, digests, charge, balance, matches = pending
        if balance is None or matches is None:
            balance = self._pay(owner, charge, requester)
            with self.database.read() as connection:
                matches = self.directory.match(connection, epoch, digests.digests)
        self.metrics.hashes.inc(len(digests.digests))
        self.metrics.matches.inc(int(matches.mask.sum()))
        return matches, balance

    def _charge_for(self, epoch: Epoch, new: DigestSet) -> Charge:
        key = self.keyring.derive("discovery-charge")
        fingerprint = hmac.digest(key, epoch.id.encode() + new.fingerprint, hashlib.sha256)
        return Charge(len(new.digests), epoch.number, fingerprint[:FINGERPRINT_SIZE])

    def _pay(self, owner: BudgetOwner, charge: Charge, requester: Requester) -> Balance:
        now = self.clock()
        with self.database.write() as connection:
            paid = self.budgets.charge(connection, owner.subjects, charge, now, owner.tier)
            if isinstance(paid, Payment) and paid.hashes:
                # Raised in the transaction: a lookup over a shared limit is not charged.
                _count_shared(connection, owner, paid.hashes, now)
                self.alerts.count(connection, owner.network or requester, paid.hashes, now)
        if isinstance(paid, Problem):
            raise paid
        self.metrics.charged.inc(paid.hashes)
        return paid.balance

    def listing_changed(
        self, connection: Connection, account_id: UUID, e164: str, listed: bool
    ) -> None:
        """Add a number to the directory or remove it, in the transaction that decides it.

        That transaction has written or locked a row before, so that a rotation waits for it.
        """
        now = self.clock()
        change = entries.upsert if listed else entries.remove
        for epoch in epochs.read_or_begin(connection, self.clock, self.entropy):
            if epoch.state != "closed":
                digest = digest_number(e164, epoch.salt)
                change(connection, epoch.number, digest, account_id, now)


def _answering(known: list[Epoch], epoch_id: str, now: datetime) -> Epoch:
    for epoch in known:
        if epoch.id == epoch_id and epoch.answers(now):
            return epoch
    raise EpochUnknown("Fetch /v1/discovery/parameters and hash the numbers again.")


def _count_shared(connection: Connection, owner: BudgetOwner, hashes: int, now: datetime) -> None:
    # One statement each: they are on different shards.
    for limit, subject in owner.shared_limits:
        (window,) = add_to_windows(connection, [limit.charge(subject, hashes, now)], now)
        if window.used > limit.quota:
            raise SharedLimitReached(-((now - window.ends_at) // timedelta(seconds=1)))
