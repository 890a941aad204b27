"""Discovery: who is listed, and lookups.

Owns who may be found: a number is in the directory exactly while its account wants to be, because
both change in one transaction. Owns the order of a lookup too: the budget pays for all that is new, or
refuses all, before anything is looked up. Refuses pages over the limit and hashes of another epoch.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy import Connection

from core.database import Database
from core.metrics import Metrics
from core.problems import InvalidFields, Problem
from core.requester import Requester
from core.secrets import Keyring
from discovery import entries, epochs
from discovery.budget import FINGERPRINT_SIZE, Budgets, Charge, Left, Payer
from discovery.ceilings import Ceilings
from discovery.directory import Directory
from discovery.epochs import Epoch
from discovery.hashes import DIGEST_SIZE, Page, digest_number
from discovery.lookups import Answered, Asked
from discovery.problems import EpochUnknown
from discovery.replica import Found
from discovery.sync_tokens import SyncTokens
from tokens.accounts import AccountService
from tokens.service import Caller


class DirectoryService:
    """Lists numbers as accounts change and answers who of a page of hashes is here."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        keyring: Keyring,
        metrics: Metrics,
        directory: Directory,
        budgets: Budgets,
        ceilings: Ceilings,
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

    def budget(self, caller: Caller) -> Left:
        """Say what the caller's budget holds."""
        with self._database.read() as connection:
            subjects = self._subjects(connection, caller)
            return self._budgets.peek(connection, subjects, self._clock())

    def budget_of(self, e164: str) -> Left:
        """Say what a number's budget holds, whether it has an account or not."""
        with self._database.read() as connection:
            return self._budgets.peek(connection, self.subjects_of(e164), self._clock())

    def assign_tier(self, e164: str, tier: str) -> Left:
        """Give a number the budget of a tier, or of `default`; say what it holds then.

        Raises KeyError when there is no such tier.
        """
        tiers, now = self._budgets.tiers, self._clock()
        name = None if tier == tiers.default.name else tiers.others[tier].name
        with self._database.write() as connection:
            self._budgets.assign(connection, self.subjects_of(e164), name, now)
        return self.budget_of(e164)

    def look_up(self, asked: Asked, caller: Caller, requester: Requester) -> Answered:
        """Give the account of each hash that is a discoverable person's.

        Raises InvalidFields over `max_hashes`, EpochUnknown when the hashes were made in another epoch,
        BudgetExhausted or BudgetTooSmall.
        """
        count = (len(asked.known) + len(asked.hashes)) // DIGEST_SIZE
        if count > self.max_hashes:
            raise InvalidFields.at("/hashes", f"at most {self.max_hashes} a lookup")
        page = Page.of(asked.known + asked.hashes)
        new = self._unpaid(asked, caller, page)

        def payer(connection: Connection) -> Payer:
            return Payer(self._subjects(connection, caller))

        found, left = self.find(asked.epoch_id, page, new, payer, requester)
        token = self._sync_tokens.make(caller.account_id, asked.epoch_id, page)
        return Answered(page, found, token, left)

    def find(
        self,
        epoch_id: str,
        page: Page,
        new: Page,
        payer: Callable[[Connection], Payer],
        requester: Requester,
    ) -> tuple[Found, Left]:
        """Have what is new in a page paid for, then match all of it; say what is left too.

        Raises EpochUnknown, BudgetExhausted or BudgetTooSmall.
        """
        now = self._clock()
        with self._database.read() as connection:
            epoch = self._answering(connection, epoch_id)
            paying = payer(connection)
            charge = self._charge_for(epoch, new)
            ask = (connection, paying.subjects)
            if charge.hashes:
                left = self._budgets.known(*ask, charge, now, paying.tier)
            else:
                left = self._budgets.peek(*ask, now, paying.tier)
            if left is not None:
                found = self._directory.match(connection, epoch, page.digests)
        if left is None:
            left = self._pay(paying, charge, requester)
            with self._database.read() as connection:
                found = self._directory.match(connection, epoch, page.digests)
        self._metrics.looked_up.inc(len(page.digests))
        self._metrics.matched.inc(int(found.here.sum()))
        return found, left

    def _unpaid(self, asked: Asked, caller: Caller, page: Page) -> Page:
        """Give what is new: all but the known hashes, if the sync token proves them."""
        if not asked.known or asked.sync_token is None:
            return page
        known = Page.of(asked.known) if asked.hashes else page
        proven = self._sync_tokens.prove(asked.sync_token, caller.account_id, asked.epoch_id, known)
        # Known hashes come first, so of a hash in both it is the known one that has a place.
        return page.part(page.places * DIGEST_SIZE >= len(asked.known)) if proven else page

    def _answering(self, connection: Connection, epoch_id: str) -> Epoch:
        now = self._clock()
        for epoch in epochs.read(connection):
            if epoch.id == epoch_id and epoch.answers(now):
                return epoch
        raise EpochUnknown("Fetch /v1/discovery/parameters and hash the numbers again.")

    def _subjects(self, connection: Connection, caller: Caller) -> Sequence[bytes]:
        """Name the budget of the caller's number, under the current secret first."""
        return self.subjects_of(AccountService.read(connection, caller).e164)

    def subjects_of(self, e164: str) -> Sequence[bytes]:
        """Name the budget of a number, under the current secret first."""
        return self._keyring.digests("discovery-budget", e164)

    def _charge_for(self, epoch: Epoch, new: Page) -> Charge:
        key = self._keyring.derive("discovery-charge")
        mark = hmac.digest(key, epoch.id.encode() + new.fingerprint, hashlib.sha256)
        return Charge(len(new.digests), epoch.number, mark[:FINGERPRINT_SIZE])

    def _pay(self, payer: Payer, charge: Charge, requester: Requester) -> Left:
        now = self._clock()
        with self._database.write() as connection:
            counted = payer.counted and partial(payer.counted, connection, now)
            left = self._budgets.charge(
                connection, payer.subjects, charge, now, payer.tier, counted
            )
            if isinstance(left, Left):
                self._ceilings.count(connection, requester, charge.hashes, now)
        if isinstance(left, Problem):
            raise left
        self._metrics.charged.inc(charge.hashes)
        return left

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
