"""Request and answer bodies of groups."""

from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from core.parsing import Answer, Body, Name, Query
from messaging.groups.membership import GroupSummary, GroupView, Member
from messaging.groups.models import MemberState, Role

#: Invited accounts included.
MAX_MEMBERS = 1_024
MAX_LISTED_GROUPS = 100
MAX_VERSION = 2**31 - 1

WireRole = Literal["admin", "member"]
WireState = Literal["joined", "invited"]

ROLES: dict[WireRole, Role] = {"admin": Role.ADMIN, "member": Role.MEMBER}
_WIRE_ROLES: dict[Role, WireRole] = {role: name for name, role in ROLES.items()}


class GroupPath(BaseModel):
    """A group."""

    group_id: str = Field(max_length=64)


class MemberPath(GroupPath):
    """An account in a group."""

    account_id: str = Field(max_length=64)


class NewGroup(Body):
    """A group to create: the calling account is its admin, and a member beside `members`."""

    name: Name
    members: list[UUID] = Field(
        max_length=MAX_MEMBERS - 1,
        description="Other accounts: those that accepted the caller join, the others are invited.",
    )


class VersionedChange(Body):
    """A change of one version of a group."""

    version: int = Field(ge=1, le=MAX_VERSION, description="The version that is changed.")


class GroupChange(VersionedChange):
    """A new name for a group."""

    name: Name


class Invitation(VersionedChange):
    """Accounts to add to a group, or to invite."""

    account_ids: list[UUID] = Field(min_length=1, max_length=MAX_MEMBERS - 1)


class RoleChange(VersionedChange):
    """A new role for a member."""

    role: WireRole


class Acceptance(Body):
    """Acceptance of an invitation; it has no fields."""


class RemovalQuery(Query):
    """The version that a removal is for; not needed to leave."""

    version: int | None = Field(None, ge=1, le=MAX_VERSION)


class GroupsQuery(Query):
    """Which groups to list."""

    after: UUID | None = Field(None, description="The last `id` of the previous page.")
    limit: int = Field(MAX_LISTED_GROUPS, ge=1, le=MAX_LISTED_GROUPS)


class MemberAnswer(Answer):
    """An account in a group, or invited to it."""

    account_id: UUID
    role: WireRole
    state: WireState

    @classmethod
    def of(cls, account_id: UUID, member: Member) -> Self:
        """Build the answer, which does not show whether an invited account knows."""
        return cls(account_id=account_id, role=_WIRE_ROLES[member.role], state=_wire_state(member))


class GroupAnswer(Answer):
    """A group at one version. The members that joined first come first."""

    id: UUID
    name: str
    version: int
    members: list[MemberAnswer]

    @classmethod
    def of(cls, view: GroupView) -> Self:
        """Build the answer from a group."""
        return cls(
            id=view.id,
            name=view.name,
            version=view.version,
            members=[MemberAnswer.of(*member) for member in view.members.items()],
        )


class GroupSummaryAnswer(Answer):
    """A group without its members, and what the calling account is in it."""

    id: UUID
    name: str
    version: int
    role: WireRole
    state: WireState

    @classmethod
    def of(cls, group: GroupSummary) -> Self:
        """Build the answer from a group and the member who sees it."""
        return cls(
            id=group.id,
            name=group.name,
            version=group.version,
            role=_WIRE_ROLES[group.member.role],
            state=_wire_state(group.member),
        )


class GroupsAnswer(Answer):
    """Groups by ascending id; `more` follow after the last."""

    groups: list[GroupSummaryAnswer]
    more: bool


class GroupDeviceAnswer(Answer):
    """A device to encrypt for; None for one that has published no keys."""

    account_id: UUID
    device_id: UUID
    registration_id: int | None


class GroupDevicesAnswer(Answer):
    """The devices of joined members but the calling one, at one version."""

    version: int
    devices: list[GroupDeviceAnswer]
    digest: str = Field(description="SHA-256 digest of the devices, base64url without padding.")


def _wire_state(member: Member) -> WireState:
    return "joined" if member.state == MemberState.JOINED else "invited"
