"""Problems of lookups."""

from core.problems import Problem


class EpochUnknown(Problem):
    """The hashes were made with parameters that are not current: fetch them and hash again."""

    code, status, title = "epoch-unknown", 409, "Outdated discovery parameters"


class BudgetExhausted(Problem):
    """The budget does not hold enough for all new hashes; none was looked up or charged."""

    code, status, title = "budget-exhausted", 429, "Lookup budget exhausted"


class BudgetTooSmall(Problem):
    """There are more new hashes than the budget ever holds; waiting does not help."""

    code, status, title = "budget-too-small", 422, "Lookup budget too small"
