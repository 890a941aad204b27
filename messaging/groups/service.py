"""Groups: made, looked at, joined and left by those who are in them.

Owns what a member may do for herself; what admins may do is in `group_changes.py`. An account that is
deleted leaves its groups; one that is registered again stays in them.
"""

from collections.abc import Callable, Collection
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
from messaging.groups.invitations import decide_states
from messaging.groups.membership import MemberState
from messaging.groups.problems import NotJoined
from messaging.groups.schemas import GroupAnswer, GroupSummary, NewGroup
from messaging.limits import GROUP_CREATIONS
from messaging.mailbox.recipients import AccountDevice, devices_digest, devices_of
from tokens.devices import Caller


class GroupDevices(NamedTuple):
    """The devices that a member encrypts for, and their digest, as of a version."""

    version: int
    devices: list[AccountDevice]
    digest: bytes


class GroupService:
    """Makes groups, reads them, and lets accounts in and out."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        notices: GroupNotices,
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._notices = notices

    def create(self, caller: Caller, body: NewGroup, idempotency_key: str | None) -> str:
        """Make a group of the caller and others, and give its JSON; the same key gives the same.

        Raises InvalidFields, AccountsUnknown, TooManyGroups or GroupRateLimited; nothing is made then.
        """
        check_distinct("/members", body.members, caller)
        group_id = UUID(bytes=self._entropy(16), version=4)
        me, now = caller.account_id, self._clock()
        request = _identify(me, body, idempotency_key)
        with self._database.write(adds=True) as connection:
            earlier = idempotency.claim(connection, request, group_id.bytes, now)
            if earlier is not None and earlier.answer is not None:
                return earlier.answer
            count_against(connection, GROUP_CREATIONS, caller, now)
            lock_accounts(connection, caller, body.members)
            check_group_count(connection, caller)
            states = decide_states(connection, caller, body.members, now)
            membership.make(connection, group_id, body.name, me, now)
            membership.place(connection, group_id, states, me, now, caller.number_id)
            answer = GroupAnswer.of(self._notices.changed(connection, group_id)).model_dump_json()
            if request is not None:
                idempotency.answer(connection, request, answer)
        return answer

    def page(
        self, caller: Caller, after: UUID | None, limit: int
    ) -> tuple[list[GroupSummary], bool]:
        """Give groups that the caller is in, or invited to, and whether more follow after the last."""
        with self._database.read() as connection:
            ids = membership.groups_seen_by(connection, caller.account_id, after, limit + 1)
            found = membership.summaries(connection, caller.account_id, ids[:limit])
        return [GroupSummary.of(*row) for row in found], len(ids) > limit

    def get(self, caller: Caller, group_id: UUID) -> GroupAnswer:
        """Give a group that the caller is in, or invited to; raises GroupNotFound."""
        with self._database.read() as connection:
            return GroupAnswer.of(read_visible(connection, caller, group_id))

    def devices(self, caller: Caller, group_id: UUID) -> GroupDevices:
        """Give the devices of joined members but the calling one, and the digest over them.

        Raises GroupNotFound or NotJoined.
        """
        with self._database.read() as connection:
            view = read_visible(connection, caller, group_id)
            joined = view.in_state(MemberState.JOINED)
            if caller.account_id not in joined:
                raise NotJoined("Accept the invitation first.")
            devices = [
                device
                for device in devices_of(connection, joined, self._clock())
                if device.device_id != caller.device_id
            ]
        digest = devices_digest({device.device_id: device.registration_id for device in devices})
        return GroupDevices(view.version, devices, digest)

    def leave(self, caller: Caller, group_id: UUID) -> None:
        """Leave a group, or decline its invitation; raises GroupNotFound."""
        with self._database.write() as connection:
            membership.hold(connection, [group_id])
            read_visible(connection, caller, group_id)
            self._depart(connection, [group_id], caller.account_id)

    def accept(self, caller: Caller, group_id: UUID) -> GroupAnswer:
        """Join a group after an invitation; again it changes nothing.

        Raises GroupNotFound or TooManyGroups.
        """
        me = caller.account_id
        with self._database.write() as connection:
            lock_accounts(connection, caller, ())
            membership.hold(connection, [group_id])
            view = read_visible(connection, caller, group_id)
            if view.members[me].state == MemberState.JOINED:
                return GroupAnswer.of(view)
            check_group_count(connection, caller)
            membership.advance(connection, group_id, view.version)
            membership.place(connection, group_id, {me: MemberState.JOINED}, None, self._clock())
            return GroupAnswer.of(self._notices.changed(connection, group_id))

    def account_deleted(
        self, connection: Connection, account_id: UUID, number_id: UUID | None
    ) -> None:
        """Let an account that is deleted go out of its groups, in the transaction that deletes it."""
        group_ids = leaving.groups_of(connection, account_id)
        if group_ids:
            membership.hold(connection, group_ids)
            self._depart(connection, group_ids, account_id)

    def _depart(
        self, connection: Connection, group_ids: Collection[UUID], account_id: UUID
    ) -> None:
        versions = leaving.depart(connection, group_ids, account_id)
        self._notices.after_commit(connection, versions, also={account_id})


def _identify(me: UUID, body: NewGroup, key: str | None) -> IdempotencyKey | None:
    if key is None:
        return None
    return idempotency.identify(me.bytes, me.bytes, "groups", key, body.model_dump_json())
