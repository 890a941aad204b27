"""Accounts leave groups, many at once: by themselves, removed by an admin, or because they are deleted.

All functions run in the caller's transaction, which has locked the groups. A group with members always has an
admin; a group without members is deleted.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, select, tuple_, update

from core.database import table
from messaging.groups.models import Group, GroupMember, Membership, MemberState, Role

_GROUPS, _MEMBERS, _MEMBERSHIPS = table(Group).c, table(GroupMember).c, table(Membership).c
_IS_JOINED = (
    _MEMBERS.group_id.in_(bindparam("group_ids", expanding=True)),
    _MEMBERS.state == MemberState.JOINED,
)

_INCREMENT_VERSIONS = (
    update(table(Group))
    .where(_GROUPS.id.in_(bindparam("group_ids", expanding=True)))
    .values(version=_GROUPS.version + 1)
    .returning(_GROUPS.id, _GROUPS.version)
)
_SELECT_GROUPS_WITH_MEMBERS = select(_MEMBERS.group_id).where(*_IS_JOINED).distinct()
_RANKED = (
    select(
        _MEMBERS.group_id,
        _MEMBERS.account_id,
        func.row_number()
        .over(partition_by=_MEMBERS.group_id, order_by=(_MEMBERS.since, _MEMBERS.account_id))
        .label("place"),
        func.max(_MEMBERS.role).over(partition_by=_MEMBERS.group_id).label("highest"),
    )
    .where(*_IS_JOINED)
    .subquery()
)
_PROMOTE_FIRST_MEMBERS = (
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
    """Return the ids of all groups of an account, including those it was not told of."""
    statement = select(_MEMBERSHIPS.group_id).where(_MEMBERSHIPS.account_id == account_id)
    return list(connection.scalars(statement))


def remove(connection: Connection, group_ids: Collection[UUID], account_id: UUID) -> None:
    """Delete an account from groups."""
    for columns, model in ((_MEMBERS, GroupMember), (_MEMBERSHIPS, Membership)):
        connection.execute(
            delete(model).where(
                columns.account_id == account_id, columns.group_id.in_(list(group_ids))
            )
        )


def leave(connection: Connection, group_ids: Collection[UUID], account_id: UUID) -> dict[UUID, int]:
    """Let an account leave groups; return the new versions of the groups that remain.

    If it was the last admin, the longest-standing member becomes admin. If it was the last member, the group
    and its invitations are deleted.
    """
    remove(connection, group_ids, account_id)
    remaining = set(connection.scalars(_SELECT_GROUPS_WITH_MEMBERS, {"group_ids": list(group_ids)}))
    if empty := set(group_ids) - remaining:
        _delete(connection, empty)
    parameters = {"group_ids": list(remaining)}
    connection.execute(_PROMOTE_FIRST_MEMBERS, parameters)
    return {row.id: row.version for row in connection.execute(_INCREMENT_VERSIONS, parameters)}


def _delete(connection: Connection, group_ids: Collection[UUID]) -> None:
    invited = connection.execute(
        delete(GroupMember)
        .where(_MEMBERS.group_id.in_(list(group_ids)))
        .returning(_MEMBERS.account_id, _MEMBERS.group_id)
    ).all()
    key = tuple_(_MEMBERSHIPS.account_id, _MEMBERSHIPS.group_id)
    connection.execute(delete(Membership).where(key.in_([tuple(row) for row in invited])))
    connection.execute(delete(Group).where(_GROUPS.id.in_(list(group_ids))))
