"""Problems of groups."""

from core.problems import Problem


class GroupNotFound(Problem):
    """There is no such group, or the caller is not in it, which is not told apart."""

    code, status, title = "group-not-found", 404, "There is no such group"


class GroupChanged(Problem):
    """The group has another version by now; nothing was done. Member: `version`, the current one."""

    code, status, title = "group-changed", 409, "The group has changed"


class NotAnAdmin(Problem):
    """What was asked for is for admins of the group."""

    code, status, title = "not-an-admin", 403, "Only an admin may do this"


class NotJoined(Problem):
    """The account was invited to the group, and has not accepted."""

    code, status, title = "not-joined", 403, "The invitation was not accepted"


class LastAdmin(Problem):
    """The group would be left without an admin."""

    code, status, title = "last-admin", 409, "The group needs an admin"


class MemberNotFound(Problem):
    """The account that was named is not in the group."""

    code, status, title = "member-not-found", 404, "There is no such member"


class AccountsUnknown(Problem):
    """Some of the accounts that were named are not there; member `unknown`. Nothing happened."""

    code, status, title = "accounts-unknown", 422, "Some accounts do not exist"


class GroupFull(Problem):
    """The group would have more members than it may."""

    code, status, title = "group-full", 409, "The group has too many members"


class TooManyGroups(Problem):
    """The account is in as many groups as it may be."""

    code, status, title = "too-many-groups", 409, "The account is in too many groups"


class GroupRateLimited(Problem):
    """The account made or changed too many groups, or invited too many strangers. Nothing happened."""

    code, status, title = "group-rate-limited", 429, "Too much was done with groups"
