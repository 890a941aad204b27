"""What can go wrong with lookups."""

from core.problems import Problem


class EpochUnknown(Problem):
    """The hashes were made with parameters that do not hold now: fetch them and hash again."""

    code, status, title = "epoch-unknown", 409, "These discovery parameters do not hold"
