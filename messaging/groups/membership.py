"""Groups and their members: how rows are read, and changed under the lock of the group.

Accounts are locked before groups, and groups in the order of their ids, so that no two transactions wait for
each other. `leaving.py` deletes members; the services decide who may do what.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    Connection,
    Executable,
    bindparam,
    func,
    insert,
    select,
    update,
)

from core.database import dialect_of, insert_into, table
from messaging.groups.models import Group, GroupMember, Membership, MemberState, Role

_GROUPS, _MEMBERS, _MEMBERSHIPS = table(Group).c, table(GroupMember).c, table(Membership).c
_IS_LISTED_GROUP = _GROUPS.id.in_(bindparam("group_ids", expanding=True))
_IS_LISTED_ACCOUNT = _MEMBERSHIPS.account_id.in_(bindparam("account_ids", expanding=True))
_GROUPS_WITH_MEMBERS = table(Group).join(table(GroupMember), _MEMBERS.group_id == _GROUPS.id)

_INCREMENT_VERSION = (
    update(table(Group))
    .where(_GROUPS.id == bindparam("group_id"), _GROUPS.version == bindparam("from_version"))
    .values(version=_GROUPS.version + 1)
    .returning(_GROUPS.version)
)
_LOCK_GROUPS = select(_GROUPS.id).where(_IS_LISTED_GROUP).order_by(_GROUPS.id).with_for_update()
_SELECT_SUMMARIES = (
    select(_GROUPS.id, _GROUPS.name, _GROUPS.version, _MEMBERS.role, _MEMBERS.state)
    .select_from(_GROUPS_WITH_MEMBERS)
    .where(_IS_LISTED_GROUP, _MEMBERS.account_id == bindparam("account_id"))
    .order_by(_GROUPS.id)
)
_SELECT_GROUP = (
    select(_GROUPS.name, _GROUPS.version, _MEMBERS.account_id, _MEMBERS.role, _MEMBERS.state)
    .select_from(_GROUPS_WITH_MEMBERS)
    .where(_GROUPS.id == bindparam("group_id"))
    .order_by(_MEMBERS.since, _MEMBERS.account_id)
)
_SELECT_GROUP_COUNTS = (
    select(_MEMBERSHIPS.account_id, _MEMBERSHIPS.state, func.count().label("groups"))
    .where(_IS_LISTED_ACCOUNT)
    .group_by(_MEMBERSHIPS.account_id, _MEMBERSHIPS.state)
)
_SELECT_INVITATION_COUNTS = (
    select(_MEMBERSHIPS.account_id, func.count().label("invitations"))
    .where(
        _IS_LISTED_ACCOUNT,
        _MEMBERSHIPS.state == MemberState.INVITED,
        _MEMBERSHIPS.invited_by == bindparam("invited_by"),
    )
    .group_by(_MEMBERSHIPS.account_id)
)


@cache
def _upsert_member(dialect: str) -> tuple[Executable, Executable]:
    """Build the upserts of a member in both tables; an account that is in the group keeps its role."""
    state: BindParameter[Any] = bindparam("state")
    member = insert_into(dialect, GroupMember).values(
        group_id=bindparam("group_id"),
        account_id=bindparam("account_id"),
        role=Role.MEMBER,
        state=state,
        since=bindparam("since"),
        invited_by=bindparam("invited_by"),
    )
    membership = insert_into(dialect, Membership).values(
        account_id=bindparam("account_id"),
        group_id=bindparam("group_id"),
        state=state,
        invited_by=bindparam("invited_by_number"),
    )
    return (
        member.on_conflict_do_update(
            index_elements=["group_id", "account_id"],
            set_={
                "state": member.excluded.state,
                "since": member.excluded.since,
                "invited_by": func.coalesce(member.excluded.invited_by, _MEMBERS.invited_by),
            },
        ),
        membership.on_conflict_do_update(
            index_elements=["account_id", "group_id"],
            set_={
                "state": membership.excluded.state,
                "invited_by": func.coalesce(
                    membership.excluded.invited_by, _MEMBERSHIPS.invited_by
                ),
            },
        ),
    )


class Member(NamedTuple):
    """An account in a group."""

    role: Role
    state: MemberState


class GroupView(NamedTuple):
    """A group at one version. The members that joined first come first."""

    id: UUID
    name: str
    version: int
    members: dict[UUID, Member]

    def seen_by(self, account_id: UUID) -> Member | None:
        """Return what an account is in the group; None if the group is hidden from it."""
        member = self.members.get(account_id)
        return None if member is None or member.state == MemberState.WITHHELD else member

    def in_state(self, state: MemberState) -> set[UUID]:
        """Return the accounts in a state."""
        return {account for account, member in self.members.items() if member.state == state}

    def admins(self) -> set[UUID]:
        """Return the accounts that may change the group."""
        joined = Member(Role.ADMIN, MemberState.JOINED)
        return {account for account, member in self.members.items() if member == joined}


class GroupSummary(NamedTuple):
    """A group without its members, and what one account is in it."""

    id: UUID
    name: str
    version: int
    member: Member


def create(connection: Connection, group_id: UUID, name: str, creator: UUID, now: datetime) -> None:
    """Create a group whose only member, and admin, is its creator."""
    connection.execute(
        insert(table(Group)), {"id": group_id, "name": name, "version": 1, "created_at": now}
    )
    set_states(connection, group_id, {creator: MemberState.JOINED}, None, now)
    set_role(connection, group_id, creator, Role.ADMIN)


def increment_version(connection: Connection, group_id: UUID, version: int) -> bool:
    """Increment the version of a group and lock it; return False if it has another version."""
    incremented = connection.execute(
        _INCREMENT_VERSION, {"group_id": group_id, "from_version": version}
    )
    return incremented.one_or_none() is not None


def lock(connection: Connection, group_ids: Collection[UUID]) -> None:
    """Lock the groups that exist until the transaction ends."""
    connection.execute(_LOCK_GROUPS, {"group_ids": list(group_ids)}).all()


def read(connection: Connection, group_id: UUID) -> GroupView | None:
    """Return a group and its members, read in one statement."""
    rows = connection.execute(_SELECT_GROUP, {"group_id": group_id}).all()
    if not rows:
        return None
    members = {row.account_id: Member(Role(row.role), MemberState(row.state)) for row in rows}
    return GroupView(group_id, rows[0].name, rows[0].version, members)


def set_states(
    connection: Connection,
    group_id: UUID,
    states: Mapping[UUID, MemberState],
    invited_by: UUID | None,
    now: datetime,
    number_id: UUID | None = None,
) -> None:
    """Add accounts to a locked group in these states, or change the states of its members.

    number_id: of the inviter, if the number had another account before.
    """
    shared = {
        "group_id": group_id,
        "invited_by": invited_by,
        "invited_by_number": number_id or invited_by,
        "since": now,
    }
    rows = [{**shared, "account_id": account, "state": state} for account, state in states.items()]
    if rows:
        for statement in _upsert_member(dialect_of(connection)):
            connection.execute(statement, rows)


def rename(connection: Connection, group_id: UUID, name: str) -> None:
    """Rename a locked group."""
    connection.execute(update(table(Group)).where(_GROUPS.id == group_id).values(name=name))


def set_role(connection: Connection, group_id: UUID, account_id: UUID, role: Role) -> None:
    """Change the role of a member of a locked group."""
    connection.execute(
        update(table(GroupMember))
        .where(_MEMBERS.group_id == group_id, _MEMBERS.account_id == account_id)
        .values(role=role)
    )


def groups_seen_by(
    connection: Connection, account_id: UUID, after: UUID | None, limit: int
) -> list[UUID]:
    """Return ids of groups, ascending, that an account joined or was told that it is invited to."""
    seen = select(_MEMBERSHIPS.group_id).where(
        _MEMBERSHIPS.account_id == account_id, _MEMBERSHIPS.state != MemberState.WITHHELD
    )
    if after is not None:
        seen = seen.where(_MEMBERSHIPS.group_id > after)
    return list(connection.scalars(seen.order_by(_MEMBERSHIPS.group_id).limit(limit)))


def summaries(
    connection: Connection, account_id: UUID, group_ids: Collection[UUID]
) -> list[GroupSummary]:
    """Return summaries of groups by ascending id, and what an account is in each."""
    rows = connection.execute(
        _SELECT_SUMMARIES, {"group_ids": list(group_ids), "account_id": account_id}
    )
    return [
        GroupSummary(row.id, row.name, row.version, Member(Role(row.role), MemberState(row.state)))
        for row in rows
    ]


def count_by_state(
    connection: Connection, account_ids: Collection[UUID]
) -> dict[tuple[UUID, MemberState], int]:
    """Return the number of groups of each account, by its state in them."""
    rows = connection.execute(_SELECT_GROUP_COUNTS, {"account_ids": list(account_ids)})
    return {(row.account_id, MemberState(row.state)): row.groups for row in rows}


def count_invitations(
    connection: Connection, account_ids: Collection[UUID], invited_by: UUID
) -> dict[UUID, int]:
    """Return the number of unanswered invitations of each account by one inviter."""
    rows = connection.execute(
        _SELECT_INVITATION_COUNTS, {"account_ids": list(account_ids), "invited_by": invited_by}
    )
    return {row.account_id: row.invitations for row in rows}
