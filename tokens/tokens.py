"""Device tokens in use: whose is it, which is the current one, and what a replaced one gives away.

Owns what a token is worth right now. Refuses a token that was rotated out and revokes its device,
because two parties hold it and one of them stole it.
"""

import hmac
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import structlog
from sqlalchemy import Connection, bindparam, select, update

from core.database import Database, purge, table
from tokens.device_tokens import TOKEN_PREFIX, Credential, Mint
from tokens.events import AccountEvents
from tokens.models import Account, Device, RetiredToken
from tokens.problems import TokenInvalid, TokenReused
from tokens.service import Caller, DeviceService

log = structlog.get_logger()

#: `last_seen_at` is written once in this time, or every request would be a write.
SEEN_GRAIN = timedelta(hours=1)
RETIRED_KEPT = timedelta(days=365)

_DEVICES = table(Device).c
_AUTHENTICATING = select(
    _DEVICES.token_hash, _DEVICES.next_token_hash, _DEVICES.last_seen_at
).where(_DEVICES.account_id == bindparam("account"), _DEVICES.id == bindparam("device"))
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


class TokenService:
    """Authenticates by device token, and rotates tokens."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        mint: Mint,
        devices: DeviceService,
        events: AccountEvents,
    ) -> None:
        self._database = database
        self._clock = clock
        self._mint = mint
        self._devices = devices
        self._events = events

    def authenticate(self, token: str) -> Caller:
        """Say whose token this is.

        Raises TokenInvalid, or TokenReused after revoking the device of a rotated-out token.
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
        if not hmac.compare_digest(row.token_hash, presented) and not self._promote(
            account_id, device_id, presented, row.next_token_hash
        ):
            self._judge_stranger(account_id, device_id, presented)
        now = self._clock()
        if now - row.last_seen_at >= SEEN_GRAIN:
            self._mark_seen(account_id, device_id, row.last_seen_at)
        return Caller(account_id, device_id, presented)

    def _promote(
        self, account_id: UUID, device_id: UUID, presented: bytes, following: bytes | None
    ) -> bool:
        """Make a rotated token the current one at its first use, and retire the one before."""
        if following is None or not hmac.compare_digest(following, presented):
            return False
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
            connection.execute(
                table(RetiredToken)
                .insert()
                .values(
                    account_id=account_id,
                    device_id=device_id,
                    token_hash=row.token_hash,
                    retired_at=self._clock(),
                )
            )
            connection.execute(
                update(Device).where(*here).values(token_hash=presented, next_token_hash=None)
            )
            self._events.replace_token(connection, account_id, device_id, presented)
        return True

    def _judge_stranger(self, account_id: UUID, device_id: UUID, presented: bytes) -> None:
        """Refuse a token that is not the device's; a rotated-out one costs the device its place."""
        with self._database.write() as connection:
            retired = connection.scalar(
                select(RetiredToken.retired_at).where(
                    RetiredToken.account_id == account_id,
                    RetiredToken.device_id == device_id,
                    RetiredToken.token_hash == presented,
                )
            )
            if retired is not None:
                self._devices.remove_devices(connection, account_id, [device_id])
        if retired is None:
            raise TokenInvalid("It is not the token of its device.")
        log.warning("token.reused", account_id=str(account_id), device_id=str(device_id))
        raise TokenReused(
            "It was replaced by a newer one, so it may be stolen: the device was removed."
            " Register or link it again."
        )

    def _mark_seen(self, account_id: UUID, device_id: UUID, last_seen_at: datetime) -> None:
        with self._database.write() as connection:
            mark_seen(connection, [(account_id, device_id)], self._clock())
            self._events.return_device(connection, account_id, device_id, last_seen_at)

    def rotate(self, caller: Caller, idempotency_key: str | None) -> str:
        """Mint the caller's next token; it becomes the only one when it is first used."""
        occasion = b"rotate" + caller.device_id.bytes + caller.token_hash
        credential = Credential(
            (caller.account_id, caller.device_id), self._mint.secret(occasion, idempotency_key)
        )
        with self._database.write() as connection:
            done = connection.execute(
                update(Device)
                .where(
                    Device.account_id == caller.account_id,
                    Device.id == caller.device_id,
                    Device.token_hash == caller.token_hash,
                )
                .values(next_token_hash=credential.secret_hash)
            )
            if not cast(Any, done).rowcount:
                raise TokenInvalid("Its device was removed, or its token rotated, just now.")
        return credential.format(TOKEN_PREFIX)

    @staticmethod
    def purge_retired(connection: Connection, now: datetime) -> int:
        """Delete a batch of tokens that were rotated out so long ago that they are merely invalid."""
        return purge(connection, RetiredToken, RetiredToken.retired_at < now - RETIRED_KEPT)
