"""Notifications of account events: closes listeners that may no longer listen, and announces lock removals.

Everything is sent after the commit, so that a rolled back change notifies nobody.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from core.database import Database, table
from messaging.message_types import CloseCode, LockRemovalNotice, Notice
from messaging.notifications.registry import ListenerRegistry
from tokens.devices import Caller, DeviceService
from tokens.models import Account

_ACCOUNTS = table(Account).c
SELECT_LOCK_END = select(_ACCOUNTS.registration_lock_ends_at).where(
    _ACCOUNTS.id == bindparam("account_id")
)


@dataclass(frozen=True)
class AccountNotifications:
    """Subscriber of `AccountEvents`."""

    database: Database
    clock: Callable[[], datetime]
    registry: ListenerRegistry

    def devices_removed(
        self, connection: Connection, account_id: UUID, device_ids: Sequence[UUID]
    ) -> None:
        """Close the listeners of removed devices."""
        for device_id in device_ids:
            self._close(connection, device_id, CloseCode.REVOKED)

    def token_revoked(self, connection: Connection, account_id: UUID, device_id: UUID) -> None:
        """Close the listeners of a device without a valid token."""
        self._close(connection, device_id, CloseCode.REVOKED)

    def token_replaced(
        self, connection: Connection, account_id: UUID, device_id: UUID, token_hash: bytes
    ) -> None:
        """Close the listeners of a device that authenticated with an older token than this one."""
        self._close(connection, device_id, CloseCode.TOKEN_REPLACED, token_hash)

    def number_left(self, connection: Connection, account_id: UUID, number_id: UUID) -> None:
        """Close the listeners of an account with a new number: a socket keeps the one it began with."""
        for device_id in DeviceService.device_ids(connection, account_id):
            self._close(connection, device_id, CloseCode.NUMBER_CHANGED)

    def _close(
        self,
        connection: Connection,
        device_id: UUID,
        code: CloseCode,
        token_hash: bytes | None = None,
    ) -> None:
        close = partial(self.registry.close, device_id, code, token_hash)
        self.database.after_commit(connection, close)

    def lock_removal(
        self, connection: Connection, account_id: UUID, ends_at: datetime | None
    ) -> None:
        """Tell all devices that the registration lock will be removed; None: it stays."""
        for device_id in DeviceService.device_ids(connection, account_id):
            send = partial(self.registry.notify, device_id, LockRemovalNotice(ends_at))
            self.database.after_commit(connection, send)

    def pending_notices(self, caller: Caller) -> Sequence[Notice]:
        """Return the notice for a new socket that the lock is about to be removed."""
        with self.database.read() as connection:
            ends_at = connection.scalar(SELECT_LOCK_END, {"account_id": caller.account_id})
        return () if ends_at is None or ends_at <= self.clock() else (LockRemovalNotice(ends_at),)
