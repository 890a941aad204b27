"""Routes of groups."""

from uuid import UUID

from flask import current_app

from core.api import Api, idempotency_key
from core.base64url import encode
from core.problems import IdempotencyKeyReused, InvalidFields
from messaging.groups.administration import GroupAdministration
from messaging.groups.problems import (
    AccountsUnknown,
    GroupChanged,
    GroupFull,
    GroupNotFound,
    GroupRateLimited,
    LastAdmin,
    MemberNotFound,
    NotAnAdmin,
    NotJoined,
    TooManyGroups,
)
from messaging.groups.schemas import (
    ROLES,
    Acceptance,
    GroupAnswer,
    GroupChange,
    GroupDeviceAnswer,
    GroupDevicesAnswer,
    GroupPath,
    GroupsAnswer,
    GroupsQuery,
    Invitation,
    MemberPath,
    NewGroup,
    RemovalQuery,
    RoleChange,
)
from messaging.groups.service import GroupService
from tokens.authenticate import Caller, authenticate_device
from tokens.routes import AUTHENTICATION

#: What every change that is for admins can be refused with.
CHANGING = (GroupNotFound, NotJoined, NotAnAdmin, GroupChanged, GroupRateLimited)

groups_api = Api(
    "groups",
    __name__,
    description="Accounts that are written to as one, and who may change what they are",
    authenticate=authenticate_device,
    problems=AUTHENTICATION,
)


def _groups() -> GroupService:
    service: GroupService = current_app.extensions["kith"].messaging.groups
    return service


def _changes() -> GroupAdministration:
    service: GroupAdministration = current_app.extensions["kith"].messaging.group_changes
    return service


def _group_id(path: GroupPath) -> UUID:
    try:
        return UUID(path.group_id)
    except ValueError:
        raise GroupNotFound("It was deleted, or never was, or you are not in it.") from None


def _account_id(path: MemberPath) -> UUID:
    try:
        return UUID(path.account_id)
    except ValueError:
        raise MemberNotFound("GET the group for who is in it.") from None


@groups_api.operation(
    "POST",
    "/groups",
    answer=GroupAnswer,
    status=201,
    problems=(AccountsUnknown, TooManyGroups, GroupRateLimited, IdempotencyKeyReused),
    takes_idempotency_key=True,
)
def create_group(caller: Caller, body: NewGroup) -> tuple[str, int]:
    """Make a group; those who are not in touch with the caller are invited only."""
    return _groups().create(caller, body, idempotency_key()), 201


@groups_api.operation("GET", "/groups", answer=GroupsAnswer)
def list_groups(caller: Caller, query: GroupsQuery) -> GroupsAnswer:
    """List the groups that the calling account is in, or invited to."""
    groups, more = _groups().page(caller, query.after, query.limit)
    return GroupsAnswer(groups=groups, more=more)


@groups_api.operation("GET", "/groups/<group_id>", answer=GroupAnswer, problems=(GroupNotFound,))
def get_group(caller: Caller, path: GroupPath) -> GroupAnswer:
    """Show a group and who is in it."""
    return _groups().get(caller, _group_id(path))


@groups_api.operation("PATCH", "/groups/<group_id>", answer=GroupAnswer, problems=CHANGING)
def rename_group(caller: Caller, path: GroupPath, body: GroupChange) -> GroupAnswer:
    """Give a group another name."""
    return _changes().rename(caller, _group_id(path), body.version, body.name)


@groups_api.operation(
    "POST",
    "/groups/<group_id>/members",
    answer=GroupAnswer,
    problems=(*CHANGING, AccountsUnknown, GroupFull),
)
def invite_members(caller: Caller, path: GroupPath, body: Invitation) -> GroupAnswer:
    """Add accounts that are in touch with the caller, and invite others."""
    return _changes().invite(caller, _group_id(path), body.version, body.account_ids)


@groups_api.operation(
    "PATCH",
    "/groups/<group_id>/members/<account_id>",
    answer=GroupAnswer,
    problems=(*CHANGING, MemberNotFound, LastAdmin),
)
def change_member(caller: Caller, path: MemberPath, body: RoleChange) -> GroupAnswer:
    """Make a member an admin, or an admin a member."""
    group_id, account_id = _group_id(path), _account_id(path)
    return _changes().set_role(caller, group_id, body.version, account_id, ROLES[body.role])


@groups_api.operation(
    "DELETE",
    "/groups/<group_id>/members/<account_id>",
    answer=GroupAnswer,
    also={"204": None},
    problems=(*CHANGING, MemberNotFound),
)
def remove_member(caller: Caller, path: MemberPath, query: RemovalQuery) -> GroupAnswer | None:
    """Remove another account from a group; the calling one leaves it, which names no version."""
    group_id, account_id = _group_id(path), _account_id(path)
    if account_id == caller.account_id:
        _groups().leave(caller, group_id)
        return None
    if query.version is None:
        raise InvalidFields.at("?/version", "the version that the removal is for")
    return _changes().remove(caller, group_id, query.version, account_id)


@groups_api.operation(
    "PUT",
    "/groups/<group_id>/membership",
    answer=GroupAnswer,
    problems=(GroupNotFound, TooManyGroups),
)
def accept_invitation(caller: Caller, path: GroupPath, body: Acceptance) -> GroupAnswer:
    """Join a group after an invitation."""
    return _groups().accept(caller, _group_id(path))


@groups_api.operation(
    "GET",
    "/groups/<group_id>/devices",
    answer=GroupDevicesAnswer,
    problems=(GroupNotFound, NotJoined),
)
def list_group_devices(caller: Caller, path: GroupPath) -> GroupDevicesAnswer:
    """List the devices of all joined members but the calling one, to encrypt for each."""
    found = _groups().devices(caller, _group_id(path))
    return GroupDevicesAnswer(
        version=found.version,
        devices=[GroupDeviceAnswer(**device._asdict()) for device in found.devices],
        digest=encode(found.digest),
    )
