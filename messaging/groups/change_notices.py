"""Notices to open sockets that a group changed.

A notice may be lost: messages to the group carry its version, which shows the change too.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, bindparam, select

from core.database import Database, table
from messaging.groups import membership
from messaging.groups.membership import GroupView
from messaging.groups.models import GroupMember, MemberState
from messaging.message_types import GroupChangedNotice, Notice
from tokens.models import Device

#: Members that get a notice of one change; only a deleted account that was in many groups has more.
MAX_NOTIFIED = 2_000

_MEMBERS, _DEVICES = table(GroupMember).c, table(Device).c
_SELECT_NOTIFIED = (
    select(_MEMBERS.account_id, _MEMBERS.group_id)
    .where(
        _MEMBERS.group_id.in_(bindparam("group_ids", expanding=True)),
        _MEMBERS.state != MemberState.WITHHELD,
    )
    .limit(MAX_NOTIFIED)
)
_SELECT_DEVICES = select(_DEVICES.account_id, _DEVICES.id).where(
    _DEVICES.account_id.in_(bindparam("account_ids", expanding=True))
)


@dataclass
class GroupNotices:
    """Notifies the devices of joined and invited members of a new version.

    send_notice: notifies one device; must not block.
    """

    database: Database
    send_notice: Callable[[UUID, Notice], None]

    def changed(
        self, connection: Connection, group_id: UUID, also: Collection[UUID] = ()
    ) -> GroupView:
        """Return a changed group; after the commit, notify its members and these other accounts."""
        view = membership.read(connection, group_id)
        assert view is not None  # the account that changed it is in it
        self.after_commit(connection, {group_id: view.version}, also)
        return view

    def after_commit(
        self, connection: Connection, versions: Mapping[UUID, int], also: Collection[UUID] = ()
    ) -> None:
        """Notify the members of groups, and these other accounts, once the transaction is committed."""
        if versions:
            self.database.after_commit(connection, lambda: self._notify(versions, also))

    def _notify(self, versions: Mapping[UUID, int], also: Collection[UUID]) -> None:
        with self.database.read() as connection:
            found = connection.execute(_SELECT_NOTIFIED, {"group_ids": list(versions)})
            notified = {(row.account_id, row.group_id) for row in found}
            notified |= {(account, group_id) for account in also for group_id in versions}
            accounts = list({account for account, _ in notified})
            devices: dict[UUID, list[UUID]] = {account: [] for account in accounts}
            for account, device_id in connection.execute(
                _SELECT_DEVICES, {"account_ids": accounts}
            ):
                devices[account].append(device_id)
        for account, group_id in notified:
            for device_id in devices[account]:
                self.send_notice(device_id, GroupChangedNotice(group_id, versions[group_id]))
