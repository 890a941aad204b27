"""What of a column that is not named after phones looks like numbers and is none.

Such a column may hold customer numbers, and a fault for each of a million rows says no more than one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from kith.contacts import Contact, Fault, NumberUnreadable
from kith.contacts.found import WrittenNumber, quoted

MOST_FAULTS = 20  # of one column that are told one by one


def unreadable(contact: Contact, number: WrittenNumber, reason: NumberUnreadable) -> Fault:
    """Return the fault that a number which cannot be read is."""
    return Fault(number.line, f"{quoted(number.text)}: {reason}", contact.name)


@dataclass
class _Column:
    read: int = 0
    unread: int = 0
    first: list[Fault] = field(default_factory=list)


class Doubts:
    """Counts, column by column, what was read and what was not."""

    def __init__(self) -> None:
        """Know of no column."""
        self._columns = dict[str, _Column]()

    def confirm(self, column: str) -> None:
        """Note that a cell of a column is a number."""
        self._columns.setdefault(column, _Column()).read += 1

    def add(self, column: str, fault: Fault) -> None:
        """Note a cell that looks like a number and is none."""
        doubt = self._columns.setdefault(column, _Column())
        doubt.unread += 1
        if len(doubt.first) < MOST_FAULTS:
            doubt.first.append(fault)

    def faults(self) -> Iterator[Fault]:
        """Yield the faults of columns that hold numbers one by one, and one for each other column."""
        for name, column in self._columns.items():
            if not column.unread:
                continue
            if column.read >= column.unread:
                yield from column.first
                more = column.unread - len(column.first)
                if more:
                    yield Fault(
                        column.first[-1].line, f"column {quoted(name)}: {more} more are no numbers"
                    )
            elif column.unread == 1:
                yield column.first[0]
            else:
                yield Fault(
                    column.first[0].line,
                    f"column {quoted(name)}: {column.unread} cells look like phone numbers and are "
                    f"none; the first is {column.first[0].reason}",
                    column.first[0].name,
                )
