"""Lookup budgets of Matrix users without a verified number.

Homeservers create users freely, and strangers create homeservers freely. So such users can look up only from
homeservers that the operator names, each with a tenth of a budget, and together within a daily limit for a
requester's network, its subnet, the registrable domain of the homeserver, and all of them. With a verified
number a user has a budget of their own.
"""

import hashlib

from core.requester import Requester
from core.secrets import DIGEST_SIZE, Keyring
from discovery.budget import Tier, Tiers
from discovery.budget_owners import BudgetOwner
from interop.matrix.accounts import MatrixCaller
from interop.matrix.identifiers import ServerName, registrable_domain
from interop.matrix.limits import unverified_limits
from interop.matrix.problems import MatrixLookupForbidden
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
        digest = self._keyring.digest
        network, subnet = requester.network, requester.subnet or requester.network
        domain = hashlib.sha256(registrable_domain(name.host).encode()).digest()[:DIGEST_SIZE]
        # A domain is no secret, and its count outlives a rotation of secrets.
        subjects = (digest("requester", network), digest("requester", subnet), domain, ALL_USERS)
        return BudgetOwner(
            caller.id,
            self._keyring.digests("matrix-budget", caller.user_id),
            self._tier,
            shared_limits=tuple(zip(self._limits, subjects, strict=True)),
        )
