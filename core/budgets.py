"""A budget as operators write it, `burst:per day`: so many at once, and so many more a day."""

import re
from dataclasses import dataclass

MAX_REFILL = 400
MAX_HASHES = 999_999_999


@dataclass(frozen=True)
class Budget:
    """`burst` at once and `per_day` more each day; raises ValueError if out of bounds.

    A budget that refills slower than its spending is remembered would forget that spending.
    """

    burst: int
    per_day: int

    def __post_init__(self) -> None:
        """Check the bounds."""
        if not (1 <= self.burst <= MAX_HASHES and 1 <= self.per_day <= MAX_HASHES):
            raise ValueError(f"{self} is not a budget such as 20000:500")
        if self.burst > MAX_REFILL * self.per_day:
            raise ValueError(f"{self} would take more than {MAX_REFILL} days to refill")

    def __str__(self) -> str:
        """Return the text that `read` takes."""
        return f"{self.burst}:{self.per_day}"

    @classmethod
    def read(cls, text: str) -> "Budget":
        """Read a text such as `20000:500`; raises ValueError with the reason."""
        found = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text, re.ASCII)
        if not found:
            raise ValueError(f"{text!r} is not a budget such as 20000:500")
        return cls(int(found[1]), int(found[2]))
