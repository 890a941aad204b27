"""Recipients: the devices that a message must be for, which are all of an account's or of a group's.

Owns the comparison of what a sender encrypted for with the devices there are. Refuses lists that are not
exact, because a device left out would silently miss the message.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Boolean, Column, Connection

from core.bulk import Bulk
from core.database import table
from messaging.groups.problems import GroupChanged, GroupNotFound
from messaging.keys.models import DeviceKeys
from messaging.mailbox.problems import DevicesMismatched
from messaging.message_types import (
    DeviceEnvelope,
    GroupAtVersion,
    JoinedMembers,
    MessageSubmission,
    SharedContent,
)
from tokens.devices import IDLE_AFTER
from tokens.models import Device
from tokens.problems import AccountNotFound

#: Finds groups as of now; one that is not there is missing.
FindJoinedMembers = Callable[[Connection, Collection[UUID]], Mapping[UUID, JoinedMembers]]
#: Devices, and the registration id of the keys that each has published.
Devices = Mapping[UUID, int | None]


class AccountDevice(NamedTuple):
    """A device, and the registration id of its keys; None without keys."""

    account_id: UUID
    device_id: UUID
    registration_id: int | None


_DEVICES = table(Device).c
_SELECT_DEVICES = Bulk(
    "SELECT d.account_id, d.id, k.registration_id,"
    " CASE WHEN d.last_seen_at > r.last_seen_at THEN 1 ELSE 0 END"
    " FROM {rows} AS r CROSS JOIN devices AS d LEFT JOIN device_keys AS k"
    " ON k.account_id = d.account_id AND k.device_id = d.id WHERE d.account_id = r.account_id",
    takes=[_DEVICES.account_id, _DEVICES.last_seen_at],
    gives=[
        _DEVICES.account_id,
        _DEVICES.id,
        table(DeviceKeys).c.registration_id,
        Column("is_active", Boolean),
    ],
)


class Recipients:
    """The devices that a batch of messages must be for, as they are in this transaction."""

    def __init__(
        self,
        connection: Connection,
        messages: Sequence[MessageSubmission],
        rosters: FindJoinedMembers,
        now: datetime,
    ) -> None:
        accounts = {one.to for one in messages if not isinstance(one.to, GroupAtVersion)}
        groups = {one.to.id for one in messages if isinstance(one.to, GroupAtVersion)}
        self._rosters = rosters(connection, groups) if groups else {}
        accounts.update(*(roster.accounts for roster in self._rosters.values()))
        self._of_account: dict[UUID, dict[UUID, int | None]] = {}
        for account_id, device_id, registration_id in devices_of(connection, accounts, now):
            self._of_account.setdefault(account_id, {})[device_id] = registration_id
        self._of_group: dict[UUID, dict[UUID, int | None]] = {}

    def devices(self, message: MessageSubmission) -> Collection[UUID]:
        """Give the devices that get a message, which it is exactly for.

        Raises AccountNotFound, GroupNotFound, GroupChanged or DevicesMismatched.
        """
        if isinstance(message.to, GroupAtVersion):
            devices = self._group(message.to, message.from_account_id)
        else:
            devices = self._of_account.get(message.to, {})
            if not devices:
                raise AccountNotFound("It was deleted, or never was.")
        if message.from_device_id in devices:
            devices = {
                device_id: registration_id
                for device_id, registration_id in devices.items()
                if device_id != message.from_device_id
            }
        if isinstance(message.sealed, SharedContent):
            if devices_digest(devices) != message.sealed.devices_digest:
                raise DevicesMismatched("Nothing was stored; fetch the group's devices again.")
        else:
            _compare(devices, message.sealed)
        return devices

    def _group(self, group: GroupAtVersion, sender: UUID) -> Devices:
        roster = self._rosters.get(group.id)
        if roster is None or sender not in roster.accounts:
            raise GroupNotFound("It is not there, or you are not in it.")
        if roster.version != group.version:
            raise GroupChanged(
                "Nothing was stored; fetch the group and send again.", version=roster.version
            )
        if group.id not in self._of_group:
            self._of_group[group.id] = {
                device_id: registration_id
                for account_id in roster.accounts
                for device_id, registration_id in self._of_account.get(account_id, {}).items()
            }
        return self._of_group[group.id]


def devices_of(
    connection: Connection, account_ids: Collection[UUID], now: datetime
) -> list[AccountDevice]:
    """Give the devices of accounts that messages are for, in any order.

    Those not seen for 30 days are left out if another one of the account was: a device in a drawer makes
    nobody unreachable. It may miss messages, and is told so when it comes back.
    """
    since = now - IDLE_AFTER
    rows = _SELECT_DEVICES.run(connection, [(account_id, since) for account_id in account_ids])
    active = {account_id for account_id, _, _, is_active in rows if is_active}
    return [AccountDevice(*row[:3]) for row in rows if row[3] or row[0] not in active]


def devices_digest(devices: Devices) -> bytes:
    """Hash devices with what they published, as docs/messaging.md defines it for groups."""
    return hashlib.sha256(
        b"".join(
            device_id.bytes + (registration_id or 0).to_bytes(4)
            for device_id, registration_id in sorted(devices.items())
        )
    ).digest()


def _compare(devices: Devices, sealed: Sequence[DeviceEnvelope]) -> None:
    """Refuse a list that is not exactly for these devices and what they published."""
    missing = devices.keys() - {one.device_id for one in sealed}
    extra = [one.device_id for one in sealed if one.device_id not in devices]
    stale = [
        one.device_id
        for one in sealed
        if one.registration_id is not None
        and one.device_id in devices
        and devices[one.device_id] != one.registration_id
    ]
    if missing or extra or stale:
        raise mismatched(missing, extra, stale)


def mismatched(
    missing: Iterable[UUID] = (), extra: Iterable[UUID] = (), stale: Iterable[UUID] = ()
) -> DevicesMismatched:
    """Say which devices a message is not for, which ones it should not be for, and which have new keys."""
    return DevicesMismatched(
        "Nothing was stored; encrypt for exactly the devices there are and send again.",
        missing=sorted(map(str, missing)),
        extra=sorted(map(str, extra)),
        stale=sorted(map(str, stale)),
    )
