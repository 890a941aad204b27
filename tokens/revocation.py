"""Revocation of device tokens: the device and its mailbox stay for 30 days.

The device returns with a registration of its account that its identity key signed. Any other registration
removes it (`AccountService.register`), and so does the end of the 30 days (`purge`).
"""

from collections.abc import Callable
from dataclasses import dataclass
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
#: Stored where a device has no valid token; no token hashes to it.
NO_TOKEN_HASH = b""

_DEVICES = table(Device).c
_LOCK_DEVICE = (
    select(*table(Device).columns)
    .where(_DEVICES.account_id == bindparam("account_id"), _DEVICES.id == bindparam("device_id"))
    .with_for_update()
)
_SELECT_OLDEST_REVOKED = (
    select(_DEVICES.account_id)
    .where(_DEVICES.token_revoked_at < bindparam("before", type_=_DEVICES.token_revoked_at.type))
    .order_by(_DEVICES.token_revoked_at)
    .limit(1)
)


@cache
def _insert_retired(dialect: str) -> Executable:
    return insert_into(dialect, RetiredToken).on_conflict_do_nothing()


def retire(
    connection: Connection,
    account_id: UUID,
    device_id: UUID,
    token_hash: bytes,
    now: datetime,
    *,
    never_used: bool = False,
) -> None:
    """Remember a token that is no longer valid, so that its use raises the alarm."""
    connection.execute(
        _insert_retired(dialect_of(connection)),
        {
            "account_id": account_id,
            "device_id": device_id,
            "token_hash": token_hash,
            "retired_at": now,
            "never_used": never_used,
        },
    )


@dataclass(frozen=True)
class RevocationService:
    """Revokes the tokens of devices, restores devices, and deletes those that did not return."""

    clock: Callable[[], datetime]
    devices: DeviceService
    events: AccountEvents

    def revoke(self, connection: Connection, account_id: UUID, device_id: UUID) -> bool:
        """Revoke the tokens of a device, in the caller's transaction; return whether it had a valid one."""
        ids = {"account_id": account_id, "device_id": device_id}
        row = connection.execute(_LOCK_DEVICE, ids).one_or_none()
        if row is None or row.token_revoked_at is not None:
            return False
        now = self.clock()
        for token_hash in (row.token_hash, row.next_token_hash):
            if token_hash is not None:
                retire(connection, account_id, device_id, token_hash, now)
        connection.execute(
            update(Device)
            .where(Device.account_id == account_id, Device.id == device_id)
            .values(token_hash=NO_TOKEN_HASH, next_token_hash=None, token_revoked_at=now)
        )
        self.devices.end_links(connection, account_id)
        self.events.token_revoked.emit(connection, account_id, device_id)
        return True

    def announce_return(self, connection: Connection, account_id: UUID, device_id: UUID) -> None:
        """Emit `device_returned` while the account's other devices still exist.

        A device that was idle beside them missed messages, and must learn that.
        """
        ids = {"account_id": account_id, "device_id": device_id}
        row = connection.execute(_LOCK_DEVICE, ids).one()
        self.events.device_returned.emit(connection, account_id, device_id, row.last_seen_at)

    def restore(
        self,
        connection: Connection,
        account_id: UUID,
        device_id: UUID,
        description: DeviceDescription,
        secret: bytes,
    ) -> RegisteredDevice:
        """Issue a new token to a device, in the caller's transaction; its mailbox stays.

        All former tokens become invalid and raise no alarm: a thief of one could otherwise end the device
        again and again.
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
                last_seen_at=self.clock(),
            )
        )
        connection.execute(
            delete(RetiredToken).where(
                RetiredToken.account_id == account_id, RetiredToken.device_id == device_id
            )
        )
        self.events.token_replaced.emit(connection, account_id, device_id, credential.secret_hash)
        return RegisteredDevice(account_id, device_id, credential.format(TOKEN_PREFIX))

    def purge(self, connection: Connection, now: datetime) -> int:
        """Delete the devices of one account whose tokens were revoked 30 days ago; return how many.

        One account at a time: mailboxes are locked in the order of their ids, and before payloads.
        """
        before = now - RETENTION
        account_id = connection.scalar(_SELECT_OLDEST_REVOKED, {"before": before})
        if account_id is None:
            return 0
        due = (Device.account_id == account_id, Device.token_revoked_at < before)
        locked = select(Device.id).where(*due).order_by(Device.id).with_for_update()
        device_ids = list(connection.scalars(locked))
        return len(self.devices.remove_devices(connection, account_id, device_ids))
