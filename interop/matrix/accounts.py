"""Accounts of this door: a Matrix user, vouched for by her homeserver, and her access tokens.

Owns what an access token looks like and is worth: `kithmx_` and 70 characters of base64url, made like a
device token (tokens/token_issuer.py), of which only a hash is stored. Owns the terms that she accepted.
Refuses tokens that were not used for 90 days, and more than 20 a user: the oldest goes.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, select, update

from core import rate_limits
from core.database import Database, dialect_of, find, insert_into, purge, table
from core.requester import Requester
from core.secrets import Keyring
from interop.matrix.federation import Homeservers
from interop.matrix.limits import REGISTRATIONS
from interop.matrix.models import MatrixToken, MatrixUser
from interop.matrix.problems import (
    MatrixTermsNotSigned,
    MatrixTokenInvalid,
    TooManyMatrixRegistrations,
)
from interop.matrix.terms import Policies
from tokens.token_issuer import SECRET_SIZE, Credential

TOKEN_PREFIX = "kithmx_"
MAX_TOKENS = 20
IDLE = timedelta(days=90)
#: Who has no token any more is forgotten after this.
FORGOTTEN = timedelta(days=180)
#: Last uses are written once in this time, or every request would be a write.
USED_RESOLUTION = timedelta(hours=1)

_USERS, _TOKENS = table(MatrixUser), table(MatrixToken)
_AUTHENTICATING = (
    select(
        _USERS.c.id,
        _USERS.c.user_id,
        _USERS.c.accepted,
        _USERS.c.bound_account,
        _USERS.c.validated_session,
        _TOKENS.c.last_used_at,
    )
    .join(_TOKENS, _TOKENS.c.user == _USERS.c.id)
    .where(
        _USERS.c.id == bindparam("who"),
        _TOKENS.c.token_hash == bindparam("hash"),
        _TOKENS.c.last_used_at > bindparam("since"),
    )
)
_OLDER = (
    select(_TOKENS.c.token_hash)
    .where(_TOKENS.c.user == bindparam("who"))
    .order_by(_TOKENS.c.created_at.desc(), _TOKENS.c.token_hash)
    .offset(MAX_TOKENS)
)


@cache
def _opening(dialect: str) -> Executable:
    return (
        insert_into(dialect, MatrixUser)
        .values(
            id=bindparam("who"),
            user_id=bindparam("name"),
            accepted="",
            created_at=bindparam("now"),
            last_used_at=bindparam("now"),
        )
        .on_conflict_do_update(index_elements=["id"], set_={"last_used_at": bindparam("now")})
    )


@dataclass(frozen=True)
class MatrixCaller:
    """The Matrix user who makes a request, the account whose number they bound last, and the session.

    validated_session: the id of the verification with which they proved a number last, 32 bytes.
    """

    id: UUID
    user_id: str
    token_hash: bytes
    bound_account: UUID | None
    validated_session: bytes | None

    @property
    def homeserver(self) -> str:
        """The name of the server that vouched for her."""
        return self.user_id.partition(":")[2]


def identify(user_id: str) -> UUID:
    """Give the id under which a user is stored."""
    return UUID(bytes=hashlib.sha256(user_id.encode()).digest()[:16])


class MatrixAccountService:
    """Registers Matrix users, authenticates them and keeps what they accepted."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        keyring: Keyring,
        homeservers: Homeservers,
        policies: Policies,
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._keyring = keyring
        self._homeservers = homeservers
        self.policies = policies

    def register(self, server_name: str, openid_token: str, requester: Requester) -> str:
        """Give an access token to whom her homeserver vouches for.

        Raises TooManyMatrixRegistrations before it is asked, and what `Homeservers.user_of` does.
        """
        with self._database.write(adds=True) as connection:
            network = self._keyring.digest("requester", requester.network)
            allowed, status = rate_limits.consume(connection, REGISTRATIONS, network, self._clock())
        if not allowed:
            raise TooManyMatrixRegistrations("Try again later.", rate_limit=status)
        user_id = self._homeservers.user_of(server_name, openid_token)
        credential = Credential((identify(user_id),), self._entropy(SECRET_SIZE))
        (who,) = credential.ids
        now = self._clock()
        with self._database.write(adds=True) as connection:
            connection.execute(
                _opening(dialect_of(connection)), {"who": who, "name": user_id, "now": now}
            )
            connection.execute(
                _TOKENS.insert(),
                {
                    "user": who,
                    "token_hash": credential.secret_hash,
                    "created_at": now,
                    "last_used_at": now,
                },
            )
            self._forget(connection, who, connection.scalars(_OLDER, {"who": who}).all())
        return credential.format(TOKEN_PREFIX)

    def authenticate(self, token: str | None, *, need_terms: bool = True) -> MatrixCaller:
        """Say whose token this is; raises MatrixTokenInvalid, and MatrixTermsNotSigned if they are needed."""
        credential = Credential.parse(TOKEN_PREFIX, 1, token or "")
        if credential is None:
            raise MatrixTokenInvalid("Register with an OpenID token of your homeserver to get one.")
        (who,) = credential.ids
        now = self._clock()
        values = {"who": who, "hash": credential.secret_hash, "since": now - IDLE}
        with self._database.read() as connection:
            row = connection.execute(_AUTHENTICATING, values).one_or_none()
        if row is None:
            raise MatrixTokenInvalid("It is unknown, logged out or was not used for long.")
        if now - row.last_used_at >= USED_RESOLUTION:
            self._mark_used(who, credential.secret_hash, now)
        if need_terms and not self.policies.accepted_by(row.accepted):
            raise MatrixTermsNotSigned("Accept what GET /_matrix/identity/v2/terms offers.")
        return MatrixCaller(
            who,
            row.user_id,
            credential.secret_hash,
            row.bound_account,
            row.validated_session,
        )

    def _mark_used(self, who: UUID, token_hash: bytes, now: datetime) -> None:
        here = (MatrixToken.user == who, MatrixToken.token_hash == token_hash)
        with self._database.write() as connection:
            connection.execute(
                update(MatrixUser).where(MatrixUser.id == who).values(last_used_at=now)
            )
            connection.execute(update(MatrixToken).where(*here).values(last_used_at=now))

    def log_out(self, caller: MatrixCaller) -> None:
        """Make the caller's token worthless; what she bound stays bound."""
        with self._database.write() as connection:
            self._forget(connection, caller.id, [caller.token_hash])

    def accept(self, caller: MatrixCaller, urls: Sequence[str]) -> None:
        """Keep which terms the caller accepted, beside those that she accepted before."""
        with self._database.write() as connection:
            user = find(connection, MatrixUser, MatrixUser.id == caller.id, lock=True)
            if user is not None:
                accepted = self.policies.accept(user.accepted, urls)
                connection.execute(
                    update(MatrixUser).where(MatrixUser.id == caller.id).values(accepted=accepted)
                )

    @staticmethod
    def _forget(connection: Connection, who: UUID, hashes: Sequence[bytes]) -> None:
        here = (MatrixToken.user == who, MatrixToken.token_hash.in_(hashes))
        connection.execute(delete(MatrixToken).where(*here))

    @staticmethod
    def purge_tokens(connection: Connection, now: datetime) -> int:
        """Delete a batch of tokens that nobody used for long."""
        return purge(connection, MatrixToken, MatrixToken.last_used_at < now - IDLE)

    @staticmethod
    def purge_users(connection: Connection, now: datetime) -> int:
        """Delete a batch of users whose tokens are long gone; their bindings stay."""
        return purge(connection, MatrixUser, MatrixUser.last_used_at < now - FORGOTTEN)


def remember_bound(connection: Connection, caller: MatrixCaller, account_id: UUID) -> None:
    """Note the account whose number the caller bound last."""
    connection.execute(
        update(MatrixUser).where(MatrixUser.id == caller.id).values(bound_account=account_id)
    )


def remember_validated(connection: Connection, caller: MatrixCaller, session: bytes) -> None:
    """Note the session in which the caller proved a number last."""
    connection.execute(
        update(MatrixUser).where(MatrixUser.id == caller.id).values(validated_session=session)
    )
