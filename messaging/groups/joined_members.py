"""The joined members of groups, for the transaction that stores a message to them."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from core.database import table
from messaging.groups.models import Group, GroupMember, MemberState
from messaging.message_types import JoinedMembers

_GROUPS, _MEMBERS = table(Group).c, table(GroupMember).c
_LOCK_GROUPS_SHARED = (
    select(_GROUPS.id, _GROUPS.version)
    .where(_GROUPS.id.in_(bindparam("group_ids", expanding=True)))
    .order_by(_GROUPS.id)
    .with_for_update(read=True)
)
_SELECT_JOINED = select(_MEMBERS.group_id, _MEMBERS.account_id).where(
    _MEMBERS.group_id.in_(bindparam("group_ids", expanding=True)),
    _MEMBERS.state == MemberState.JOINED,
)


def find_joined_members(
    connection: Connection, group_ids: Collection[UUID]
) -> dict[UUID, JoinedMembers]:
    """Return the joined members of each group that exists.

    The groups stay locked until the transaction ends: a message is before a change of the group or after it.
    """
    locked = connection.execute(_LOCK_GROUPS_SHARED, {"group_ids": list(group_ids)})
    versions: dict[UUID, int] = dict(locked.all())
    # A separate statement: the one above may have waited for a change of the group, and joined to it,
    # PostgreSQL would show the members before that change.
    joined: dict[UUID, list[UUID]] = {group_id: [] for group_id in versions}
    for group_id, account_id in connection.execute(_SELECT_JOINED, {"group_ids": list(versions)}):
        joined[group_id].append(account_id)
    return {
        group_id: JoinedMembers(version, frozenset(joined[group_id]))
        for group_id, version in versions.items()
    }
