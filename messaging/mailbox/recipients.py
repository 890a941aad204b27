"""The devices that a message must be encrypted for: all devices of an account or of a group's members.

A message for other devices is refused, because a device that the sender left out would silently miss it.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Boolean, Column, Connection

from core.bulk import BulkStatement
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

#: Returns the joined members of groups; a group that does not exist is missing.
FindJoinedMembers = Callable[[Connection, Collection[UUID]], Mapping[UUID, JoinedMembers]]
#: Devices, and the registration id of the keys that each has published.
Devices = Mapping[UUID, int | None]


class AccountDevice(NamedTuple):
    """A device, and the registration id of its keys; None without keys."""

    account_id: UUID
    device_id: UUID
    registration_id: int | None


_DEVICES = table(Device).c
_SELECT_DEVICES = BulkStatement(
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
    """The devices that a batch of messages must be for, as of this transaction."""

    def __init__(
        self,
        connection: Connection,
        messages: Sequence[MessageSubmission],
        find_joined_members: FindJoinedMembers,
        now: datetime,
    ) -> None:
        accounts = {one.to for one in messages if not isinstance(one.to, GroupAtVersion)}
        groups = {one.to.id for one in messages if isinstance(one.to, GroupAtVersion)}
        self._groups = find_joined_members(connection, groups) if groups else {}
        accounts.update(*(members.accounts for members in self._groups.values()))
        self._of_account: dict[UUID, dict[UUID, int | None]] = {}
        for account_id, device_id, registration_id in devices_of(connection, accounts, now):
            self._of_account.setdefault(account_id, {})[device_id] = registration_id
        self._of_group: dict[UUID, dict[UUID, int | None]] = {}

    def devices(self, message: MessageSubmission) -> Collection[UUID]:
        """Return the devices that a message is for.

        Raises AccountNotFound, GroupNotFound, GroupChanged, or DevicesMismatched if the message is not for
        exactly those devices.
        """
        if isinstance(message.to, GroupAtVersion):
            devices = self._devices_of_group(message.to, message.from_account_id)
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
        if isinstance(message.contents, SharedContent):
            if devices_digest(devices) != message.contents.devices_digest:
                raise DevicesMismatched("Nothing was stored; fetch the group's devices again.")
        else:
            _compare(devices, message.contents)
        return devices

    def _devices_of_group(self, group: GroupAtVersion, sender: UUID) -> Devices:
        members = self._groups.get(group.id)
        if members is None or sender not in members.accounts:
            raise GroupNotFound("It does not exist, or you are not in it.")
        if members.version != group.version:
            raise GroupChanged(
                "Nothing was stored; fetch the group and send again.", version=members.version
            )
        if group.id not in self._of_group:
            self._of_group[group.id] = {
                device_id: registration_id
                for account_id in members.accounts
                for device_id, registration_id in self._of_account.get(account_id, {}).items()
            }
        return self._of_group[group.id]


def devices_of(
    connection: Connection, account_ids: Collection[UUID], now: datetime
) -> list[AccountDevice]:
    """Return the devices of accounts that messages must be for, in any order.

    A device that was not seen for 30 days is left out if another device of the account was, so that an old
    phone in a drawer makes nobody unreachable. It may miss messages, and gets a notice when it returns.
    """
    since = now - IDLE_AFTER
    rows = _SELECT_DEVICES.run(connection, [(account_id, since) for account_id in account_ids])
    active = {account_id for account_id, _, _, is_active in rows if is_active}
    return [AccountDevice(*row[:3]) for row in rows if row[3] or row[0] not in active]


def devices_digest(devices: Devices) -> bytes:
    """Return the digest of devices and their registration ids, as docs/messaging.md defines it for groups."""
    return hashlib.sha256(
        b"".join(
            device_id.bytes + (registration_id or 0).to_bytes(4)
            for device_id, registration_id in sorted(devices.items())
        )
    ).digest()


def _compare(devices: Devices, envelopes: Sequence[DeviceEnvelope]) -> None:
    """Raise DevicesMismatched unless envelopes are exactly for these devices and their keys."""
    missing = devices.keys() - {one.device_id for one in envelopes}
    extra = [one.device_id for one in envelopes if one.device_id not in devices]
    stale = [
        one.device_id
        for one in envelopes
        if one.registration_id is not None
        and one.device_id in devices
        and devices[one.device_id] != one.registration_id
    ]
    if missing or extra or stale:
        raise devices_mismatched(missing, extra, stale)


def devices_mismatched(
    missing: Iterable[UUID] = (), extra: Iterable[UUID] = (), stale: Iterable[UUID] = ()
) -> DevicesMismatched:
    """Return the refusal of a message that lacks devices, has extra ones, or uses outdated keys."""
    return DevicesMismatched(
        "Nothing was stored; encrypt for exactly the recipient's devices and send again.",
        missing=sorted(map(str, missing)),
        extra=sorted(map(str, extra)),
        stale=sorted(map(str, stale)),
    )
