"""Budget owners, and the sync tokens that prove which hashes an owner has paid for.

The owner of a lookup is the number of the caller's account, or a service by its name. Both outlive what can
be repeated at will: another account, another device, another token of the same service.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from sqlalchemy import Connection

from core.base64url import decode, encode
from core.rate_limits import RateLimit
from core.requester import Requester
from core.secrets import Keyring
from discovery.budget import Tier
from discovery.digests import DigestSet
from tokens.accounts import own_account
from tokens.authenticate import Caller, ServiceCaller

#: Ids of services are UUIDs of version 5, those of accounts of version 4.
_SERVICES = UUID("a3f0c6de-5d1b-5c43-9a55-6b7f1f6c2f0e")
_VERSION = b"\x01"
_TOKEN_SIZE = len(_VERSION) + hashlib.sha256().digest_size


@dataclass(frozen=True)
class BudgetOwner:
    """The owner of a budget.

    id: what its sync tokens are bound to. subjects: digests that name the budget, under the current secret
    first. tier: None if the budget's row names it. network: for usage alerts; None: the requester's.
    shared_limits: limits and their subjects that other owners share, the busiest last.
    """

    id: UUID
    subjects: Sequence[bytes]
    tier: Tier | None = None
    network: Requester | None = None
    shared_limits: Sequence[tuple[RateLimit, bytes]] = ()


def id_of(caller: Caller | ServiceCaller) -> UUID:
    """Return the id of the budget owner of a caller."""
    if isinstance(caller, Caller):
        return caller.account_id
    return uuid5(_SERVICES, caller.name)


def identify(
    connection: Connection, keyring: Keyring, caller: Caller | ServiceCaller
) -> BudgetOwner:
    """Return the budget owner of a caller."""
    if isinstance(caller, Caller):
        return BudgetOwner(
            id_of(caller), subjects_of(keyring, own_account(connection, caller).e164)
        )
    budget = caller.budget
    return BudgetOwner(
        id_of(caller),
        keyring.digests("discovery-service", caller.name),
        Tier(caller.name, budget.burst, budget.per_day) if budget else None,
        Requester.service(caller.name),
    )


def subjects_of(keyring: Keyring, e164: str) -> Sequence[bytes]:
    """Return the digests that name the budget of a number, with or without an account."""
    return keyring.digests("discovery-budget", e164)


class SyncTokens:
    """Issues and verifies sync tokens: HMACs over version, owner, epoch and set, which clients keep.

    Tokens of the former server secret are accepted while secrets are rotated.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keys = keyring.derive_all("sync-token")

    def issue(self, owner_id: UUID, epoch_id: str, digests: DigestSet) -> str:
        """Return the proof that an owner has paid for a set of hashes in an epoch."""
        return encode(_VERSION + _hmac(self._keys[0], owner_id, epoch_id, digests))

    def proves(self, token: str, owner_id: UUID, epoch_id: str, digests: DigestSet) -> bool:
        """Return whether a token proves that an owner has paid for exactly this set."""
        given = decode(token, _TOKEN_SIZE)
        if given is None:
            return False
        return any(
            hmac.compare_digest(given, _VERSION + _hmac(key, owner_id, epoch_id, digests))
            for key in self._keys
        )


def _hmac(key: bytes, owner_id: UUID, epoch_id: str, digests: DigestSet) -> bytes:
    # Only the epoch's id has no fixed length, so it comes last.
    message = _VERSION + owner_id.bytes + digests.fingerprint + epoch_id.encode()
    return hmac.digest(key, message, hashlib.sha256)
