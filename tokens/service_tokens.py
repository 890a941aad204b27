"""Service tokens: issued by an operator to another service, for what their scopes name.

Owns what a service token looks like and is worth right now: `kithsvc_` and 70 characters of base64url,
made like a device token (tokens/token_issuer.py) of a token id, a 256-bit secret and a checksum. Only
the secret's SHA-256 is stored. Refuses tokens that are unknown, expired or revoked.

A service is its name. Tokens of one name speak for the same service, so that the next is issued and
taken into use before the last is revoked, and what was begun with one is finished with the other. How
large its budget of lookups is says the token it comes with; what is spent of it belongs to the name.
"""

import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from sqlalchemy import Connection, bindparam, select, update

from core.budgets import Budget
from core.database import Database, find_all, purge, table
from tokens.models import ServiceToken
from tokens.problems import ServiceTokenExpired, ServiceTokenInvalid
from tokens.token_issuer import SECRET_SIZE, Credential

SERVICE_PREFIX = "kithsvc_"
SEND_AND_VALIDATE = "one-time-password-sms:send-validate"
DISCOVERY = "discovery"
#: What a token can be good for, and what that is; a route names the scope it needs.
SCOPES = {
    SEND_AND_VALIDATE: "send and validate codes through the CAMARA door",
    DISCOVERY: "look up hashed numbers, within a budget of its own",
}
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
MAX_LIFETIME = timedelta(days=730)
#: `last_used_at` is written once in this time, or every request would be a write.
USED_RESOLUTION = timedelta(hours=1)
#: How long an expired token is still listed.
RETENTION = timedelta(days=90)

_TOKENS = table(ServiceToken)
_ADDING = _TOKENS.insert()
_AUTHENTICATING = select(*_TOKENS.columns).where(_TOKENS.c.id == bindparam("token"))
_MARKING_USED = (
    update(_TOKENS)
    .where(_TOKENS.c.id == bindparam("token"))
    .values(last_used_at=bindparam("used_at"))
)
_LISTING = select(*_TOKENS.columns).order_by(_TOKENS.c.name, _TOKENS.c.created_at, _TOKENS.c.id)


@dataclass(frozen=True)
class ServiceCaller:
    """The service that makes a request: its token's id, its name, and what the token is good for.

    budget: of lookups, None without the scope for them.
    """

    id: UUID
    name: str
    scopes: frozenset[str]
    budget: Budget | None = None


class ServiceTokenService:
    """Issues, authenticates, lists and revokes service tokens."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy

    def issue(
        self, name: str, scopes: Iterable[str], life: timedelta, budget: Budget | None = None
    ) -> tuple[str, ServiceToken]:
        """Issue a token to a service; give it, for this once, and what is stored of it.

        budget: of lookups, with the scope for them and no other. Raises ValueError for a name, a scope,
        a life or a budget that cannot be.
        """
        wanted = frozenset(scopes)
        if not NAME.fullmatch(name):
            raise ValueError(
                "a name is 1 to 64 letters, digits, '.', '_' or '-', the first and last a letter or digit"
            )
        if not wanted or not wanted <= SCOPES.keys():
            raise ValueError(f"scopes are one or more of: {', '.join(SCOPES)}")
        if not timedelta(0) < life <= MAX_LIFETIME:
            raise ValueError(f"a token lives for up to {MAX_LIFETIME.days} days")
        if (budget is not None) != (DISCOVERY in wanted):
            raise ValueError(f"the scope {DISCOVERY} goes with a budget, and no other does")
        now = self._clock()
        credential = Credential(
            (UUID(bytes=self._entropy(16), version=4),), self._entropy(SECRET_SIZE)
        )
        (token_id,) = credential.ids
        with self._database.write(adds=True) as connection:
            connection.execute(
                _ADDING,
                {
                    "id": token_id,
                    "name": name,
                    "scopes": " ".join(sorted(wanted)),
                    "discovery_burst": budget and budget.burst,
                    "discovery_per_day": budget and budget.per_day,
                    "token_hash": credential.secret_hash,
                    "created_at": now,
                    "expires_at": now + life,
                },
            )
            issued = connection.execute(_AUTHENTICATING, {"token": token_id}).one()
        return credential.format(SERVICE_PREFIX), cast(ServiceToken, issued)

    def authenticate(self, token: str) -> ServiceCaller:
        """Say which service this token speaks for.

        Raises ServiceTokenInvalid, or ServiceTokenExpired for one that was good once.
        """
        credential = Credential.parse(SERVICE_PREFIX, 1, token)
        if credential is None:
            raise ServiceTokenInvalid("It is not a service token, or was cut short or altered.")
        (token_id,) = credential.ids
        now = self._clock()
        with self._database.read() as connection:
            row = connection.execute(_AUTHENTICATING, {"token": token_id}).one_or_none()
        if row is None or not hmac.compare_digest(row.token_hash, credential.secret_hash):
            raise ServiceTokenInvalid("It is not one of this service's tokens.")
        if row.revoked_at is not None:
            raise ServiceTokenInvalid("It was revoked; ask the operator for another.")
        if row.expires_at <= now:
            raise ServiceTokenExpired("Its time is over; ask the operator for another.")
        if row.last_used_at is None or now - row.last_used_at >= USED_RESOLUTION:
            with self._database.write() as connection:
                connection.execute(_MARKING_USED, {"token": token_id, "used_at": now})
        budget = budget_of(cast(ServiceToken, row))
        return ServiceCaller(token_id, row.name, frozenset(row.scopes.split()), budget)

    def all(self) -> list[ServiceToken]:
        """Give every token, by name and age, also those that are over and not yet deleted."""
        with self._database.read() as connection:
            return find_all(connection, ServiceToken, _LISTING)

    def revoke(self, token_id: UUID) -> bool:
        """Make a token worthless from now on; say whether there is such a token."""
        with self._database.write() as connection:
            connection.execute(
                update(_TOKENS)
                .where(_TOKENS.c.id == token_id, _TOKENS.c.revoked_at.is_(None))
                .values(revoked_at=self._clock())
            )
            known = connection.execute(_AUTHENTICATING, {"token": token_id}).one_or_none()
        return known is not None

    def state(self, token: ServiceToken) -> str:
        """Say what a token is now: valid, expired or revoked."""
        if token.revoked_at is not None:
            return "revoked"
        return "valid" if token.expires_at > self._clock() else "expired"

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of tokens that expired so long ago that nobody asks what they were."""
        return purge(connection, ServiceToken, ServiceToken.expires_at < now - RETENTION)


def budget_of(token: ServiceToken) -> Budget | None:
    """Give the budget of lookups that a token was issued with."""
    burst, per_day = token.discovery_burst, token.discovery_per_day
    return None if burst is None or per_day is None else Budget(burst, per_day)
