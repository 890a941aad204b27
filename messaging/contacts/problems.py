"""Problems of contacts."""

from core.problems import Problem


class TooManyContacts(Problem):
    """The account has accepted or blocked the maximum number of accounts by hand."""

    code, status, title = "too-many-contacts", 409, "The account has too many contacts"
