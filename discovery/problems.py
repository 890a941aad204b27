"""What can go wrong with lookups."""

from core.problems import Problem


class EpochUnknown(Problem):
    """The hashes were made with parameters that do not hold now: fetch them and hash again."""

    code, status, title = "epoch-unknown", 409, "These discovery parameters do not hold"


class BudgetExhausted(Problem):
    """The budget does not hold enough for all new hashes; none was looked up, none was charged."""

    code, status, title = "budget-exhausted", 429, "The lookup budget is used up"


class BudgetTooSmall(Problem):
    """There are more new hashes than the budget ever holds; waiting does not help."""

    code, status, title = "budget-too-small", 422, "The budget never holds enough for these hashes"
