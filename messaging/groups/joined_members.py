"""Who is written to through a group: the accounts that joined it, and no longer those that left.

Owns what the mailbox asks of groups in the transaction that stores a message. The rows of the groups
stay locked there, so a message is either before a change of the group or after it.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from core.database import table
from messaging.groups.membership import MemberState
from messaging.groups.models import Group, GroupMember
from messaging.message_types import JoinedMembers

_GROUPS, _MEMBERS = table(Group).c, table(GroupMember).c
_HOLDING = (
    select(_GROUPS.id, _GROUPS.version)
    .where(_GROUPS.id.in_(bindparam("groups", expanding=True)))
    .order_by(_GROUPS.id)
    .with_for_update(read=True)
)
_JOINED = select(_MEMBERS.group_id, _MEMBERS.account_id).where(
    _MEMBERS.group_id.in_(bindparam("groups", expanding=True)), _MEMBERS.state == MemberState.JOINED
)


def find_joined_members(
    connection: Connection, group_ids: Collection[UUID]
) -> dict[UUID, JoinedMembers]:
    """Give who joined each group, held until the transaction ends; a group that is gone is missing."""
    held = connection.execute(_HOLDING, {"groups": list(group_ids)})
    versions: dict[UUID, int] = dict(held.all())
    # A statement of its own: joined to the one above, which may have waited for a change of the group,
    # PostgreSQL would show the members of before that change.
    joined: dict[UUID, list[UUID]] = {group_id: [] for group_id in versions}
    for group_id, account_id in connection.execute(_JOINED, {"groups": list(versions)}):
        joined[group_id].append(account_id)
    return {
        group_id: JoinedMembers(version, frozenset(joined[group_id]))
        for group_id, version in versions.items()
    }
