"""Problems of groups."""

from core.problems import Problem


class GroupNotFound(Problem):
    """The group does not exist, or the caller is not in it; the answer does not tell which."""

    code, status, title = "group-not-found", 404, "There is no such group"


class GroupChanged(Problem):
    """The group has another version; nothing was changed. Member: `version`, the current one."""

    code, status, title = "group-changed", 409, "The group has changed"


class NotAnAdmin(Problem):
    """Only admins of the group may do this."""

    code, status, title = "not-an-admin", 403, "Only an admin may do this"


class NotJoined(Problem):
    """The account was invited to the group, and has not accepted."""

    code, status, title = "not-joined", 403, "The invitation was not accepted"


class LastAdmin(Problem):
    """The group would be left without an admin."""

    code, status, title = "last-admin", 409, "The group needs an admin"


class MemberNotFound(Problem):
    """The account is not in the group."""

    code, status, title = "member-not-found", 404, "There is no such member"


class AccountsUnknown(Problem):
    """Some of the accounts do not exist; member `unknown` lists them. Nothing was changed."""

    code, status, title = "accounts-unknown", 422, "Some accounts do not exist"


class GroupFull(Problem):
    """The group would exceed the maximum number of members."""

    code, status, title = "group-full", 409, "The group has too many members"


class TooManyGroups(Problem):
    """The account has joined the maximum number of groups."""

    code, status, title = "too-many-groups", 409, "The account is in too many groups"


class GroupRateLimited(Problem):
    """The account has reached a limit of new groups, changes or invitations. Nothing was changed."""

    code, status, title = "group-rate-limited", 429, "Too many group changes"
