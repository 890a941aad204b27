"""Discovery: who is listed, and lookups.

Owns who may be found: a number is in the directory exactly while its account wants to be, because
both change in one transaction. Owns the order of a lookup too: the budget pays for all that is new, or
refuses all, before anything is looked up. Refuses pages over the limit and hashes of another epoch.
"""

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core.database import Database
from core.problems import InvalidFields, Problem
from core.requester import Requester
from core.secrets import Keyring
from discovery import entries, epochs
from discovery.alerts import UsageAlerts
from discovery.budget import FINGERPRINT_SIZE, Balance, Budgets, Charge, Payment
from discovery.budget_owners import BudgetOwner, identify, subjects_of
from discovery.directory import Directory
from discovery.epochs import Epoch
from discovery.hashes import DIGEST_SIZE, DigestSet, digest_number
from discovery.lookup_codec import LookupRequest, LookupResult
from discovery.metrics import DiscoveryMetrics
from discovery.problems import EpochUnknown
from discovery.replica import Matches
from discovery.sync_tokens import SyncTokens
from tokens.authenticate import Caller, ServiceCaller


class DiscoveryService:
    """Lists numbers as accounts change and answers who of a page of hashes is here."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        keyring: Keyring,
        metrics: DiscoveryMetrics,
        directory: Directory,
        budgets: Budgets,
        ceilings: UsageAlerts,
        max_hashes: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._keyring = keyring
        self._metrics = metrics
        self._directory = directory
        self._budgets = budgets
        self._ceilings = ceilings
        self._sync_tokens = SyncTokens(keyring)
        self.max_hashes = max_hashes

    def parameters(self) -> tuple[Epoch, Epoch | None]:
        """Give the current epoch and the one before while it answers; the first call ever makes one."""
        with self._database.read() as connection:
            known = epochs.read(connection)
        if not known:
            with self._database.write() as connection:
                known = epochs.read_or_begin(connection, self._clock, self._entropy)
        now = self._clock()
        answering = [epoch for epoch in known if epoch.answers(now)]
        return answering[-1], answering[-2] if len(answering) > 1 else None

    def budget(self, caller: Caller | ServiceCaller) -> Balance:
        """Say what the caller's budget holds."""
        with self._database.read() as connection:
            asker = identify(connection, self._keyring, caller)
            return self._budgets.peek(connection, asker.subjects, self._clock(), asker.tier)

    def budget_of(self, e164: str) -> Balance:
        """Say what a number's budget holds, whether it has an account or not."""
        with self._database.read() as connection:
            subjects = subjects_of(self._keyring, e164)
            return self._budgets.peek(connection, subjects, self._clock())

    def assign_tier(self, e164: str, tier: str) -> Balance:
        """Give a number the budget of a tier, or of `default`; say what it holds then.

        Raises KeyError when there is no such tier.
        """
        tiers, now = self._budgets.tiers, self._clock()
        name = None if tier == tiers.default.name else tiers.others[tier].name
        with self._database.write() as connection:
            self._budgets.assign(connection, subjects_of(self._keyring, e164), name, now)
        return self.budget_of(e164)

    def look_up(
        self, asked: LookupRequest, caller: Caller | ServiceCaller, requester: Requester
    ) -> LookupResult:
        """Give the account of each hash that is a discoverable person's.

        Raises InvalidFields over `max_hashes`, EpochUnknown when the hashes were made in another epoch,
        BudgetExhausted or BudgetTooSmall.
        """
        count = (len(asked.known) + len(asked.hashes)) // DIGEST_SIZE
        if count > self.max_hashes:
            raise InvalidFields.at("/hashes", f"at most {self.max_hashes} a lookup")
        page = DigestSet.of(asked.known + asked.hashes)
        asker, found, left = self.find(
            asked.epoch_id,
            page,
            lambda connection: identify(connection, self._keyring, caller),
            requester,
            lambda asker: self._unpaid(asked, asker, page),
        )
        token = self._sync_tokens.make(asker.id, asked.epoch_id, page)
        return LookupResult(page, found, token, left)

    def find(
        self,
        epoch_id: str,
        page: DigestSet,
        identified: Callable[[Connection], BudgetOwner],
        requester: Requester,
        unpaid: Callable[[BudgetOwner], DigestSet] | None = None,
    ) -> tuple[BudgetOwner, Matches, Balance]:
        """Have what is new in a page paid for, then match all of it; say who asked and what is left too.

        unpaid: gives the part that is new; None: all of it is. Raises EpochUnknown, BudgetExhausted or
        BudgetTooSmall.
        """
        now = self._clock()
        with self._database.read() as connection:
            epoch = self._answering(connection, epoch_id)
            asker = identified(connection)
            charge = self._charge_for(epoch, unpaid(asker) if unpaid else page)
            budget = (connection, asker.subjects)
            if charge.hashes:
                left = self._budgets.known(*budget, charge, now, asker.tier)
            else:
                left = self._budgets.peek(*budget, now, asker.tier)
            if left is not None:
                found = self._directory.match(connection, epoch, page.digests)
        if left is None:
            left = self._pay(asker, charge, asker.network or requester)
            with self._database.read() as connection:
                found = self._directory.match(connection, epoch, page.digests)
        self._metrics.hashes.inc(len(page.digests))
        self._metrics.matches.inc(int(found.here.sum()))
        return asker, found, left

    def _unpaid(self, asked: LookupRequest, asker: BudgetOwner, page: DigestSet) -> DigestSet:
        """Give what is new: all but the known hashes, if the sync token proves them."""
        if not asked.known or asked.sync_token is None:
            return page
        known = DigestSet.of(asked.known) if asked.hashes else page
        proven = self._sync_tokens.prove(asked.sync_token, asker.id, asked.epoch_id, known)
        # Known hashes come first, so of a hash in both it is the known one that has a place.
        return page.part(page.places * DIGEST_SIZE >= len(asked.known)) if proven else page

    def _answering(self, connection: Connection, epoch_id: str) -> Epoch:
        now = self._clock()
        for epoch in epochs.read(connection):
            if epoch.id == epoch_id and epoch.answers(now):
                return epoch
        raise EpochUnknown("Fetch /v1/discovery/parameters and hash the numbers again.")

    def _charge_for(self, epoch: Epoch, new: DigestSet) -> Charge:
        key = self._keyring.derive("discovery-charge")
        mark = hmac.digest(key, epoch.id.encode() + new.fingerprint, hashlib.sha256)
        return Charge(len(new.digests), epoch.number, mark[:FINGERPRINT_SIZE])

    def _pay(self, asker: BudgetOwner, charge: Charge, network: Requester) -> Balance:
        now = self._clock()
        with self._database.write() as connection:
            paid = self._budgets.charge(connection, asker.subjects, charge, now, asker.tier)
            if isinstance(paid, Payment) and paid.hashes:
                if asker.count:
                    asker.count(connection, now, paid.hashes)
                self._ceilings.count(connection, network, paid.hashes, now)
        if isinstance(paid, Problem):
            raise paid
        self._metrics.charged.inc(paid.hashes)
        return paid.left

    def listing_changed(
        self, connection: Connection, account_id: UUID, e164: str, listed: bool
    ) -> None:
        """Put a number into the directory or take it out, in the transaction that decides it.

        The transaction has written or locked a row before, so that a rotation waits for it.
        """
        now = self._clock()
        change = entries.list_account if listed else entries.unlist
        for epoch in epochs.read_or_begin(connection, self._clock, self._entropy):
            if epoch.state != "closed":
                digest = digest_number(e164, epoch.salt)
                change(connection, epoch.number, digest, account_id, now)
