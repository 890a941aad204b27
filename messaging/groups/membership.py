"""Who is in a group: the rows, and the statements that change them under the lock of the group's row.

Owns how `groups`, `group_members` and `memberships` are read and written; `leaving.py` deletes from
them. Accounts are held before groups, and groups in the order of their ids, so that no two transactions
wait for each other. Refuses nothing by raising; who may do what is the services' to judge.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import IntEnum
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
from messaging.groups.models import Group, GroupMember, Membership


class Role(IntEnum):
    """What a member may do."""

    MEMBER = 1
    ADMIN = 2


class MemberState(IntEnum):
    """How far an account is in a group; the less, the further."""

    JOINED = 1
    INVITED = 2
    #: Invited as everybody else sees it, but she is not told of it.
    WITHHELD = 3


class Member(NamedTuple):
    """An account in a group."""

    role: Role
    state: MemberState


class GroupView(NamedTuple):
    """A group as of one version, its members by how long they have been in it."""

    id: UUID
    name: str
    version: int
    members: dict[UUID, Member]

    def seen_by(self, account_id: UUID) -> Member | None:
        """Give what an account is in the group; None when the group is not there for it."""
        member = self.members.get(account_id)
        return None if member is None or member.state == MemberState.WITHHELD else member

    def in_state(self, state: MemberState) -> set[UUID]:
        """Give the accounts in a state."""
        return {account for account, member in self.members.items() if member.state == state}

    def admins(self) -> set[UUID]:
        """Give the accounts that may change the group now."""
        joined = Member(Role.ADMIN, MemberState.JOINED)
        return {account for account, member in self.members.items() if member == joined}


def make(connection: Connection, group_id: UUID, name: str, maker: UUID, now: datetime) -> None:
    """Make a group of its maker alone, who is its admin."""
    connection.execute(
        insert(table(Group)), {"id": group_id, "name": name, "version": 1, "created_at": now}
    )
    place(connection, group_id, {maker: MemberState.JOINED}, None, now)
    set_role(connection, group_id, maker, Role.ADMIN)


def advance(connection: Connection, group_id: UUID, version: int) -> bool:
    """Make the next version out of this one, and hold the group; False when it has another by now."""
    advanced = connection.execute(_ADVANCING, {"group": group_id, "from_version": version})
    return advanced.one_or_none() is not None


def hold(connection: Connection, group_ids: Collection[UUID]) -> set[UUID]:
    """Hold groups until the transaction ends; give those that are there."""
    return set(connection.scalars(_HOLDING, {"groups": list(group_ids)}))


def read(connection: Connection, group_id: UUID) -> GroupView | None:
    """Read a group and its members as of one moment."""
    rows = connection.execute(_READING, {"group": group_id}).all()
    if not rows:
        return None
    members = {row.account_id: Member(Role(row.role), MemberState(row.state)) for row in rows}
    return GroupView(group_id, rows[0].name, rows[0].version, members)


def place(
    connection: Connection,
    group_id: UUID,
    states: Mapping[UUID, MemberState],
    invited_by: UUID | None,
    now: datetime,
    number_id: UUID | None = None,
) -> None:
    """Put accounts into a held group in these states, or those that are in it into other ones.

    number_id: stands for the inviter's number, if the account's id does not.
    """
    shared = {"group": group_id, "by": invited_by, "number": number_id or invited_by, "now": now}
    rows = [{**shared, "account": account, "state": state} for account, state in states.items()]
    if rows:
        for statement in _placing(dialect_of(connection)):
            connection.execute(statement, rows)


def rename(connection: Connection, group_id: UUID, name: str) -> None:
    """Give a held group another name."""
    connection.execute(update(table(Group)).where(_GROUPS.id == group_id).values(name=name))


def set_role(connection: Connection, group_id: UUID, account_id: UUID, role: Role) -> None:
    """Give a member of a held group another role."""
    connection.execute(
        update(table(GroupMember))
        .where(_MEMBERS.group_id == group_id, _MEMBERS.account_id == account_id)
        .values(role=role)
    )


def groups_seen_by(
    connection: Connection, account_id: UUID, after: UUID | None, limit: int
) -> list[UUID]:
    """Give ids of groups, upwards, that an account has joined or was told that it is invited to."""
    seen = select(_WAYS.group_id).where(
        _WAYS.account_id == account_id, _WAYS.state != MemberState.WITHHELD
    )
    if after is not None:
        seen = seen.where(_WAYS.group_id > after)
    return list(connection.scalars(seen.order_by(_WAYS.group_id).limit(limit)))


def summaries(
    connection: Connection, account_id: UUID, group_ids: Collection[UUID]
) -> list[tuple[UUID, str, int, Member]]:
    """Give id, name and version of groups by ascending id, and what an account is in each."""
    rows = connection.execute(_SUMMARIES, {"groups": list(group_ids), "account": account_id})
    return [
        (row.id, row.name, row.version, Member(Role(row.role), MemberState(row.state)))
        for row in rows
    ]


def count_by_state(
    connection: Connection, account_ids: Collection[UUID]
) -> dict[tuple[UUID, MemberState], int]:
    """Count the groups that accounts are in, by their state in them."""
    rows = connection.execute(_COUNTING, {"accounts": list(account_ids)})
    return {(row.account_id, MemberState(row.state)): row.groups for row in rows}


def count_invitations(
    connection: Connection, account_ids: Collection[UUID], inviter: UUID
) -> dict[UUID, int]:
    """Count the invitations by one inviter, or what stands for their number, that were not answered."""
    rows = connection.execute(
        _COUNT_INVITATIONS, {"accounts": list(account_ids), "inviter": inviter}
    )
    return {row.account_id: row.invitations for row in rows}


_GROUPS, _MEMBERS, _WAYS = table(Group).c, table(GroupMember).c, table(Membership).c
_THESE: BindParameter[Any] = bindparam("groups", expanding=True)

_ADVANCING = (
    update(table(Group))
    .where(_GROUPS.id == bindparam("group"), _GROUPS.version == bindparam("from_version"))
    .values(version=_GROUPS.version + 1)
    .returning(_GROUPS.version)
)
_HOLDING = select(_GROUPS.id).where(_GROUPS.id.in_(_THESE)).order_by(_GROUPS.id).with_for_update()
_WITH_MEMBER = table(Group).join(table(GroupMember), _MEMBERS.group_id == _GROUPS.id)
_SUMMARIES = (
    select(_GROUPS.id, _GROUPS.name, _GROUPS.version, _MEMBERS.role, _MEMBERS.state)
    .select_from(_WITH_MEMBER)
    .where(_GROUPS.id.in_(_THESE), _MEMBERS.account_id == bindparam("account"))
    .order_by(_GROUPS.id)
)
_READING = (
    select(_GROUPS.name, _GROUPS.version, _MEMBERS.account_id, _MEMBERS.role, _MEMBERS.state)
    .select_from(_WITH_MEMBER)
    .where(_GROUPS.id == bindparam("group"))
    .order_by(_MEMBERS.since, _MEMBERS.account_id)
)
_COUNTING = (
    select(_WAYS.account_id, _WAYS.state, func.count().label("groups"))
    .where(_WAYS.account_id.in_(bindparam("accounts", expanding=True)))
    .group_by(_WAYS.account_id, _WAYS.state)
)
_COUNT_INVITATIONS = (
    select(_WAYS.account_id, func.count().label("invitations"))
    .where(
        _WAYS.account_id.in_(bindparam("accounts", expanding=True)),
        _WAYS.state == MemberState.INVITED,
        _WAYS.invited_by == bindparam("inviter"),
    )
    .group_by(_WAYS.account_id)
)


@cache
def _placing(dialect: str) -> tuple[Executable, Executable]:
    """Write the upserts of a member and of the way to the group; whoever is in it keeps her role."""
    state: BindParameter[Any] = bindparam("state")
    member = insert_into(dialect, GroupMember).values(
        group_id=bindparam("group"),
        account_id=bindparam("account"),
        role=Role.MEMBER,
        state=state,
        since=bindparam("now"),
        invited_by=bindparam("by"),
    )
    way = insert_into(dialect, Membership).values(
        account_id=bindparam("account"),
        group_id=bindparam("group"),
        state=state,
        invited_by=bindparam("number"),
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
        way.on_conflict_do_update(
            index_elements=["account_id", "group_id"],
            set_={
                "state": way.excluded.state,
                "invited_by": func.coalesce(way.excluded.invited_by, _WAYS.invited_by),
            },
        ),
    )
