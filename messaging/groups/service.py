"""Groups: created, joined and left by their members, and changed by their admins.

A change by an admin is a compare-and-set on the version of the group, whose row stays locked while members
change. Of two changes of one version the second is refused, and told the current version. A deleted account
leaves its groups; an account that registers again stays in them.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core import idempotency
from core.database import Database
from core.idempotency import IdempotencyKey
from messaging.groups import leaving, membership
from messaging.groups.change_notices import GroupNotices
from messaging.groups.checks import (
    check_distinct,
    check_group_count,
    count_against,
    lock_accounts,
    read_visible,
)
from messaging.groups.invitations import DEFAULT_QUOTA, GroupQuota, decide_states
from messaging.groups.membership import GroupSummary, GroupView
from messaging.groups.models import MemberState, Role
from messaging.groups.problems import (
    GroupChanged,
    GroupFull,
    LastAdmin,
    MemberNotFound,
    NotAnAdmin,
    NotJoined,
)
from messaging.groups.schemas import MAX_MEMBERS, GroupAnswer, NewGroup
from messaging.limits import GROUP_CHANGES, GROUP_CREATIONS
from messaging.mailbox.recipients import AccountDevice, devices_digest, devices_of
from tokens.devices import Caller


class GroupDevices(NamedTuple):
    """The devices that a member encrypts for, and their digest, at one version."""

    version: int
    devices: Sequence[AccountDevice]
    digest: bytes


@dataclass
class GroupService:
    """Creates, reads and changes groups, and lets accounts join and leave."""

    database: Database
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    notices: GroupNotices
    quota: GroupQuota = DEFAULT_QUOTA
    max_members: int = MAX_MEMBERS

    def create(self, caller: Caller, body: NewGroup, idempotency_key: str | None) -> str:
        """Create a group of the caller and others, and return its JSON; the same key returns the same.

        Raises InvalidFields, AccountsUnknown, TooManyGroups or GroupRateLimited; then nothing is created.
        """
        check_distinct("/members", body.members, caller)
        group_id = UUID(bytes=self.entropy(16), version=4)
        account_id, now = caller.account_id, self.clock()
        request = _identify(account_id, body, idempotency_key)
        with self.database.write(adds=True) as connection:
            earlier = idempotency.claim(connection, request, group_id.bytes, now)
            if earlier is not None and earlier.answer is not None:
                return earlier.answer
            count_against(connection, GROUP_CREATIONS, caller, now)
            lock_accounts(connection, caller, body.members)
            check_group_count(connection, caller, self.quota.joined)
            states = decide_states(connection, caller, body.members, self.quota, now)
            membership.create(connection, group_id, body.name, account_id, now)
            membership.set_states(connection, group_id, states, account_id, now, caller.number_id)
            view = self.notices.changed(connection, group_id)
            answer = GroupAnswer.of(view).model_dump_json()
            if request is not None:
                idempotency.answer(connection, request, answer)
        return answer

    def page(
        self, caller: Caller, after: UUID | None, limit: int
    ) -> tuple[list[GroupSummary], bool]:
        """Return groups that the caller is in, or invited to, and whether more follow after the last."""
        with self.database.read() as connection:
            ids = membership.groups_seen_by(connection, caller.account_id, after, limit + 1)
            found = membership.summaries(connection, caller.account_id, ids[:limit])
        return found, len(ids) > limit

    def get(self, caller: Caller, group_id: UUID) -> GroupView:
        """Return a group that the caller is in, or invited to; raises GroupNotFound."""
        with self.database.read() as connection:
            return read_visible(connection, caller, group_id)

    def devices(self, caller: Caller, group_id: UUID) -> GroupDevices:
        """Return the devices of joined members but the calling one, and their digest.

        Raises GroupNotFound or NotJoined.
        """
        with self.database.read() as connection:
            view = read_visible(connection, caller, group_id)
            joined = view.in_state(MemberState.JOINED)
            if caller.account_id not in joined:
                raise NotJoined("Accept the invitation first.")
            devices = [
                device
                for device in devices_of(connection, joined, self.clock())
                if device.device_id != caller.device_id
            ]
        digest = devices_digest({device.device_id: device.registration_id for device in devices})
        return GroupDevices(view.version, devices, digest)

    def leave(self, caller: Caller, group_id: UUID) -> None:
        """Leave a group, or decline its invitation; raises GroupNotFound."""
        with self.database.write() as connection:
            membership.lock(connection, [group_id])
            read_visible(connection, caller, group_id)
            self._leave(connection, [group_id], caller.account_id)

    def accept(self, caller: Caller, group_id: UUID) -> GroupView:
        """Join a group after an invitation; a repetition changes nothing.

        Raises GroupNotFound or TooManyGroups.
        """
        account_id = caller.account_id
        with self.database.write() as connection:
            lock_accounts(connection, caller, ())
            membership.lock(connection, [group_id])
            view = read_visible(connection, caller, group_id)
            if view.members[account_id].state == MemberState.JOINED:
                return view
            check_group_count(connection, caller, self.quota.joined)
            membership.increment_version(connection, group_id, view.version)
            membership.set_states(
                connection, group_id, {account_id: MemberState.JOINED}, None, self.clock()
            )
            return self.notices.changed(connection, group_id)

    def rename(self, caller: Caller, group_id: UUID, version: int, name: str) -> GroupView:
        """Rename a group; raises what `_start_change` raises."""
        with self.database.write() as connection:
            self._start_change(connection, caller, group_id, version)
            membership.rename(connection, group_id, name)
            return self.notices.changed(connection, group_id)

    def invite(
        self, caller: Caller, group_id: UUID, version: int, account_ids: Sequence[UUID]
    ) -> GroupView:
        """Add or invite accounts; accounts that have not joined are decided again, and never moved back.

        Raises InvalidFields, AccountsUnknown, GroupFull, and what `_start_change` raises.
        """
        check_distinct("/account_ids", account_ids, caller)
        now = self.clock()
        with self.database.write(adds=True) as connection:
            lock_accounts(connection, caller, account_ids)
            view = self._start_change(connection, caller, group_id, version)
            members = len(view.members.keys() | set(account_ids))
            if members > self.max_members:
                raise GroupFull(f"It would have {members} members; {self.max_members} is the most.")
            joined = view.in_state(MemberState.JOINED)
            states = decide_states(
                connection,
                caller,
                [account for account in account_ids if account not in joined],
                self.quota,
                now,
            )
            further = {
                account: state
                for account, state in states.items()
                if account not in view.members or state < view.members[account].state
            }
            membership.set_states(
                connection, group_id, further, caller.account_id, now, caller.number_id
            )
            return self.notices.changed(connection, group_id)

    def set_role(
        self, caller: Caller, group_id: UUID, version: int, account_id: UUID, role: Role
    ) -> GroupView:
        """Change the role of a member; raises MemberNotFound, LastAdmin, and what `_start_change` raises."""
        with self.database.write() as connection:
            view = self._start_change(connection, caller, group_id, version)
            if account_id not in view.members:
                raise MemberNotFound("GET the group for its members.")
            if role == Role.MEMBER and view.admins() == {account_id}:
                raise LastAdmin("Make another member an admin first.")
            membership.set_role(connection, group_id, account_id, role)
            return self.notices.changed(connection, group_id)

    def remove(self, caller: Caller, group_id: UUID, version: int, account_id: UUID) -> GroupView:
        """Remove another account; raises MemberNotFound, and what `_start_change` raises."""
        with self.database.write() as connection:
            view = self._start_change(connection, caller, group_id, version)
            if account_id not in view.members:
                raise MemberNotFound("GET the group for its members.")
            leaving.remove(connection, [group_id], account_id)
            also = {account_id} if view.seen_by(account_id) else set()
            return self.notices.changed(connection, group_id, also)

    def _start_change(
        self, connection: Connection, caller: Caller, group_id: UUID, version: int
    ) -> GroupView:
        """Increment the version for an admin's change, and lock the group; return it as it is then.

        Raises GroupNotFound, NotJoined, NotAnAdmin, GroupChanged or GroupRateLimited.
        """
        count_against(connection, GROUP_CHANGES, caller, self.clock())
        incremented = membership.increment_version(connection, group_id, version)
        view = read_visible(connection, caller, group_id)
        member = view.members[caller.account_id]
        if member.state != MemberState.JOINED:
            raise NotJoined("Accept the invitation first.")
        if member.role != Role.ADMIN:
            raise NotAnAdmin("Ask an admin of the group.")
        if not incremented:
            raise GroupChanged(
                "Nothing was changed. Fetch the group and decide again.", version=view.version
            )
        return view

    def account_deleted(
        self, connection: Connection, account_id: UUID, number_id: UUID | None
    ) -> None:
        """Let a deleted account leave its groups, in the transaction that deletes it."""
        group_ids = leaving.groups_of(connection, account_id)
        if group_ids:
            membership.lock(connection, group_ids)
            self._leave(connection, group_ids, account_id)

    def _leave(self, connection: Connection, group_ids: Collection[UUID], account_id: UUID) -> None:
        versions = leaving.leave(connection, group_ids, account_id)
        self.notices.after_commit(connection, versions, also={account_id})


def _identify(account_id: UUID, body: NewGroup, key: str | None) -> IdempotencyKey | None:
    if key is None:
        return None
    return idempotency.identify(
        account_id.bytes, account_id.bytes, "groups", key, body.model_dump_json()
    )
