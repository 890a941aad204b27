"""Who asks: a person, by the number of her account, or a service, by its name.

Owns whose budget pays for a lookup and whom a sync token is bound to, so that both outlive what a
person or an operator may do again: another account, another device, another token of the same name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from sqlalchemy import Connection

from core.requester import Requester
from core.secrets import Keyring
from discovery.budget import Tier
from tokens.accounts import own_account
from tokens.authenticate import Caller, ServiceCaller

#: Ids of services are of version 5, and those of accounts of version 4.
_SERVICES = UUID("a3f0c6de-5d1b-5c43-9a55-6b7f1f6c2f0e")


@dataclass(frozen=True)
class BudgetOwner:
    """Someone with a budget.

    id: what sync tokens are bound to. subjects: digests that name the budget, under the current secret
    first. tier: None when the budget's row is to say. network: where it asks from, as far as daily
    ceilings go; None: where the request comes from. count: counts hashes that are being paid for
    somewhere else too; what it raises undoes the payment.
    """

    id: UUID
    subjects: Sequence[bytes]
    tier: Tier | None = None
    network: Requester | None = None
    count: Callable[[Connection, datetime, int], None] | None = None


def id_of(caller: Caller | ServiceCaller) -> UUID:
    """Give what the sync tokens of a caller are bound to."""
    if isinstance(caller, Caller):
        return caller.account_id
    return uuid5(_SERVICES, caller.name)


def identify(
    connection: Connection, keyring: Keyring, caller: Caller | ServiceCaller
) -> BudgetOwner:
    """Say who a caller is as an asker."""
    if isinstance(caller, Caller):
        number = own_account(connection, caller).e164
        return BudgetOwner(id_of(caller), subjects_of(keyring, number))
    budget = caller.budget
    tier = Tier(caller.name, budget.burst, budget.per_day) if budget else None
    return BudgetOwner(
        id_of(caller),
        keyring.digests("discovery-service", caller.name),
        tier,
        Requester.service(caller.name),
    )


def subjects_of(keyring: Keyring, e164: str) -> Sequence[bytes]:
    """Name the budget of a number, whether it has an account or not."""
    return keyring.digests("discovery-budget", e164)
