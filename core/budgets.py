"""A budget as operators write it: `burst:per day`, so many at once and so many more a day.

Refuses one that would take so long to refill that what it has spent is forgotten before.
"""

import re
from dataclasses import dataclass

MAX_REFILL = 400
MOST = 999_999_999


@dataclass(frozen=True)
class Budget:
    """So many at once, and so many more a day; raises ValueError for one that cannot be."""

    burst: int
    per_day: int

    def __post_init__(self) -> None:
        """Refuse what is out of bounds."""
        if not (1 <= self.burst <= MOST and 1 <= self.per_day <= MOST):
            raise ValueError(f"{self} is not a budget such as 20000:500")
        if self.burst > MAX_REFILL * self.per_day:
            raise ValueError(f"{self} would take more than {MAX_REFILL} days to refill")

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"{self.burst}:{self.per_day}"

    @classmethod
    def read(cls, text: str) -> "Budget":
        """Read one such as `20000:500`; raises ValueError, which says what is wrong with it."""
        found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text, re.ASCII)
        if not found:
            raise ValueError(f"{text!r} is not a budget such as 20000:500")
        return cls(int(found[1]), int(found[2]))
