"""Calls that create groups, change their members and list the devices to encrypt for.

Messages to a group go through `kith.api.messages`.
"""

from collections.abc import Iterable, Mapping

from kith.api import ApiCalls, new_idempotency_key, path_segment, without_none
from kith.models import Group, GroupDevices, GroupPage, Role
from kith.problems import GroupNotFound


class GroupCalls(ApiCalls):
    """Create, read and change groups.

    A change names the version that it is made for. GroupChanged, with the current `version`, means
    that the group has another version and that nothing was changed. Changes are not retried: a
    repeated one would meet the version that it created itself.
    """

    def create_group(self, name: str, members: Iterable[str] = ()) -> Group:
        """Create a group with this account as its admin and up to 1,023 other accounts.

        Accounts that are not in touch with this one are invited.
        """
        body = {"name": name, "members": list(members)}
        key = new_idempotency_key()
        return self._read(Group, "POST", "/v1/groups", body, idempotency_key=key)

    def groups(self, *, after: str | None = None, limit: int = 100) -> GroupPage:
        """Return this account's groups and invitations; `after` is the last id of the page before."""
        query = without_none(limit=limit, after=after)
        return self._read(GroupPage, "GET", "/v1/groups", query=query)

    def group(self, group_id: str) -> Group:
        """Return a group with its members; raise GroupNotFound when this account is not in it."""
        return self._read(Group, "GET", _path(group_id))

    def rename_group(self, group_id: str, version: int, name: str) -> Group:
        """Rename a group, 1 to 100 characters; admins only."""
        return self._change("PATCH", _path(group_id), {"version": version, "name": name})

    def invite(self, group_id: str, version: int, account_ids: Iterable[str]) -> Group:
        """Add accounts that are in touch with this one, and invite others; admins only."""
        body = {"version": version, "account_ids": list(account_ids)}
        return self._change("POST", f"{_path(group_id)}/members", body)

    def set_role(self, group_id: str, version: int, account_id: str, role: Role) -> Group:
        """Make a member an admin, or an admin a member; admins only."""
        body = {"version": version, "role": role}
        return self._change("PATCH", _member(group_id, account_id), body)

    def remove_member(self, group_id: str, version: int, account_id: str) -> Group:
        """Remove another account from a group, or revoke its invitation; admins only."""
        path = _member(group_id, account_id)
        return self._read(Group, "DELETE", path, query={"version": version}, repeatable=False)

    def leave_group(self, group_id: str, account_id: str) -> None:
        """Leave a group, or decline its invitation; `account_id` is this account's."""
        self._transport.call("DELETE", _member(group_id, account_id), done_when=(GroupNotFound,))

    def accept_invitation(self, group_id: str) -> Group:
        """Join a group that this account was invited to; a repeated call changes nothing."""
        return self._read(Group, "PUT", f"{_path(group_id)}/membership", {})

    def group_devices(self, group_id: str) -> GroupDevices:
        """Return each device of each joined member but this one, and the digest over them."""
        return self._read(GroupDevices, "GET", f"{_path(group_id)}/devices")

    def _change(self, method: str, path: str, body: Mapping[str, object]) -> Group:
        return self._read(Group, method, path, body, repeatable=False)


def _path(group_id: str) -> str:
    return f"/v1/groups/{path_segment(group_id)}"


def _member(group_id: str, account_id: str) -> str:
    return f"{_path(group_id)}/members/{path_segment(account_id)}"
