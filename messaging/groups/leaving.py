"""How accounts go out of groups, and what becomes of groups then.

Owns that a group which has members has an admin, and that one without members is deleted. All of it for
many groups at once, in the caller's transaction, which holds them. Refuses nothing.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, Connection, bindparam, delete, func, select, tuple_, update

from core.database import table
from messaging.groups.membership import MemberState, Role
from messaging.groups.models import Group, GroupMember, Membership

_GROUPS, _MEMBERS, _WAYS = table(Group).c, table(GroupMember).c, table(Membership).c
_THESE: BindParameter[Any] = bindparam("groups", expanding=True)

_STEPPING = (
    update(table(Group))
    .where(_GROUPS.id.in_(_THESE))
    .values(version=_GROUPS.version + 1)
    .returning(_GROUPS.id, _GROUPS.version)
)
_WITH_MEMBERS = (
    select(_MEMBERS.group_id)
    .where(_MEMBERS.group_id.in_(_THESE), _MEMBERS.state == MemberState.JOINED)
    .distinct()
)
_RANKED = (
    select(
        _MEMBERS.group_id,
        _MEMBERS.account_id,
        func.row_number()
        .over(partition_by=_MEMBERS.group_id, order_by=(_MEMBERS.since, _MEMBERS.account_id))
        .label("place"),
        func.max(_MEMBERS.role).over(partition_by=_MEMBERS.group_id).label("highest"),
    )
    .where(_MEMBERS.group_id.in_(_THESE), _MEMBERS.state == MemberState.JOINED)
    .subquery()
)
_PROMOTING = (
    update(table(GroupMember))
    .where(
        tuple_(_MEMBERS.group_id, _MEMBERS.account_id).in_(
            select(_RANKED.c.group_id, _RANKED.c.account_id).where(
                _RANKED.c.place == 1, _RANKED.c.highest < Role.ADMIN
            )
        )
    )
    .values(role=Role.ADMIN)
)


def groups_of(connection: Connection, account_id: UUID) -> list[UUID]:
    """Give the ids of all groups that an account is in, whether or not it was told."""
    return list(connection.scalars(select(_WAYS.group_id).where(_WAYS.account_id == account_id)))


def remove(connection: Connection, group_ids: Collection[UUID], account_id: UUID) -> None:
    """Take an account out of held groups."""
    for columns, model in ((_MEMBERS, GroupMember), (_WAYS, Membership)):
        connection.execute(
            delete(model).where(
                columns.account_id == account_id, columns.group_id.in_(list(group_ids))
            )
        )


def depart(
    connection: Connection, group_ids: Collection[UUID], account_id: UUID
) -> dict[UUID, int]:
    """Let an account go out of held groups; give the versions of those that are left.

    Where it was the last admin, who has been a member longest becomes one; where it was the last
    member, the group is deleted, and its invitations with it.
    """
    remove(connection, group_ids, account_id)
    kept = set(connection.scalars(_WITH_MEMBERS, {"groups": list(group_ids)}))
    if gone := set(group_ids) - kept:
        _delete(connection, gone)
    connection.execute(_PROMOTING, {"groups": list(kept)})
    return {row.id: row.version for row in connection.execute(_STEPPING, {"groups": list(kept)})}


def _delete(connection: Connection, group_ids: Collection[UUID]) -> None:
    invited = connection.execute(
        delete(GroupMember)
        .where(_MEMBERS.group_id.in_(list(group_ids)))
        .returning(_MEMBERS.account_id, _MEMBERS.group_id)
    ).all()
    ways = tuple_(_WAYS.account_id, _WAYS.group_id)
    connection.execute(delete(Membership).where(ways.in_([tuple(row) for row in invited])))
    connection.execute(delete(Group).where(_GROUPS.id.in_(list(group_ids))))
