"""Routes of groups."""

from collections.abc import Callable
from uuid import UUID

from core.api import Api
from core.base64url import encode
from core.parsing import idempotency_key
from core.problems import IdempotencyKeyReused, InvalidFields
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
    GroupSummaryAnswer,
    Invitation,
    MemberPath,
    NewGroup,
    RemovalQuery,
    RoleChange,
)
from messaging.groups.service import GroupService
from tokens.devices import Caller
from tokens.routes import AUTHENTICATION

#: Problems of every change by an admin.
CHANGE_PROBLEMS = (GroupNotFound, NotJoined, NotAnAdmin, GroupChanged, GroupRateLimited)


def _group_id(path: GroupPath) -> UUID:
    try:
        return UUID(path.group_id)
    except ValueError:
        raise GroupNotFound("It was deleted, or never was, or you are not in it.") from None


def _account_id(path: MemberPath) -> UUID:
    try:
        return UUID(path.account_id)
    except ValueError:
        raise MemberNotFound("GET the group for its members.") from None


def groups_api(groups: GroupService, authenticate: Callable[[], Caller]) -> Api:
    """Return the routes under `/groups`."""
    api = Api(
        "groups",
        __name__,
        description="Accounts that are written to as one",
        authenticate=authenticate,
        problems=AUTHENTICATION,
    )

    @api.operation(
        "POST",
        "/groups",
        answer=GroupAnswer,
        status=201,
        problems=(AccountsUnknown, TooManyGroups, GroupRateLimited, IdempotencyKeyReused),
        takes_idempotency_key=True,
    )
    def create_group(caller: Caller, body: NewGroup) -> tuple[str, int]:
        """Create a group; accounts that have not accepted the caller are only invited."""
        return groups.create(caller, body, idempotency_key()), 201

    @api.operation("GET", "/groups", answer=GroupsAnswer)
    def list_groups(caller: Caller, query: GroupsQuery) -> GroupsAnswer:
        """List the groups that the calling account is in, or invited to."""
        found, more = groups.page(caller, query.after, query.limit)
        return GroupsAnswer(groups=[GroupSummaryAnswer.of(group) for group in found], more=more)

    @api.operation("GET", "/groups/<group_id>", answer=GroupAnswer, problems=(GroupNotFound,))
    def get_group(caller: Caller, path: GroupPath) -> GroupAnswer:
        """Show a group and its members."""
        return GroupAnswer.of(groups.get(caller, _group_id(path)))

    @api.operation("PATCH", "/groups/<group_id>", answer=GroupAnswer, problems=CHANGE_PROBLEMS)
    def rename_group(caller: Caller, path: GroupPath, body: GroupChange) -> GroupAnswer:
        """Rename a group."""
        group_id = _group_id(path)
        return GroupAnswer.of(groups.rename(caller, group_id, body.version, body.name))

    @api.operation(
        "POST",
        "/groups/<group_id>/members",
        answer=GroupAnswer,
        problems=(*CHANGE_PROBLEMS, AccountsUnknown, GroupFull),
    )
    def invite_members(caller: Caller, path: GroupPath, body: Invitation) -> GroupAnswer:
        """Add accounts that have accepted the caller, and invite others."""
        group_id = _group_id(path)
        return GroupAnswer.of(groups.invite(caller, group_id, body.version, body.account_ids))

    @api.operation(
        "PATCH",
        "/groups/<group_id>/members/<account_id>",
        answer=GroupAnswer,
        problems=(*CHANGE_PROBLEMS, MemberNotFound, LastAdmin),
    )
    def change_member(caller: Caller, path: MemberPath, body: RoleChange) -> GroupAnswer:
        """Make a member an admin, or an admin a member."""
        group_id, account_id = _group_id(path), _account_id(path)
        return GroupAnswer.of(
            groups.set_role(caller, group_id, body.version, account_id, ROLES[body.role])
        )

    @api.operation(
        "DELETE",
        "/groups/<group_id>/members/<account_id>",
        answer=GroupAnswer,
        also={"204": None},
        problems=(*CHANGE_PROBLEMS, MemberNotFound),
    )
    def remove_member(caller: Caller, path: MemberPath, query: RemovalQuery) -> GroupAnswer | None:
        """Remove another account from a group, or leave it, which needs no version."""
        group_id, account_id = _group_id(path), _account_id(path)
        if account_id == caller.account_id:
            groups.leave(caller, group_id)
            return None
        if query.version is None:
            raise InvalidFields.at("?/version", "the version that the removal is for")
        return GroupAnswer.of(groups.remove(caller, group_id, query.version, account_id))

    @api.operation(
        "PUT",
        "/groups/<group_id>/membership",
        answer=GroupAnswer,
        problems=(GroupNotFound, TooManyGroups),
    )
    def accept_invitation(caller: Caller, path: GroupPath, body: Acceptance) -> GroupAnswer:
        """Join a group after an invitation."""
        return GroupAnswer.of(groups.accept(caller, _group_id(path)))

    @api.operation(
        "GET",
        "/groups/<group_id>/devices",
        answer=GroupDevicesAnswer,
        problems=(GroupNotFound, NotJoined),
    )
    def list_group_devices(caller: Caller, path: GroupPath) -> GroupDevicesAnswer:
        """List the devices of all joined members but the calling one, to encrypt for each."""
        found = groups.devices(caller, _group_id(path))
        return GroupDevicesAnswer(
            version=found.version,
            devices=[GroupDeviceAnswer(**device._asdict()) for device in found.devices],
            digest=encode(found.digest),
        )

    return api
