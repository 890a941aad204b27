"""Own the calls about groups; they need the device token.

Refuse to encrypt: what is sent to a group is the caller's, see `kith.calls.messaging`.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from kith.calls.base import Calls, answer, fresh_key, segment
from kith.models import Group, GroupDevices, GroupPage
from kith.problems import GroupNotFound

Role = Literal["admin", "member"]


class GroupCalls(Calls):
    """Create groups, change who is in them, and find the devices to encrypt for.

    A change names the version that it was made for; GroupChanged, with the current one as
    `version`, says that the group has another by now, and that nothing happened.
    """

    def create_group(self, name: str, members: Iterable[str] = ()) -> Group:
        """Make a group of this account, its admin, and of other accounts, at most 1,023.

        Those who are not in touch with this account are invited only.
        """
        body = {"name": name, "members": list(members)}
        response = self._requests.call("POST", "/v1/groups", body, idempotency_key=fresh_key())
        return answer(Group, response)

    def groups(self, *, after: str | None = None, limit: int = 100) -> GroupPage:
        """Return groups of this account, invitations among them; `after` is the last id before."""
        query: dict[str, str | int] = {"limit": limit}
        if after is not None:
            query["after"] = after
        return answer(GroupPage, self._requests.call("GET", "/v1/groups", query=query))

    def group(self, group_id: str) -> Group:
        """Return a group with its members; raise GroupNotFound when this account is not in it."""
        return answer(Group, self._requests.call("GET", _path(group_id)))

    def rename_group(self, group_id: str, version: int, name: str) -> Group:
        """Give a group another name, 1 to 100 characters; for admins."""
        body = {"version": version, "name": name}
        return self._change("PATCH", _path(group_id), body)

    def invite(self, group_id: str, version: int, account_ids: Iterable[str]) -> Group:
        """Add accounts that are in touch with this one, and invite others; for admins."""
        body = {"version": version, "account_ids": list(account_ids)}
        return self._change("POST", f"{_path(group_id)}/members", body)

    def set_role(self, group_id: str, version: int, account_id: str, role: Role) -> Group:
        """Make a member an admin, or an admin a member; for admins."""
        body = {"version": version, "role": role}
        return self._change("PATCH", _member(group_id, account_id), body)

    def remove_member(self, group_id: str, version: int, account_id: str) -> Group:
        """Remove another account from a group, or take its invitation back; for admins."""
        response = self._requests.call(
            "DELETE",
            _member(group_id, account_id),
            query={"version": version},
            repeatable=False,
        )
        return answer(Group, response)

    def leave_group(self, group_id: str, account_id: str) -> None:
        """Leave a group, or decline its invitation; `account_id` is the own one."""
        self._requests.call("DELETE", _member(group_id, account_id), done_when=(GroupNotFound,))

    def accept_invitation(self, group_id: str) -> Group:
        """Join a group that this account was invited to; again it changes nothing."""
        return answer(Group, self._requests.call("PUT", f"{_path(group_id)}/membership", {}))

    def group_devices(self, group_id: str) -> GroupDevices:
        """Return each device of each joined member but this one, and the digest over them."""
        return answer(GroupDevices, self._requests.call("GET", f"{_path(group_id)}/devices"))

    def _change(self, method: str, path: str, body: Mapping[str, object]) -> Group:
        """Change a group once: a repeated change would meet the version that it made itself."""
        return answer(Group, self._requests.call(method, path, body, repeatable=False))


def _path(group_id: str) -> str:
    return f"/v1/groups/{segment(group_id)}"


def _member(group_id: str, account_id: str) -> str:
    return f"{_path(group_id)}/members/{segment(account_id)}"
