"""Accounts of Matrix users: registration by OpenID token, access tokens, accepted terms.

An access token is `kithmx_` and 70 characters of base64url, made like a device token
(tokens/token_issuer.py); only its hash is stored.
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
from interop.matrix.terms import TermsOfService
from tokens.token_issuer import SECRET_SIZE, Credential

TOKEN_PREFIX = "kithmx_"
#: Of one user; the oldest is deleted.
MAX_TOKENS = 20
TOKEN_IDLE = timedelta(days=90)
USER_IDLE = timedelta(days=180)
#: How exact `last_used_at` is; a finer one would make every request a write.
LAST_USED_RESOLUTION = timedelta(hours=1)

_USERS, _TOKENS = table(MatrixUser), table(MatrixToken)
SELECT_CALLER = (
    select(
        _USERS.c.id,
        _USERS.c.user_id,
        _USERS.c.accepted,
        _USERS.c.bound_account,
        _USERS.c.validated_session,
        _TOKENS.c.last_used_at,
    )
    .join(_TOKENS, _TOKENS.c.matrix_user_id == _USERS.c.id)
    .where(
        _USERS.c.id == bindparam("id"),
        _TOKENS.c.token_hash == bindparam("token_hash"),
        _TOKENS.c.last_used_at > bindparam("used_after"),
    )
)
SELECT_OLD_TOKENS = (
    select(_TOKENS.c.token_hash)
    .where(_TOKENS.c.matrix_user_id == bindparam("matrix_user_id"))
    .order_by(_TOKENS.c.created_at.desc(), _TOKENS.c.token_hash)
    .offset(MAX_TOKENS)
)


@cache
def upsert_user(dialect: str) -> Executable:
    """Return the statement that stores a user who registers."""
    return (
        insert_into(dialect, MatrixUser)
        .values(
            id=bindparam("id"),
            user_id=bindparam("user_id"),
            accepted="",
            created_at=bindparam("now"),
            last_used_at=bindparam("now"),
        )
        .on_conflict_do_update(index_elements=["id"], set_={"last_used_at": bindparam("now")})
    )


@dataclass(frozen=True)
class MatrixCaller:
    """The Matrix user who makes a request.

    bound_account: the account whose number they bound last. validated_session: the id of the verification
    with which they proved a number last, 32 bytes.
    """

    id: UUID
    user_id: str
    token_hash: bytes
    bound_account: UUID | None
    validated_session: bytes | None

    @property
    def homeserver(self) -> str:
        """The name of their homeserver."""
        return self.user_id.partition(":")[2]


def user_uuid(user_id: str) -> UUID:
    """Return the UUID under which a user is stored."""
    return UUID(bytes=hashlib.sha256(user_id.encode()).digest()[:16])


@dataclass(frozen=True)
class MatrixAccountService:
    """Registers and authenticates Matrix users, and stores the terms that they accept."""

    database: Database
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    keyring: Keyring
    homeservers: Homeservers
    terms: TermsOfService

    def register(self, server_name: str, openid_token: str, requester: Requester) -> str:
        """Verify an OpenID token with the named homeserver; return an access token for its user.

        Raises TooManyMatrixRegistrations before it is asked, and what `Homeservers.user_of` raises.
        """
        with self.database.write(adds=True) as connection:
            network = self.keyring.digest("requester", requester.network)
            allowed, status = rate_limits.consume(connection, REGISTRATIONS, network, self.clock())
        if not allowed:
            raise TooManyMatrixRegistrations("Try again later.", rate_limit=status)
        user_id = self.homeservers.user_of(server_name, openid_token)
        credential = Credential((user_uuid(user_id),), self.entropy(SECRET_SIZE))
        (uuid,) = credential.ids
        now = self.clock()
        with self.database.write(adds=True) as connection:
            connection.execute(
                upsert_user(dialect_of(connection)), {"id": uuid, "user_id": user_id, "now": now}
            )
            connection.execute(
                _TOKENS.insert(),
                {
                    "matrix_user_id": uuid,
                    "token_hash": credential.secret_hash,
                    "created_at": now,
                    "last_used_at": now,
                },
            )
            old = connection.scalars(SELECT_OLD_TOKENS, {"matrix_user_id": uuid}).all()
            self._delete_tokens(connection, uuid, old)
        return credential.format(TOKEN_PREFIX)

    def authenticate(self, token: str | None, *, need_terms: bool = True) -> MatrixCaller:
        """Return the user of an access token.

        Raises MatrixTokenInvalid, and MatrixTermsNotSigned if `need_terms`.
        """
        credential = Credential.parse(TOKEN_PREFIX, 1, token or "")
        if credential is None:
            raise MatrixTokenInvalid("Register with an OpenID token of your homeserver to get one.")
        (uuid,) = credential.ids
        token_hash = credential.secret_hash
        now = self.clock()
        values = {"id": uuid, "token_hash": token_hash, "used_after": now - TOKEN_IDLE}
        with self.database.read() as connection:
            row = connection.execute(SELECT_CALLER, values).one_or_none()
        if row is None:
            raise MatrixTokenInvalid("It is unknown, logged out or was not used for too long.")
        if now - row.last_used_at >= LAST_USED_RESOLUTION:
            self._mark_used(uuid, token_hash, now)
        if need_terms and not self.terms.accepted_by(row.accepted):
            raise MatrixTermsNotSigned("Accept the terms at GET /_matrix/identity/v2/terms.")
        return MatrixCaller(uuid, row.user_id, token_hash, row.bound_account, row.validated_session)

    def _mark_used(self, uuid: UUID, token_hash: bytes, now: datetime) -> None:
        is_token = (MatrixToken.matrix_user_id == uuid, MatrixToken.token_hash == token_hash)
        with self.database.write() as connection:
            connection.execute(
                update(MatrixUser).where(MatrixUser.id == uuid).values(last_used_at=now)
            )
            connection.execute(update(MatrixToken).where(*is_token).values(last_used_at=now))

    def log_out(self, caller: MatrixCaller) -> None:
        """Delete the caller's token; their bindings stay."""
        with self.database.write() as connection:
            self._delete_tokens(connection, caller.id, [caller.token_hash])

    def accept_terms(self, caller: MatrixCaller, urls: Sequence[str]) -> None:
        """Store which terms the caller accepts, in addition to those accepted before."""
        with self.database.write() as connection:
            user = find(connection, MatrixUser, MatrixUser.id == caller.id, lock=True)
            if user is not None:
                accepted = self.terms.accept(user.accepted, urls)
                connection.execute(
                    update(MatrixUser).where(MatrixUser.id == caller.id).values(accepted=accepted)
                )

    @staticmethod
    def _delete_tokens(connection: Connection, uuid: UUID, hashes: Sequence[bytes]) -> None:
        are_tokens = (MatrixToken.matrix_user_id == uuid, MatrixToken.token_hash.in_(hashes))
        connection.execute(delete(MatrixToken).where(*are_tokens))


def purge_tokens(connection: Connection, now: datetime) -> int:
    """Delete a batch of tokens that were not used for too long."""
    return purge(connection, MatrixToken, MatrixToken.last_used_at < now - TOKEN_IDLE)


def purge_users(connection: Connection, now: datetime) -> int:
    """Delete a batch of users without tokens; their bindings stay."""
    return purge(connection, MatrixUser, MatrixUser.last_used_at < now - USER_IDLE)


def update_caller(connection: Connection, caller: MatrixCaller, **values: UUID | bytes) -> None:
    """Store the account that the caller bound last, or the session that they validated last."""
    connection.execute(update(MatrixUser).where(MatrixUser.id == caller.id).values(values))
