"""Who is written to through a group: its joined accounts, and their devices.

Owns what the mailbox asks of groups in the transaction that stores a message. The rows of the groups
stay locked there, so a message is either before a change of the group or after it: whoever has left
receives nothing more. Refuses nothing; the caller compares.
"""

import hashlib
from collections.abc import Collection, Iterable
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from core.database import table
from messaging.letters import Roster
from messaging.membership import State
from messaging.models import DeviceKeys, Group, GroupMember
from tokens.models import Device


class MemberDevice(NamedTuple):
    """A device that a message to a group is encrypted for; None without keys."""

    account_id: UUID
    device_id: UUID
    registration_id: int | None


def rosters(connection: Connection, group_ids: Collection[UUID]) -> dict[UUID, Roster]:
    """Give who joined each group, held until the transaction ends; a group that is gone is missing."""
    if not group_ids:
        return {}
    versions: dict[UUID, int] = {
        row.id: row.version for row in connection.execute(_HOLDING, {"groups": list(group_ids)})
    }
    # A statement of its own: joined to the one above, which may have waited for a change of the group,
    # PostgreSQL would show the members of before that change.
    joined: dict[UUID, list[UUID]] = {group_id: [] for group_id in versions}
    for group_id, account_id in connection.execute(_JOINED, {"groups": list(versions)}):
        joined[group_id].append(account_id)
    return {
        group_id: Roster(version, frozenset(joined[group_id]))
        for group_id, version in versions.items()
    }


def devices_of(connection: Connection, account_ids: Collection[UUID]) -> list[MemberDevice]:
    """Give the devices of accounts, by ascending device id, with the registration ids of their keys."""
    rows = connection.execute(_DEVICES, {"accounts": list(account_ids)})
    return [MemberDevice(*row) for row in rows]


def devices_digest(devices: Iterable[tuple[UUID, int | None]]) -> bytes:
    """Hash devices and their registration ids, in whatever order they come.

    SHA-256 over the 16-byte ids in ascending order, each followed by be32 of its registration id, which
    is 0 without keys (docs/messaging.md, Groups).
    """
    digest = hashlib.sha256()
    for device_id, registration_id in sorted((device.bytes, key or 0) for device, key in devices):
        digest.update(device_id + registration_id.to_bytes(4))
    return digest.digest()


_GROUPS, _MEMBERS = table(Group).c, table(GroupMember).c
_OF, _KEYS = table(Device).c, table(DeviceKeys).c

_HOLDING = (
    select(_GROUPS.id, _GROUPS.version)
    .where(_GROUPS.id.in_(bindparam("groups", expanding=True)))
    .order_by(_GROUPS.id)
    .with_for_update(read=True)
)
_JOINED = select(_MEMBERS.group_id, _MEMBERS.account_id).where(
    _MEMBERS.group_id.in_(bindparam("groups", expanding=True)), _MEMBERS.state == State.JOINED
)
_DEVICES = (
    select(_OF.account_id, _OF.id, _KEYS.registration_id)
    .select_from(
        table(Device).outerjoin(
            table(DeviceKeys),
            (_KEYS.account_id == _OF.account_id) & (_KEYS.device_id == _OF.id),
        )
    )
    .where(_OF.account_id.in_(bindparam("accounts", expanding=True)))
    .order_by(_OF.id)
)
