"""Groups: made, changed and left by their members, one version after the other.

Owns who may change what. A change is a compare-and-set on the group's version, whose row it holds while
it changes members; of two changes for one version the second is refused. Refuses to tell whoever is not
in a group that it exists.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core import idempotency
from core.database import Database
from core.idempotency import IdempotencyKey
from core.limits import Limit, Limits, take
from core.problems import InvalidFields
from messaging import membership
from messaging.consent import MOST_GROUPS, judge
from messaging.group_notices import GroupNotices
from messaging.group_schemas import GroupAnswer, GroupSummary, NewGroup
from messaging.membership import Role, State, View
from messaging.problems import (
    AccountsUnknown,
    GroupChanged,
    GroupFull,
    GroupLimit,
    GroupNotFound,
    LastAdmin,
    MemberNotFound,
    NotAnAdmin,
    NotJoined,
    TooManyGroups,
)
from messaging.recipients import AccountDevice, devices_digest, devices_of
from tokens.accounts import hold_accounts
from tokens.problems import TokenInvalid
from tokens.service import Caller

MOST_MEMBERS = 1_024


class GroupDevices(NamedTuple):
    """The devices that a member encrypts for, and their digest, as of a version."""

    version: int
    devices: list[AccountDevice]
    digest: bytes


class GroupService:
    """Makes groups, reads them, and changes who is in them."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        limits: Limits,
        notices: GroupNotices,
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._limits = limits
        self._notices = notices

    def create(self, caller: Caller, body: NewGroup, idempotency_key: str | None) -> str:
        """Make a group of the caller and others, and give its JSON; the same key gives the same.

        Raises InvalidFields, AccountsUnknown, TooManyGroups or GroupLimit; nothing is made then.
        """
        _refuse_twice("/members", body.members, caller)
        group_id = UUID(bytes=self._entropy(16), version=4)
        me, now = caller.account_id, self._clock()
        request = _identify(me, body, idempotency_key)
        with self._database.write() as connection:
            earlier = idempotency.claim(connection, request, group_id.bytes, now)
            if earlier is not None and earlier.answer is not None:
                return earlier.answer
            self._count(connection, self._limits.groups_made, caller, now)
            _hold(connection, caller, body.members)
            _refuse_one_more(connection, caller)
            states = judge(connection, me, body.members, self._limits.group_strangers, now)
            membership.make(connection, group_id, body.name, me, now)
            membership.place(connection, group_id, states, me, now)
            answer = self._changed(connection, group_id).model_dump_json()
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
            return GroupAnswer.of(_seen(connection, caller, group_id))

    def devices(self, caller: Caller, group_id: UUID) -> GroupDevices:
        """Give the devices of joined members but the calling one, and the digest over them.

        Raises GroupNotFound or NotJoined.
        """
        with self._database.read() as connection:
            view = _seen(connection, caller, group_id)
            joined = view.in_state(State.JOINED)
            if caller.account_id not in joined:
                raise NotJoined("Accept the invitation first.")
            devices = [
                device
                for device in devices_of(connection, joined)
                if device.device_id != caller.device_id
            ]
        digest = devices_digest({device.device_id: device.registration_id for device in devices})
        return GroupDevices(view.version, devices, digest)

    def rename(self, caller: Caller, group_id: UUID, version: int, name: str) -> GroupAnswer:
        """Give a group another name; raises what `_advance` does."""
        with self._database.write() as connection:
            self._advance(connection, caller, group_id, version)
            membership.rename(connection, group_id, name)
            return self._changed(connection, group_id)

    def invite(
        self, caller: Caller, group_id: UUID, version: int, account_ids: Sequence[UUID]
    ) -> GroupAnswer:
        """Add accounts, or invite them; who has not joined yet is judged anew, and never put back.

        Raises InvalidFields, AccountsUnknown, GroupFull, and what `_advance` does.
        """
        _refuse_twice("/account_ids", account_ids, caller)
        now = self._clock()
        with self._database.write() as connection:
            _hold(connection, caller, account_ids)
            view = self._advance(connection, caller, group_id, version)
            members = len(view.members.keys() | set(account_ids))
            if members > MOST_MEMBERS:
                raise GroupFull(f"It would have {members}; {MOST_MEMBERS} is the most.")
            waiting = [a for a in account_ids if a not in view.in_state(State.JOINED)]
            judged = judge(
                connection, caller.account_id, waiting, self._limits.group_strangers, now
            )
            further = {
                account: state
                for account, state in judged.items()
                if account not in view.members or state < view.members[account].state
            }
            membership.place(connection, group_id, further, caller.account_id, now)
            return self._changed(connection, group_id)

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
            return self._changed(connection, group_id)

    def remove(self, caller: Caller, group_id: UUID, version: int, account_id: UUID) -> GroupAnswer:
        """Take another account out of a group; raises MemberNotFound, and what `_advance` does."""
        with self._database.write() as connection:
            view = self._advance(connection, caller, group_id, version)
            if account_id not in view.members:
                raise MemberNotFound("GET the group for who is in it.")
            membership.remove(connection, [group_id], account_id)
            told = {account_id} if view.seen_by(account_id) else set()
            return self._changed(connection, group_id, also=told)

    def leave(self, caller: Caller, group_id: UUID) -> None:
        """Leave a group, or decline its invitation; raises GroupNotFound."""
        with self._database.write() as connection:
            membership.hold(connection, [group_id])
            _seen(connection, caller, group_id)
            self._depart(connection, [group_id], caller.account_id)

    def accept(self, caller: Caller, group_id: UUID) -> GroupAnswer:
        """Join a group after an invitation; again it changes nothing.

        Raises GroupNotFound or TooManyGroups.
        """
        me = caller.account_id
        with self._database.write() as connection:
            _hold(connection, caller, ())
            membership.hold(connection, [group_id])
            view = _seen(connection, caller, group_id)
            if view.members[me].state == State.JOINED:
                return GroupAnswer.of(view)
            _refuse_one_more(connection, caller)
            membership.advance(connection, group_id, view.version)
            membership.place(connection, group_id, {me: State.JOINED}, None, self._clock())
            return self._changed(connection, group_id)

    def account_deleted(self, connection: Connection, account_id: UUID) -> None:
        """Let an account that is deleted go out of its groups, in the transaction that deletes it."""
        group_ids = membership.groups_of(connection, account_id)
        if group_ids:
            membership.hold(connection, group_ids)
            self._depart(connection, group_ids, account_id)

    def _advance(
        self, connection: Connection, caller: Caller, group_id: UUID, version: int
    ) -> View:
        """Make the next version for an admin's change, and hold the group; give it as it is then.

        Raises GroupNotFound, NotJoined, NotAnAdmin, GroupChanged or GroupLimit.
        """
        self._count(connection, self._limits.group_changes, caller, self._clock())
        advanced = membership.advance(connection, group_id, version)
        view = _seen(connection, caller, group_id)
        me = view.members[caller.account_id]
        if me.state != State.JOINED:
            raise NotJoined("Accept the invitation first.")
        if me.role != Role.ADMIN:
            raise NotAnAdmin("Ask an admin of the group.")
        if not advanced:
            raise GroupChanged(
                "Nothing happened; look at the group and decide again.", version=view.version
            )
        return view

    def _depart(
        self, connection: Connection, group_ids: Collection[UUID], account_id: UUID
    ) -> None:
        versions = membership.depart(connection, group_ids, account_id)
        self._notices.after_commit(connection, versions, also={account_id})

    def _changed(
        self, connection: Connection, group_id: UUID, also: Collection[UUID] = ()
    ) -> GroupAnswer:
        """Give a group as it was changed, and tell its members, and `also` others, after the commit."""
        view = membership.read(connection, group_id)
        assert view is not None  # whoever changed it is in it
        self._notices.after_commit(connection, {group_id: view.version}, also)
        return GroupAnswer.of(view)

    @staticmethod
    def _count(connection: Connection, limit: Limit, caller: Caller, now: datetime) -> None:
        """Count one against a limit of the caller; it counts for nothing when the rest is refused."""
        taken, allowance = take(connection, limit, caller.account_id.bytes, now)
        if not taken:
            raise GroupLimit("Nothing happened; come back later.", allowance=allowance)


def _identify(me: UUID, body: NewGroup, key: str | None) -> IdempotencyKey | None:
    if key is None:
        return None
    return idempotency.identify(me.bytes, me.bytes, "groups", key, body.model_dump_json())


def _seen(connection: Connection, caller: Caller, group_id: UUID) -> View:
    """Read a group if it is there for the caller."""
    view = membership.read(connection, group_id)
    if view is None or view.seen_by(caller.account_id) is None:
        raise GroupNotFound("It was deleted, or never was, or you are not in it.")
    return view


def _hold(connection: Connection, caller: Caller, others: Collection[UUID]) -> None:
    """Hold the caller's account and others; raises TokenInvalid or AccountsUnknown for those not there."""
    wanted = {caller.account_id, *others}
    gone = wanted - hold_accounts(connection, wanted)
    if caller.account_id in gone:
        raise TokenInvalid("Its account was deleted.")
    if gone:
        raise AccountsUnknown(
            "Nothing happened; leave the unknown accounts out.", unknown=sorted(map(str, gone))
        )


def _refuse_one_more(connection: Connection, caller: Caller) -> None:
    """Refuse when the caller, who is held, is in as many groups as she may be."""
    joined = membership.count_by_state(connection, [caller.account_id])
    if joined.get((caller.account_id, State.JOINED), 0) >= MOST_GROUPS:
        raise TooManyGroups(f"It is in {MOST_GROUPS}, the most it may; leave one first.")


def _refuse_twice(field: str, account_ids: Sequence[UUID], caller: Caller) -> None:
    """Refuse a list that names the caller, or somebody twice."""
    seen = {caller.account_id}
    for place, account_id in enumerate(account_ids):
        if account_id in seen:
            what = "the own account" if account_id == caller.account_id else "named before"
            raise InvalidFields.at(f"{field}/{place}", what)
        seen.add(account_id)
