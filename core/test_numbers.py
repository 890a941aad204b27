"""The entries of `KITH_TEST_NUMBERS`: numbers that are never sent to, whose code is fixed.

Owns how an entry is written. Refuses one that could not be told from another, and names it by place or
masked number, never by its code.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from core.phone_numbers import PhoneNumber, mask
from core.typed_numbers import forms_of
from core.typed_text import read_code, visible


@dataclass(frozen=True)
class TestNumber:
    """A number in E.164, its code of 6 or 8 digits, and the last day it works (UTC; None: always)."""

    e164: str = field(repr=False)
    code: str = field(repr=False)
    last_day: date | None

    @property
    def number(self) -> PhoneNumber:
        """The number as a value like any other: of no country and no kind."""
        return PhoneNumber(self.e164, "001", "unknown")

    def is_over(self, now: datetime) -> bool:
        """Say whether its last day has passed; `now` is aware."""
        return self.last_day is not None and now.astimezone(UTC).date() > self.last_day


def read_entries(text: str) -> tuple[TestNumber, ...]:
    """Read `+14155550100=123456@2027-01-31` and the like, between commas; the date may be missing.

    The numbers need not exist, as those of films do not. Raises ValueError with a line a fault.
    """
    read: list[TestNumber] = []
    faults: list[str] = []
    entries = (entry.strip() for entry in text.split(","))
    for place, entry in enumerate(filter(None, entries), 1):
        try:
            read.append(_read(entry, place))
        except ValueError as fault:
            faults.append(str(fault))
    numbers = [entry.e164 for entry in read]
    twice = [e164 for e164 in dict.fromkeys(numbers) if numbers.count(e164) > 1]
    faults += [f"{mask(e164)} is there twice" for e164 in twice]
    if faults:
        raise ValueError("\n".join(faults))
    return tuple(read)


def _read(entry: str, place: int) -> TestNumber:
    number, _, rest = entry.partition("=")
    typed, at, day = rest.partition("@")
    e164 = next(iter(forms_of(number, None)), "") if visible(number).startswith("+") else ""
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", e164):
        raise ValueError(f"entry {place} must begin with a number in E.164 and `=`")
    code = read_code(typed)
    if code is None:
        raise ValueError(f"{mask(e164)} needs a code of 6 or 8 digits after its `=`")
    if not at:
        return TestNumber(e164, code, None)
    try:
        return TestNumber(
            e164, code, datetime.strptime(visible(day), "%Y-%m-%d").replace(tzinfo=UTC).date()
        )
    except ValueError:
        raise ValueError(f"{mask(e164)} needs a date such as 2027-01-31 after its `@`") from None
