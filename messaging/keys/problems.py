"""Problems of keys."""

from core.problems import Problem


class KeysDiffer(Problem):
    """The digest is not that of the keys that are handed out, or there are none."""

    code, status, title = "keys-differ", 409, "Other keys are published"


class TooManyKeyUploads(Problem):
    """The device uploaded keys as often as it may."""

    code, status, title = "too-many-key-uploads", 429, "Too many uploads of keys"


class TooManyKeyFetches(Problem):
    """The account took keys as often as it may, of this account or in all; none were handed out."""

    code, status, title = "too-many-key-fetches", 429, "Too many keys were taken"
