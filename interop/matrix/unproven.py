"""Lookups of Matrix users who have proven no number: from which homeservers, and how many.

Homeservers make users freely, and strangers make homeservers freely. So such users may look up only from
homeservers that the operator names, each a tenth of a budget, and together no more than a day holds for a
requester's network, the wider network, the registrable domain of the homeserver, and everybody. Whoever wants
more proves a number.
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
from interop.matrix.limits import unproven_limits
from interop.matrix.problems import HomeserverCeilingReached, MatrixLookupForbidden
from interop.matrix.settings import MatrixSettings

#: Of a budget, for a user.
SHARE = 10
EVERYBODY = bytes(DIGEST_SIZE)


class UnprovenBudgets:
    """Says who pays for the lookups of users without a proven number."""

    def __init__(self, keyring: Keyring, settings: MatrixSettings) -> None:
        self._keyring = keyring
        self._homeservers = frozenset(name.lower() for name in settings.matrix_homeservers)
        tier = Tiers.from_settings(settings).default
        share = max(1, tier.capacity // SHARE)
        self._tier = Tier("unproven", share, max(1, tier.per_day // SHARE))
        self._limits = unproven_limits(
            share, settings.matrix_homeserver_ceiling, settings.matrix_unproven_ceiling
        )

    def asker(self, caller: MatrixCaller, requester: Requester) -> BudgetOwner:
        """Give the budget of a user; raises MatrixLookupForbidden unless their homeserver is named."""
        name = ServerName.parse(caller.homeserver)
        if name is None or self._homeservers.isdisjoint((name.host.lower(), name.text.lower())):
            raise MatrixLookupForbidden(
                "Validate a number of yours here first; then look up on its budget."
            )
        subjects = self._keyring.digests("matrix-budget", caller.user_id)
        return BudgetOwner(caller.id, subjects, self._tier, count=self._counting(name, requester))

    def _counting(
        self, name: ServerName, requester: Requester
    ) -> Callable[[Connection, datetime, int], None]:
        """Count against all that such users share, the busiest last."""
        digest = self._keyring.digest
        network, wider = requester.network, requester.wider or requester.network
        domain = hashlib.sha256(registrable_domain(name.host).encode()).digest()[:DIGEST_SIZE]
        # A domain is nothing to hide, and its count outlives a change of secrets.
        subjects = (digest("requester", network), digest("requester", wider), domain, EVERYBODY)

        def count(connection: Connection, now: datetime, hashes: int) -> None:
            # One statement each: they are on different shards.
            for limit, subject in zip(self._limits, subjects, strict=True):
                (window,) = add_to_windows(connection, [limit.charge(subject, hashes, now)], now)
                if window.used > limit.quota:
                    wait = -((now - window.ends_at) // timedelta(seconds=1))
                    raise HomeserverCeilingReached(
                        "Validate a number to have a budget of your own, or come back later.",
                        retry_after=wait,
                    )

        return count
