"""Device tokens in use: whose is it, which is the current one, and what a replaced one gives away.

A token that comes back after it was replaced is held by two parties, and one of them stole it: the tokens
of its device are revoked (`revocation.py`), and its mail stays.
"""

import hmac
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
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

#: `last_seen_at` is written once in this time, or every request would be a write.
SEEN_RESOLUTION = timedelta(hours=1)
RETIRED_RETENTION = timedelta(days=365)
#: Tokens of a device that were replaced before they were used, of which so many are known again.
MAX_NEVER_USED = 10
#: How long after its successor's first use a token may arrive without an alarm: requests overtake each other.
LATE = timedelta(minutes=1)

_DEVICES = table(Device).c
_ACCOUNTS = table(Account).c
_AUTHENTICATING = (
    select(
        _DEVICES.token_hash, _DEVICES.next_token_hash, _DEVICES.last_seen_at, _ACCOUNTS.number_id
    )
    .select_from(table(Device).outerjoin(table(Account), _ACCOUNTS.id == _DEVICES.account_id))
    .where(_DEVICES.account_id == bindparam("account"), _DEVICES.id == bindparam("device"))
)
_SEE = (
    update(table(Device))
    .where(_DEVICES.account_id == bindparam("account"), _DEVICES.id == bindparam("device"))
    .values(last_seen_at=bindparam("now")),
    update(table(Account))
    .where(table(Account).c.id == bindparam("account"))
    .values(last_seen_at=bindparam("now")),
)


def mark_seen(
    connection: Connection, devices: Collection[tuple[UUID, UUID]], now: datetime
) -> None:
    """Note that devices, each with its account before it, were seen now."""
    rows = [
        {"account": account_id, "device": device_id, "now": now}
        for account_id, device_id in sorted(devices)
    ]
    for statement in _SEE:
        connection.execute(statement, rows)


class DeviceTokenService:
    """Authenticates by device token, and rotates tokens."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        mint: TokenIssuer,
        revocations: RevocationService,
        events: AccountEvents,
        max_idle: timedelta | None = None,
    ) -> None:
        """Take how long a device may go unseen before its token expires; None: it does not."""
        self._database = database
        self._clock = clock
        self._mint = mint
        self._revocations = revocations
        self._max_idle = max_idle
        self._events = events

    def authenticate(self, token: str) -> Caller:
        """Say whose token this is.

        Raises TokenInvalid, TokenExpired, or TokenReused when a replaced one ended all tokens of its device.
        """
        credential = Credential.parse(TOKEN_PREFIX, 2, token)
        if credential is None:
            raise TokenInvalid("It is not a Kith device token, or was cut short or altered.")
        account_id, device_id = credential.ids
        presented = credential.secret_hash
        with self._database.read() as connection:
            row = connection.execute(
                _AUTHENTICATING, {"account": account_id, "device": device_id}
            ).one_or_none()
        if row is None:
            raise TokenInvalid("Its device was removed; register or link the device again.")
        now = self._clock()
        is_current = hmac.compare_digest(row.token_hash, presented)
        is_next = hmac.compare_digest(row.next_token_hash or b"", presented)
        if (is_current or is_next) and self._has_expired(row.last_seen_at, now):
            raise TokenExpired(
                "Its device was not seen for too long. Register the number again; with recover_device the"
                " device keeps its id and its mailbox."
            )
        if not is_current and not (is_next and self._promote(account_id, device_id, presented)):
            self._judge_stranger(account_id, device_id, presented)
        if now - row.last_seen_at >= SEEN_RESOLUTION:
            self._mark_seen(account_id, device_id, row.last_seen_at)
        return Caller(account_id, device_id, presented, row.number_id)

    def _has_expired(self, last_seen_at: datetime, now: datetime) -> bool:
        return self._max_idle is not None and now - last_seen_at >= self._max_idle

    def _promote(self, account_id: UUID, device_id: UUID, presented: bytes) -> bool:
        """Make a rotated token the current one at its first use, and retire the one before."""
        here = (Device.account_id == account_id, Device.id == device_id)
        with self._database.write() as connection:
            row = connection.execute(
                select(Device.token_hash, Device.next_token_hash).where(*here).with_for_update()
            ).one_or_none()
            if row is None:
                return False
            if row.next_token_hash != presented:
                # Another request with the same token was first, or a rotation replaced it.
                return bool(row.token_hash == presented)
            retire(connection, account_id, device_id, row.token_hash, self._clock())
            connection.execute(
                update(Device).where(*here).values(token_hash=presented, next_token_hash=None)
            )
            self._events.replace_token(connection, account_id, device_id, presented)
        return True

    def _judge_stranger(self, account_id: UUID, device_id: UUID, presented: bytes) -> None:
        """Refuse a token that is not valid; one that was replaced ends all tokens of its device."""
        now = self._clock()
        with self._database.write() as connection:
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
            late = (
                not retired.never_used
                and retired.token_revoked_at is None
                and now - retired.retired_at <= LATE
            )
            revoked = not late and self._revocations.revoke(connection, account_id, device_id)
        if late:
            raise TokenInvalid("It was replaced by a newer one just now; use that.")
        if not revoked:
            raise TokenInvalid(
                "The tokens of its device were revoked. Register the number again; with recover_device"
                " the device keeps its id and its mailbox."
            )
        log.warning("token.reused", account_id=str(account_id), device_id=str(device_id))
        raise TokenReused(
            "It was replaced by a newer one, so it may be stolen: all tokens of the device were revoked."
            " Register the number again; with recover_device the device keeps its id and its mailbox."
        )

    def _mark_seen(self, account_id: UUID, device_id: UUID, last_seen_at: datetime) -> None:
        with self._database.write() as connection:
            mark_seen(connection, [(account_id, device_id)], self._clock())
            self._events.return_device(connection, account_id, device_id, last_seen_at)

    def rotate(self, caller: Caller, idempotency_key: str | None) -> str:
        """TokenIssuer the caller's next token; it becomes the only one when it is first used.

        A next one that another rotation minted is replaced, and its use raises the alarm. Raises
        TooManyRotations; a rotation repeated under its idempotency key is not counted again.
        """
        occasion = b"rotate" + caller.device_id.bytes + caller.token_hash
        minted = [
            Credential((caller.account_id, caller.device_id), secret)
            for secret in self._mint.secrets(occasion, idempotency_key)
        ]
        here = (
            Device.account_id == caller.account_id,
            Device.id == caller.device_id,
            Device.token_hash == caller.token_hash,
        )
        with self._database.write(adds=True) as connection:
            row = connection.execute(
                select(Device.next_token_hash).where(*here).with_for_update()
            ).one_or_none()
            if row is None:
                raise TokenInvalid("Its device was removed, or its token rotated, just now.")
            for credential in minted:
                # The same rotation again, perhaps begun under the server secret before.
                if row.next_token_hash == credential.secret_hash:
                    return credential.format(TOKEN_PREFIX)
            allowed, status = rate_limits.consume(
                connection, TOKEN_ROTATIONS, caller.device_id.bytes, self._clock()
            )
            if not allowed:
                # Nothing was written: a count that is refused changes no row.
                raise TooManyRotations("The token was rotated too often.", rate_limit=status)
            if row.next_token_hash is not None:
                _forget_oldest(connection, caller)
                retire(
                    connection,
                    caller.account_id,
                    caller.device_id,
                    row.next_token_hash,
                    self._clock(),
                    never_used=True,
                )
            connection.execute(
                update(Device).where(*here).values(next_token_hash=minted[0].secret_hash)
            )
        return minted[0].format(TOKEN_PREFIX)

    @staticmethod
    def purge_retired(connection: Connection, now: datetime) -> int:
        """Delete a batch of tokens that were rotated out so long ago that they are merely invalid."""
        return purge(connection, RetiredToken, RetiredToken.retired_at < now - RETIRED_RETENTION)


_NEVER_USED = (
    table(RetiredToken).c.account_id == bindparam("account"),
    table(RetiredToken).c.device_id == bindparam("device"),
    table(RetiredToken).c.never_used.is_(True),
)
_OLDEST = (
    select(table(RetiredToken).c.token_hash)
    .where(*_NEVER_USED)
    .order_by(table(RetiredToken).c.retired_at.desc(), table(RetiredToken).c.token_hash)
    # SQLite has no OFFSET without LIMIT. There is one at most, but for those from before the bound.
    .limit(1_000)
    .offset(MAX_NEVER_USED - 1)
)
_FORGETTING_OLDEST = delete(table(RetiredToken)).where(
    *_NEVER_USED, table(RetiredToken).c.token_hash.in_(_OLDEST)
)


def _forget_oldest(connection: Connection, caller: Caller) -> None:
    """Make room for one more token that was never used; the transaction holds the device."""
    connection.execute(
        _FORGETTING_OLDEST, {"account": caller.account_id, "device": caller.device_id}
    )
