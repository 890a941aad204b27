"""Problems of keys."""

from core.problems import Problem


class KeysDiffer(Problem):
    """The digest is not that of the published keys, or the device has published none."""

    code, status, title = "keys-differ", 409, "Other keys are published"


class TooManyKeyUploads(Problem):
    """The device has reached the limit of key uploads."""

    code, status, title = "too-many-key-uploads", 429, "Too many key uploads"


class TooManyKeyFetches(Problem):
    """The account has reached the limit of key fetches, of this account or in all; none were handed out."""

    code, status, title = "too-many-key-fetches", 429, "Too many key fetches"
