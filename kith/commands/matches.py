"""Own how matches are printed: as a table, a JSON document, JSON lines or CSV, each as it comes.

Refuse to gather them: a book may have a million.
"""

import csv
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, fields
from typing import Literal

from kith.commands.output import clean, print_table, separated
from kith.contacts import Fault
from kith.sync import Book, Match, Outcome, State

Output = Literal["table", "json", "jsonl", "csv"]
TABLE_ROWS = 1_000  # a table is as wide as its widest row, so that many are gathered


class Shown:
    """The matches of a run on their way to be printed, counted as they pass."""

    def __init__(self, book: Book, state: State, *, only_new: bool) -> None:
        """Yield all of the book's matches, or with `only_new` those that `state` has not shown."""
        self._book = book
        self._state = state
        self._only_new = only_new
        self.here = 0
        self.new = 0

    def __iter__(self) -> Iterator[Match]:
        """Yield the matches in the book's order."""
        for match in self._book.matches():
            is_new = not self._state.has_shown(match.account_id)
            self.here += 1
            self.new += is_new
            if is_new or not self._only_new:
                yield match


def print_matches(output: Output, shown: Shown, book: Book, outcome: Outcome) -> None:
    """Write the matches to stdout, and return once the system has taken them."""
    if output == "table":
        _table(shown)
    elif output == "csv":
        _csv(shown)
    elif output == "jsonl":
        sys.stdout.writelines(f"{line}\n" for line in _json(shown))
    else:
        sys.stdout.writelines(_document(shown, book, outcome))
    sys.stdout.flush()


def _table(matches: Iterable[Match]) -> None:
    rows = ((match.name, match.written, match.account_id) for match in matches)
    while block := list(itertools.islice(rows, TABLE_ROWS)):
        print_table(("NAME", "NUMBER", "ACCOUNT"), block)


def _csv(matches: Iterable[Match]) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(field.name for field in fields(Match))
    for match in matches:
        table.writerow(clean(str(cell)) for cell in astuple(match))


def _json(items: Iterable[Match | Fault]) -> Iterator[str]:
    for item in items:
        yield json.dumps(asdict(item))


def _document(shown: Shown, book: Book, outcome: Outcome) -> Iterator[str]:
    yield f'{{\n  "contacts": {book.contacts},\n  "numbers": {book.numbers},\n  "unreadable": ['
    yield from separated(_json(book.faults()))
    yield '],\n  "matches": ['
    yield from separated(_json(shown))
    yield f'],\n  "here": {shown.here},\n  "new": {shown.new},\n  "waiting": {outcome.waiting}\n}}\n'
