"""Device tokens: authentication, rotation, and detection of reuse.

A token that is used after it was replaced is held by two parties, one of which stole it. It ends all tokens
of its device (`revocation.py`); the mailbox stays.
"""

import hmac
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn
from uuid import UUID

import structlog
from sqlalchemy import Connection, bindparam, delete, select, update

from core import rate_limits
from core.database import Database, purge, table
from tokens.devices import Caller
from tokens.events import AccountEvents
from tokens.limits import TOKEN_ROTATIONS
from tokens.models import Account, Device, RetiredToken
from tokens.problems import TokenExpired, TokenInvalid, TokenReused, TooManyRotations
from tokens.revocation import RevocationService, retire
from tokens.token_issuer import TOKEN_PREFIX, Credential, TokenIssuer

log = structlog.get_logger()

#: How often `last_seen_at` is written: every request would be a write otherwise.
SEEN_RESOLUTION = timedelta(hours=1)
RETIRED_RETENTION = timedelta(days=365)
#: Tokens of a device that were replaced before their first use and are remembered.
MAX_UNUSED_TOKENS = 10
#: How long after the first use of its successor a token is refused without an alarm: requests overtake
#: each other.
ROTATION_GRACE_PERIOD = timedelta(minutes=1)

_RECOVER = "Register the number again; with recover_device the device keeps its id and its mailbox."
_DEVICES = table(Device).c
_ACCOUNTS = table(Account).c
_RETIRED = table(RetiredToken).c
_SELECT_TOKENS = (
    select(
        _DEVICES.token_hash, _DEVICES.next_token_hash, _DEVICES.last_seen_at, _ACCOUNTS.number_id
    )
    .select_from(table(Device).outerjoin(table(Account), _ACCOUNTS.id == _DEVICES.account_id))
    .where(_DEVICES.account_id == bindparam("account_id"), _DEVICES.id == bindparam("device_id"))
)
_UPDATE_LAST_SEEN = (
    update(table(Device))
    .where(_DEVICES.account_id == bindparam("account"), _DEVICES.id == bindparam("device"))
    .values(last_seen_at=bindparam("last_seen_at")),
    update(table(Account))
    .where(_ACCOUNTS.id == bindparam("account"))
    .values(last_seen_at=bindparam("last_seen_at")),
)
_IS_UNUSED = (
    _RETIRED.account_id == bindparam("account_id"),
    _RETIRED.device_id == bindparam("device_id"),
    _RETIRED.never_used.is_(True),
)
_DELETE_OLDEST_UNUSED = delete(table(RetiredToken)).where(
    *_IS_UNUSED,
    _RETIRED.token_hash.in_(
        select(_RETIRED.token_hash)
        .where(*_IS_UNUSED)
        .order_by(_RETIRED.retired_at.desc(), _RETIRED.token_hash)
        # SQLite has no OFFSET without LIMIT. At most one row is over, except rows older than the bound.
        .limit(1_000)
        .offset(MAX_UNUSED_TOKENS - 1)
    ),
)


def mark_seen(
    connection: Connection, devices: Collection[tuple[UUID, UUID]], now: datetime
) -> None:
    """Set `last_seen_at` of devices, given as (account_id, device_id), and of their accounts."""
    rows = [
        {"account": account_id, "device": device_id, "last_seen_at": now}
        for account_id, device_id in sorted(devices)
    ]
    for statement in _UPDATE_LAST_SEEN:
        connection.execute(statement, rows)


@dataclass(frozen=True)
class DeviceTokenService:
    """Authenticates by device token, and rotates tokens.

    max_idle: how long a device can be unseen before its token expires; None: it does not.
    """

    database: Database
    clock: Callable[[], datetime]
    issuer: TokenIssuer
    revocations: RevocationService
    events: AccountEvents
    max_idle: timedelta | None = None

    def authenticate(self, token: str) -> Caller:
        """Return the device of a token.

        Raises TokenInvalid, TokenExpired, or TokenReused: a replaced token ended all tokens of its device.
        """
        credential = Credential.parse(TOKEN_PREFIX, 2, token)
        if credential is None:
            raise TokenInvalid("It is not a Kith device token, or was truncated or altered.")
        account_id, device_id = credential.ids
        presented = credential.secret_hash
        with self.database.read() as connection:
            row = connection.execute(
                _SELECT_TOKENS, {"account_id": account_id, "device_id": device_id}
            ).one_or_none()
        if row is None:
            raise TokenInvalid("Its device was removed. Register or link the device again.")
        now = self.clock()
        is_current = hmac.compare_digest(row.token_hash, presented)
        is_next = hmac.compare_digest(row.next_token_hash or b"", presented)
        idle = now - row.last_seen_at
        if (is_current or is_next) and self.max_idle is not None and idle >= self.max_idle:
            raise TokenExpired(f"Its device was not seen for too long. {_RECOVER}")
        if not is_current and not (is_next and self._promote(account_id, device_id, presented)):
            self._refuse(account_id, device_id, presented)
        if idle >= SEEN_RESOLUTION:
            with self.database.write() as connection:
                mark_seen(connection, [(account_id, device_id)], now)
                self.events.device_returned.emit(
                    connection, account_id, device_id, row.last_seen_at
                )
        return Caller(account_id, device_id, presented, row.number_id)

    def _promote(self, account_id: UUID, device_id: UUID, presented: bytes) -> bool:
        """Make a rotated token the current one at its first use, and retire its predecessor."""
        here = (Device.account_id == account_id, Device.id == device_id)
        with self.database.write() as connection:
            row = connection.execute(
                select(Device.token_hash, Device.next_token_hash).where(*here).with_for_update()
            ).one_or_none()
            if row is None:
                return False
            if row.next_token_hash != presented:
                # Another request with the same token was first, or a rotation replaced it.
                return bool(row.token_hash == presented)
            retire(connection, account_id, device_id, row.token_hash, self.clock())
            connection.execute(
                update(Device).where(*here).values(token_hash=presented, next_token_hash=None)
            )
            self.events.token_replaced.emit(connection, account_id, device_id, presented)
        return True

    def _refuse(self, account_id: UUID, device_id: UUID, presented: bytes) -> NoReturn:
        """Raise the problem of an invalid token; one that was replaced ends all tokens of its device."""
        now = self.clock()
        with self.database.write() as connection:
            retired = connection.execute(
                select(RetiredToken.retired_at, RetiredToken.never_used, Device.token_revoked_at)
                .join(Device, (Device.account_id == account_id) & (Device.id == device_id))
                .where(
                    RetiredToken.account_id == account_id,
                    RetiredToken.device_id == device_id,
                    RetiredToken.token_hash == presented,
                )
            ).one_or_none()
            if retired is None:
                raise TokenInvalid("It is not the token of its device.")
            overtaken = (
                not retired.never_used
                and retired.token_revoked_at is None
                and now - retired.retired_at <= ROTATION_GRACE_PERIOD
            )
            revoked = not overtaken and self.revocations.revoke(connection, account_id, device_id)
        if overtaken:
            raise TokenInvalid("A newer token replaced it just now. Use that one.")
        if not revoked:
            raise TokenInvalid(f"The tokens of its device were revoked. {_RECOVER}")
        log.warning("token.reused", account_id=str(account_id), device_id=str(device_id))
        raise TokenReused(
            "A newer token replaced it, so it may be stolen: all tokens of the device were revoked."
            f" {_RECOVER}"
        )

    def rotate(self, caller: Caller, idempotency_key: str | None) -> str:
        """Issue the caller's next token, which becomes the only one at its first use.

        It replaces a next token that another rotation issued, whose use then raises the alarm. A rotation
        repeated with its idempotency key is not counted again. Raises TokenInvalid or TooManyRotations.
        """
        context = b"rotate" + caller.device_id.bytes + caller.token_hash
        issued = [
            Credential((caller.account_id, caller.device_id), secret)
            for secret in self.issuer.secrets(context, idempotency_key)
        ]
        here = (
            Device.account_id == caller.account_id,
            Device.id == caller.device_id,
            Device.token_hash == caller.token_hash,
        )
        now = self.clock()
        with self.database.write(adds=True) as connection:
            row = connection.execute(
                select(Device.next_token_hash).where(*here).with_for_update()
            ).one_or_none()
            if row is None:
                raise TokenInvalid("Its device was removed, or its token rotated, just now.")
            for credential in issued:
                # A repeat, possibly of a rotation under the former server secret.
                if row.next_token_hash == credential.secret_hash:
                    return credential.format(TOKEN_PREFIX)
            allowed, status = rate_limits.consume(
                connection, TOKEN_ROTATIONS, caller.device_id.bytes, now
            )
            if not allowed:
                # Raised inside the transaction: a refused count changes no row.
                raise TooManyRotations("The token was rotated too often.", rate_limit=status)
            if row.next_token_hash is not None:
                account_id, device_id = caller.account_id, caller.device_id
                ids = {"account_id": account_id, "device_id": device_id}
                connection.execute(_DELETE_OLDEST_UNUSED, ids)
                retire(connection, account_id, device_id, row.next_token_hash, now, never_used=True)
            connection.execute(
                update(Device).where(*here).values(next_token_hash=issued[0].secret_hash)
            )
        return issued[0].format(TOKEN_PREFIX)

    @staticmethod
    def purge_retired(connection: Connection, now: datetime) -> int:
        """Delete a batch of tokens retired long ago, which are then merely invalid."""
        return purge(connection, RetiredToken, RetiredToken.retired_at < now - RETIRED_RETENTION)
