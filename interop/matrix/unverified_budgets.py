"""Lookup budgets of Matrix users without a verified number.

Homeservers create users freely, and strangers create homeservers freely. So such users can look up only from
homeservers that the operator names, each with a tenth of a budget, and together within a daily limit for a
requester's network, its subnet, the registrable domain of the homeserver, and all of them. With a verified
number a user has a budget of their own.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.rate_limits import add_to_windows
from core.requester import Requester
from core.secrets import DIGEST_SIZE, Keyring
from discovery.budget import Tier, Tiers
from discovery.budget_owners import BudgetOwner
from interop.matrix.accounts import MatrixCaller
from interop.matrix.identifiers import ServerName, registrable_domain
from interop.matrix.limits import unverified_limits
from interop.matrix.problems import MatrixLookupForbidden, MatrixLookupsRateLimited
from interop.matrix.settings import MatrixSettings

#: A user's share of a budget, as a divisor.
USER_SHARE = 10
ALL_USERS = bytes(DIGEST_SIZE)


class UnverifiedBudgets:
    """The budgets of users without a verified number."""

    def __init__(self, keyring: Keyring, settings: MatrixSettings) -> None:
        self._keyring = keyring
        self._homeservers = frozenset(name.lower() for name in settings.matrix_homeservers)
        tier = Tiers.from_settings(settings).default
        share = max(1, tier.capacity // USER_SHARE)
        self._tier = Tier("unverified", share, max(1, tier.per_day // USER_SHARE))
        self._limits = unverified_limits(
            share,
            settings.matrix_homeserver_lookups_per_day,
            settings.matrix_unverified_lookups_per_day,
        )

    def owner(self, caller: MatrixCaller, requester: Requester) -> BudgetOwner:
        """Return a user's budget; raises MatrixLookupForbidden unless the settings name their homeserver."""
        name = ServerName.parse(caller.homeserver)
        if name is None or self._homeservers.isdisjoint((name.host.lower(), name.text.lower())):
            raise MatrixLookupForbidden(
                "Validate a number of yours first; it has a budget of its own."
            )
        subjects = self._keyring.digests("matrix-budget", caller.user_id)
        return BudgetOwner(caller.id, subjects, self._tier, count=self._counting(name, requester))

    def _counting(
        self, name: ServerName, requester: Requester
    ) -> Callable[[Connection, datetime, int], None]:
        """Return what counts hashes against the limits that such users share, the busiest last."""
        digest = self._keyring.digest
        network, subnet = requester.network, requester.wider or requester.network
        domain = hashlib.sha256(registrable_domain(name.host).encode()).digest()[:DIGEST_SIZE]
        # A domain is no secret, and its count outlives a rotation of secrets.
        subjects = (digest("requester", network), digest("requester", subnet), domain, ALL_USERS)

        def count(connection: Connection, now: datetime, hashes: int) -> None:
            # One statement each: they are on different shards.
            for limit, subject in zip(self._limits, subjects, strict=True):
                (window,) = add_to_windows(connection, [limit.charge(subject, hashes, now)], now)
                if window.used > limit.quota:
                    wait = -((now - window.ends_at) // timedelta(seconds=1))
                    raise MatrixLookupsRateLimited(
                        "Validate a number to have a budget of your own, or come back later.",
                        retry_after=wait,
                    )

        return count
