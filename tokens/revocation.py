"""Revocation: a device whose token was revoked keeps its mailbox for 30 days, and may return to it.

It returns by a registration of its account that its identity key signed; every other registration, and
the 30 days, end it (`AccountService.claim`, `purge`).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, select, update

from core.database import dialect_of, insert_into, table
from tokens.devices import DeviceService, RegisteredDevice
from tokens.events import AccountEvents
from tokens.models import Device, RetiredToken
from tokens.schemas import DeviceDescription
from tokens.token_issuer import TOKEN_PREFIX, Credential

#: How long a device without a valid token is kept.
RETENTION = timedelta(days=30)
#: In the place of the hash of a valid token; no token hashes to it.
NO_TOKEN = b""

_DEVICES = table(Device).c
_HERE = (_DEVICES.account_id == bindparam("account"), _DEVICES.id == bindparam("device"))
_HOLDING = select(*table(Device).columns).where(*_HERE).with_for_update()
_DUE = (
    select(_DEVICES.account_id)
    .where(_DEVICES.token_revoked_at < bindparam("before", type_=_DEVICES.token_revoked_at.type))
    .order_by(_DEVICES.token_revoked_at)
    .limit(1)
)


@cache
def _retiring(dialect: str) -> Executable:
    return (
        insert_into(dialect, RetiredToken)
        .values(
            account_id=bindparam("account"),
            device_id=bindparam("device"),
            token_hash=bindparam("hash"),
            retired_at=bindparam("now"),
            never_used=bindparam("unused"),
        )
        .on_conflict_do_nothing()
    )


def retire(
    connection: Connection,
    account_id: UUID,
    device_id: UUID,
    token_hash: bytes,
    now: datetime,
    *,
    never_used: bool = False,
) -> None:
    """Remember a token of a device that is not valid any more, so that its use raises the alarm."""
    connection.execute(
        _retiring(dialect_of(connection)),
        {
            "account": account_id,
            "device": device_id,
            "hash": token_hash,
            "now": now,
            "unused": never_used,
        },
    )


class RevocationService:
    """Revokes the tokens of devices, lets devices return, and deletes those that did not."""

    def __init__(
        self, clock: Callable[[], datetime], devices: DeviceService, events: AccountEvents
    ) -> None:
        self._clock = clock
        self._devices = devices
        self._events = events

    def revoke(self, connection: Connection, account_id: UUID, device_id: UUID) -> bool:
        """Revoke the tokens of a device, in the caller's transaction; say whether it had a valid one."""
        here = {"account": account_id, "device": device_id}
        row = connection.execute(_HOLDING, here).one_or_none()
        if row is None or row.token_revoked_at is not None:
            return False
        now = self._clock()
        for token_hash in (row.token_hash, row.next_token_hash):
            if token_hash is not None:
                retire(connection, account_id, device_id, token_hash, now)
        connection.execute(
            update(Device)
            .where(Device.account_id == account_id, Device.id == device_id)
            .values(token_hash=NO_TOKEN, next_token_hash=None, token_revoked_at=now)
        )
        self._devices.end_links(connection, account_id)
        self._events.revoke_token(connection, account_id, device_id)
        return True

    def note_return(self, connection: Connection, account_id: UUID, device_id: UUID) -> None:
        """Tell that a device returns, while the account's other devices are still there.

        Messages were not for it while it was unseen for long beside them, and it is to know that.
        """
        here = {"account": account_id, "device": device_id}
        row = connection.execute(_HOLDING, here).one()
        self._events.return_device(connection, account_id, device_id, row.last_seen_at)

    def restore(
        self,
        connection: Connection,
        account_id: UUID,
        device_id: UUID,
        description: DeviceDescription,
        secret: bytes,
    ) -> RegisteredDevice:
        """Give a device of an account a new token, in the caller's transaction; its mailbox stays.

        What it had before, valid or not, is not valid, and raises no alarm any more: whoever stole one
        could end the device again and again.
        """
        credential = Credential((account_id, device_id), secret)
        connection.execute(
            update(Device)
            .where(Device.account_id == account_id, Device.id == device_id)
            .values(
                name=description.name,
                platform=description.platform,
                token_hash=credential.secret_hash,
                next_token_hash=None,
                token_revoked_at=None,
                last_seen_at=self._clock(),
            )
        )
        connection.execute(
            delete(RetiredToken).where(
                RetiredToken.account_id == account_id, RetiredToken.device_id == device_id
            )
        )
        self._events.replace_token(connection, account_id, device_id, credential.secret_hash)
        return RegisteredDevice(account_id, device_id, credential.format(TOKEN_PREFIX))

    def purge(self, connection: Connection, now: datetime) -> int:
        """Delete the devices of one account whose tokens were revoked 30 days ago; give their number.

        One account at a time, because mailboxes are locked in the order of their ids, and before payloads.
        """
        before = now - RETENTION
        account_id = connection.scalar(_DUE, {"before": before})
        if account_id is None:
            return 0
        due = (Device.account_id == account_id, Device.token_revoked_at < before)
        held = select(Device.id).where(*due).order_by(Device.id).with_for_update()
        device_ids = list(connection.scalars(held))
        return len(self._devices.remove_devices(connection, account_id, device_ids))
