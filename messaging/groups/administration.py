"""What admins change of a group: its name, who is in it, and who is an admin.

Owns that a change is a compare-and-set on the group's version, whose row it holds while it changes
members: of two changes for one version the second is refused, and told the version there is.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core.database import Database
from messaging.groups import leaving, membership
from messaging.groups.change_notices import GroupNotices
from messaging.groups.checks import check_distinct, count_against, lock_accounts, read_visible
from messaging.groups.invitations import decide_states
from messaging.groups.membership import GroupView, MemberState, Role
from messaging.groups.problems import (
    GroupChanged,
    GroupFull,
    LastAdmin,
    MemberNotFound,
    NotAnAdmin,
    NotJoined,
)
from messaging.groups.schemas import MAX_MEMBERS, GroupAnswer
from messaging.limits import GROUP_CHANGES
from tokens.devices import Caller


class GroupAdministration:
    """Changes groups for their admins, from one version to the next."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        notices: GroupNotices,
    ) -> None:
        self._database = database
        self._clock = clock
        self._notices = notices

    def rename(self, caller: Caller, group_id: UUID, version: int, name: str) -> GroupAnswer:
        """Give a group another name; raises what `_advance` does."""
        with self._database.write() as connection:
            self._advance(connection, caller, group_id, version)
            membership.rename(connection, group_id, name)
            return GroupAnswer.of(self._notices.changed(connection, group_id))

    def invite(
        self, caller: Caller, group_id: UUID, version: int, account_ids: Sequence[UUID]
    ) -> GroupAnswer:
        """Add accounts, or invite them; who has not joined yet is judged anew, and never put back.

        Raises InvalidFields, AccountsUnknown, GroupFull, and what `_advance` does.
        """
        check_distinct("/account_ids", account_ids, caller)
        now = self._clock()
        with self._database.write(adds=True) as connection:
            lock_accounts(connection, caller, account_ids)
            view = self._advance(connection, caller, group_id, version)
            members = len(view.members.keys() | set(account_ids))
            if members > MAX_MEMBERS:
                raise GroupFull(f"It would have {members}; {MAX_MEMBERS} is the most.")
            joined = view.in_state(MemberState.JOINED)
            waiting = [account for account in account_ids if account not in joined]
            judged = decide_states(connection, caller, waiting, now)
            further = {
                account: state
                for account, state in judged.items()
                if account not in view.members or state < view.members[account].state
            }
            me, number = caller.account_id, caller.number_id
            membership.place(connection, group_id, further, me, now, number)
            return GroupAnswer.of(self._notices.changed(connection, group_id))

    def set_role(
        self, caller: Caller, group_id: UUID, version: int, account_id: UUID, role: Role
    ) -> GroupAnswer:
        """Give a member another role; raises MemberNotFound, LastAdmin, and what `_advance` does."""
        with self._database.write() as connection:
            view = self._advance(connection, caller, group_id, version)
            if account_id not in view.members:
                raise MemberNotFound("GET the group for who is in it.")
            if role == Role.MEMBER and view.admins() == {account_id}:
                raise LastAdmin("Make another member an admin first.")
            membership.set_role(connection, group_id, account_id, role)
            return GroupAnswer.of(self._notices.changed(connection, group_id))

    def remove(self, caller: Caller, group_id: UUID, version: int, account_id: UUID) -> GroupAnswer:
        """Take another account out of a group; raises MemberNotFound, and what `_advance` does."""
        with self._database.write() as connection:
            view = self._advance(connection, caller, group_id, version)
            if account_id not in view.members:
                raise MemberNotFound("GET the group for who is in it.")
            leaving.remove(connection, [group_id], account_id)
            told = {account_id} if view.seen_by(account_id) else set()
            return GroupAnswer.of(self._notices.changed(connection, group_id, also=told))

    def _advance(
        self, connection: Connection, caller: Caller, group_id: UUID, version: int
    ) -> GroupView:
        """Make the next version for an admin's change, and hold the group; give it as it is then.

        Raises GroupNotFound, NotJoined, NotAnAdmin, GroupChanged or GroupRateLimited.
        """
        count_against(connection, GROUP_CHANGES, caller, self._clock())
        advanced = membership.advance(connection, group_id, version)
        view = read_visible(connection, caller, group_id)
        me = view.members[caller.account_id]
        if me.state != MemberState.JOINED:
            raise NotJoined("Accept the invitation first.")
        if me.role != Role.ADMIN:
            raise NotAnAdmin("Ask an admin of the group.")
        if not advanced:
            raise GroupChanged(
                "Nothing happened; look at the group and decide again.", version=view.version
            )
        return view
