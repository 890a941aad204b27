"""Hints to open sockets that a group was changed.

Owns who is told, and how many at most. Refuses nothing: a hint may be lost, and the version that a
message of the group carries tells the same.
"""

from collections.abc import Callable, Collection, Mapping
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from core.database import Database, table
from messaging.groups import membership
from messaging.groups.membership import GroupView, MemberState
from messaging.groups.models import GroupMember
from messaging.message_types import GroupChangedNotice, Notice
from tokens.models import Device

#: Members that are told of one change; only an account that leaves many groups at once has more.
MAX_TOLD = 2_000

_MEMBERS, _DEVICES = table(GroupMember).c, table(Device).c
_TOLD = (
    select(_MEMBERS.account_id, _MEMBERS.group_id)
    .where(
        _MEMBERS.group_id.in_(bindparam("groups", expanding=True)),
        _MEMBERS.state != MemberState.WITHHELD,
    )
    .limit(MAX_TOLD)
)
_THEIR_DEVICES = select(_DEVICES.account_id, _DEVICES.id).where(
    _DEVICES.account_id.in_(bindparam("accounts", expanding=True))
)


class GroupNotices:
    """Tells devices of members, joined or invited, what version their group has."""

    def __init__(self, database: Database, notice: Callable[[UUID, Notice], None]) -> None:
        self._database = database
        #: Tells one device; must not wait.
        self._notice = notice

    def changed(
        self, connection: Connection, group_id: UUID, also: Collection[UUID] = ()
    ) -> GroupView:
        """Give a group as it was changed, and tell its members, and others, after the commit."""
        view = membership.read(connection, group_id)
        assert view is not None  # whoever changed it is in it
        self.after_commit(connection, {group_id: view.version}, also)
        return view

    def after_commit(
        self, connection: Connection, versions: Mapping[UUID, int], also: Collection[UUID] = ()
    ) -> None:
        """Tell members of these groups, and other accounts, once the transaction is committed."""
        if versions:
            self._database.afterwards(connection, lambda: self._tell(versions, also))

    def _tell(self, versions: Mapping[UUID, int], also: Collection[UUID]) -> None:
        with self._database.read() as connection:
            found = connection.execute(_TOLD, {"groups": list(versions)})
            told = {(row.account_id, row.group_id) for row in found}
            told |= {(account, group_id) for account in also for group_id in versions}
            accounts = list({account for account, _ in told})
            devices: dict[UUID, list[UUID]] = {account: [] for account in accounts}
            for account, device_id in connection.execute(_THEIR_DEVICES, {"accounts": accounts}):
                devices[account].append(device_id)
        for account, group_id in told:
            for device_id in devices[account]:
                self._notice(device_id, GroupChangedNotice(group_id, versions[group_id]))
