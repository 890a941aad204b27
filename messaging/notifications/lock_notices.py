"""Hints to open sockets that the registration lock of their account is to be removed, or stays after all."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from core.database import Database, table
from messaging.message_types import LockRemovalNotice, Notice
from tokens.devices import Caller, DeviceService
from tokens.models import Account

_ACCOUNTS = table(Account).c
_ENDING = select(_ACCOUNTS.registration_lock_ends_at).where(_ACCOUNTS.id == bindparam("account"))


class LockNotices:
    """Tells each device of an account, at once or when it opens its socket."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        notice: Callable[[UUID, Notice], None],
    ) -> None:
        self._database = database
        self._clock = clock
        #: Tells one device; must not wait.
        self._notice = notice

    def lock_removal(
        self, connection: Connection, account_id: UUID, ends_at: datetime | None
    ) -> None:
        """Tell all devices, after the commit."""
        for device_id in DeviceService.device_ids(connection, account_id):
            call = partial(self._notice, device_id, LockRemovalNotice(ends_at))
            self._database.afterwards(connection, call)

    def greet(self, caller: Caller) -> Sequence[Notice]:
        """Give what a socket that opens should hear: that the lock is about to be removed."""
        with self._database.read() as connection:
            ends_at = connection.scalar(_ENDING, {"account": caller.account_id})
        return () if ends_at is None or ends_at <= self._clock() else (LockRemovalNotice(ends_at),)
