"""Own the calls about groups; they need the device token."""

from kith.calls.base import Calls, answer, segment
from kith.models import GroupDevices


class GroupCalls(Calls):
    """Make groups, change who is in them, and see whom to encrypt for."""

    def group_devices(self, group_id: str) -> GroupDevices:
        """Return the devices of all joined members, and of which version of the group they are."""
        response = self._requests.call("GET", f"/v1/groups/{segment(group_id)}/devices")
        return answer(GroupDevices, response)
