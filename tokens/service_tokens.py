"""Service tokens: issued by an operator to another service, limited to scopes.

A token is `kithsvc_` and 70 characters of base64url: a token id, a 256-bit secret and a CRC-32, as in a
device token (tokens/token_issuer.py). Only the SHA-256 of the secret is stored.

A service is identified by its name. All tokens of a name act for the same service, so an operator issues
and deploys the next one before revoking the last. The size of the lookup budget is the token's; what is
spent belongs to the name.
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
#: Scopes and what they allow.
SCOPES = {
    SEND_AND_VALIDATE: "send and validate codes over CAMARA",
    DISCOVERY: "look up hashed numbers, within a budget",
}
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
MAX_LIFETIME = timedelta(days=730)
#: How often `last_used_at` is written: every request would be a write otherwise.
USED_RESOLUTION = timedelta(hours=1)
#: How long an expired token is listed.
RETENTION = timedelta(days=90)

_TOKENS = table(ServiceToken)
_INSERT_TOKEN = _TOKENS.insert()
_SELECT_TOKEN = select(*_TOKENS.columns).where(_TOKENS.c.id == bindparam("id"))
_UPDATE_LAST_USED = (
    update(_TOKENS)
    .where(_TOKENS.c.id == bindparam("token"))
    .values(last_used_at=bindparam("last_used_at"))
)
_SELECT_ALL = select(*_TOKENS.columns).order_by(_TOKENS.c.name, _TOKENS.c.created_at, _TOKENS.c.id)


@dataclass(frozen=True)
class ServiceCaller:
    """The service that makes a request.

    id: of its token. budget: of lookups, None without the scope `discovery`.
    """

    id: UUID
    name: str
    scopes: frozenset[str]
    budget: Budget | None = None


@dataclass(frozen=True)
class ServiceTokenService:
    """Issues, authenticates, lists and revokes service tokens."""

    database: Database
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]

    def issue(
        self, name: str, scopes: Iterable[str], lifetime: timedelta, budget: Budget | None = None
    ) -> tuple[str, ServiceToken]:
        """Issue a token to a service; return it, which is possible only now, and its row.

        budget: of lookups, required with the scope `discovery` and refused without it. Raises ValueError.
        """
        wanted = frozenset(scopes)
        if not NAME.fullmatch(name):
            raise ValueError(
                "a name is 1 to 64 letters, digits, '.', '_' or '-', the first and last a letter or digit"
            )
        if not wanted or not wanted <= SCOPES.keys():
            raise ValueError(f"scopes are one or more of: {', '.join(SCOPES)}")
        if not timedelta(0) < lifetime <= MAX_LIFETIME:
            raise ValueError(f"a token lives for up to {MAX_LIFETIME.days} days")
        if (budget is not None) != (DISCOVERY in wanted):
            raise ValueError(f"a budget goes with the scope {DISCOVERY}, and only with it")
        now = self.clock()
        credential = Credential(
            (UUID(bytes=self.entropy(16), version=4),), self.entropy(SECRET_SIZE)
        )
        (token_id,) = credential.ids
        with self.database.write(adds=True) as connection:
            connection.execute(
                _INSERT_TOKEN,
                {
                    "id": token_id,
                    "name": name,
                    "scopes": " ".join(sorted(wanted)),
                    "discovery_burst": budget and budget.burst,
                    "discovery_per_day": budget and budget.per_day,
                    "token_hash": credential.secret_hash,
                    "created_at": now,
                    "expires_at": now + lifetime,
                },
            )
            issued = connection.execute(_SELECT_TOKEN, {"id": token_id}).one()
        return credential.format(SERVICE_PREFIX), cast(ServiceToken, issued)

    def authenticate(self, token: str) -> ServiceCaller:
        """Return the service of a token.

        Raises ServiceTokenInvalid or ServiceTokenExpired.
        """
        credential = Credential.parse(SERVICE_PREFIX, 1, token)
        if credential is None:
            raise ServiceTokenInvalid("It is not a service token, or was truncated or altered.")
        (token_id,) = credential.ids
        now = self.clock()
        with self.database.read() as connection:
            row = connection.execute(_SELECT_TOKEN, {"id": token_id}).one_or_none()
        if row is None or not hmac.compare_digest(row.token_hash, credential.secret_hash):
            raise ServiceTokenInvalid("It is not one of this service's tokens.")
        if row.revoked_at is not None:
            raise ServiceTokenInvalid("It was revoked. Ask the operator for another.")
        if row.expires_at <= now:
            raise ServiceTokenExpired("Ask the operator for another.")
        if row.last_used_at is None or now - row.last_used_at >= USED_RESOLUTION:
            with self.database.write() as connection:
                connection.execute(_UPDATE_LAST_USED, {"token": token_id, "last_used_at": now})
        budget = budget_of(cast(ServiceToken, row))
        return ServiceCaller(token_id, row.name, frozenset(row.scopes.split()), budget)

    def all(self) -> list[ServiceToken]:
        """Return every token that is not deleted yet, by name and age."""
        with self.database.read() as connection:
            return find_all(connection, ServiceToken, _SELECT_ALL)

    def revoke(self, token_id: UUID) -> bool:
        """Revoke a token; return whether it exists."""
        with self.database.write() as connection:
            connection.execute(
                update(_TOKENS)
                .where(_TOKENS.c.id == token_id, _TOKENS.c.revoked_at.is_(None))
                .values(revoked_at=self.clock())
            )
            known = connection.execute(_SELECT_TOKEN, {"id": token_id}).one_or_none()
        return known is not None

    def state(self, token: ServiceToken) -> str:
        """Return valid, expired or revoked."""
        if token.revoked_at is not None:
            return "revoked"
        return "valid" if token.expires_at > self.clock() else "expired"

    @staticmethod
    def purge(connection: Connection, now: datetime) -> int:
        """Delete a batch of tokens that expired long ago."""
        return purge(connection, ServiceToken, ServiceToken.expires_at < now - RETENTION)


def budget_of(token: ServiceToken) -> Budget | None:
    """Return the lookup budget that a token was issued with."""
    burst, per_day = token.discovery_burst, token.discovery_per_day
    return None if burst is None or per_day is None else Budget(burst, per_day)
