"""Revocation: whose device is gone, or whose token was replaced, does not listen any more.

Owns that this is told after the commit, so that nobody is ended for what was rolled back.
"""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from sqlalchemy import Connection

from core.database import Database
from messaging.message_types import CloseCode
from messaging.notifications.listeners import ListenerRegistry
from tokens.devices import DeviceService


class Revocation:
    """Listens to `AccountEvents`, and ends listeners."""

    def __init__(self, database: Database, wakeups: ListenerRegistry) -> None:
        self._database = database
        self._wakeups = wakeups

    def devices_removed(
        self, connection: Connection, account_id: UUID, device_ids: Sequence[UUID]
    ) -> None:
        """End who listens for devices that are gone."""
        for device_id in device_ids:
            self._database.afterwards(
                connection, partial(self._wakeups.close, device_id, CloseCode.REVOKED)
            )

    def token_revoked(self, connection: Connection, account_id: UUID, device_id: UUID) -> None:
        """End who listens for a device without a valid token."""
        self._database.afterwards(
            connection, partial(self._wakeups.close, device_id, CloseCode.REVOKED)
        )

    def number_left(self, connection: Connection, account_id: UUID, number_id: UUID) -> None:
        """End who listens for an account that has another number: sockets are known by the one before."""
        for device_id in DeviceService.device_ids(connection, account_id):
            self._database.afterwards(
                connection, partial(self._wakeups.close, device_id, CloseCode.NUMBER_CHANGED)
            )

    def token_replaced(
        self, connection: Connection, account_id: UUID, device_id: UUID, token_hash: bytes
    ) -> None:
        """End who listens with an older token than this one."""
        self._database.afterwards(
            connection,
            partial(self._wakeups.close, device_id, CloseCode.TOKEN_REPLACED, token_hash),
        )
