"""What `kith sync` and `kith numbers` share: options, opening a file, reporting faults, printing.

Matches are printed one by one, as a book may have a million.
"""

import csv
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import click

from kith.commands.errors import LOCAL_FILE, UNREADABLE_INPUT, Failure
from kith.commands.output import clean, json_items, plural, print_table
from kith.contacts import Fault, Format, region_named
from kith.sync import Book, Match, Outcome, State


def parse_region(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return the ISO 3166 country of an option; raise click.BadParameter."""
    region = None if value is None else region_named(value)
    if value is not None and region is None:
        raise click.BadParameter("not a country, such as DE or US")
    return region


region_option = click.option(
    "--region",
    metavar="CC",
    callback=parse_region,
    help="Country of numbers without country code; by default that of your own number.",
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Format)),
    help="Format of FILE; by default detected from its content.",
)
strict_option = click.option(
    "--strict",
    is_flag=True,
    help="Exit with 9 when something could not be read, or no number was found.",
)


@contextmanager
def open_input(file: str) -> Iterator[BinaryIO]:
    """Open a file, "-" for stdin; raise Failure."""
    try:
        if file == "-":
            yield sys.stdin.buffer
            return
        with Path(file).open("rb") as stream:
            yield stream
    except OSError as error:
        raise Failure(
            f"{display_name(file)} cannot be read: {error.strerror}.",
            hint="Give the path of a vCard, CSV or other address book, or - for stdin.",
            exit_code=LOCAL_FILE,
        ) from None


def write_rejects(path: Path, lines: Iterable[str]) -> None:
    """Write faults into a private file; raise Failure."""
    try:
        # Readable by the owner only: a fault may quote somebody's number.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            output.writelines(f"{clean(line)}\n" for line in lines)
    except OSError as error:
        raise Failure(
            f"{path} cannot be written: {error.strerror}.", exit_code=LOCAL_FILE
        ) from None


def fault_line(file: str, fault: Fault) -> str:
    """Return a fault as `file:line: name: reason`."""
    whose = f"{fault.name}: " if fault.name else ""
    return f"{display_name(file)}:{fault.line}: {whose}{fault.reason}"


def display_name(file: str) -> str:
    """Return the name of a file in messages."""
    return "<stdin>" if file == "-" else file


def no_numbers_text(book: Book) -> str:
    """Return the warning for a book with contacts and no number, "" for others."""
    if book.numbers or not book.contacts:
        return ""
    return (
        f"no phone number was found in {plural(book.contacts, 'contact')}; "
        "is this the right file, and was it exported with phone numbers?"
    )


def note_counts(book: Book, more: str = "", *, err: bool) -> None:
    """Print how much was read."""
    click.echo(
        f"{plural(book.contacts, 'contact')}, {plural(book.numbers, 'number')}, "
        f"{book.unreadable} unreadable{more}",
        err=err,
    )


def require_no_faults(book: Book) -> None:
    """Raise Failure when something of a book could not be read, or it has no number."""
    if book.unreadable:
        things = "line or number" if book.unreadable == 1 else "lines or numbers"
        raise Failure(f"{book.unreadable} {things} could not be read.", exit_code=UNREADABLE_INPUT)
    if no_numbers_text(book):
        raise Failure("No phone number was found.", exit_code=UNREADABLE_INPUT)


Output = Literal["table", "json", "jsonl", "csv"]
TABLE_ROWS = 1_000  # printed at once, as wide as the widest


class NewMatches:
    """The matches of a run, counted while they are printed."""

    def __init__(self, book: Book, state: State, *, only_new: bool) -> None:
        """Iterate over all matches, or with `only_new` over those that `state` has not shown."""
        self._book = book
        self._state = state
        self._only_new = only_new
        self.here = 0
        self.new = 0

    def __iter__(self) -> Iterator[Match]:
        """Yield the matches in the book's order."""
        for match in self._book.matches():
            is_new = not self._state.was_shown(match.account_id)
            self.here += 1
            self.new += is_new
            if is_new or not self._only_new:
                yield match


def print_matches(output: Output, shown: NewMatches, book: Book, outcome: Outcome) -> None:
    """Write the matches to stdout and flush it."""
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


def _document(shown: NewMatches, book: Book, outcome: Outcome) -> Iterator[str]:
    yield f'{{\n  "contacts": {book.contacts},\n  "numbers": {book.numbers},\n  "unreadable": ['
    yield from json_items(_json(book.faults()))
    yield '],\n  "matches": ['
    yield from json_items(_json(shown))
    yield f'],\n  "here": {shown.here},\n  "new": {shown.new},\n  "waiting": {outcome.waiting}\n}}\n'
