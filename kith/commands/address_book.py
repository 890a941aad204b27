"""`kith numbers`, and what it shares with `kith sync`: options, reading a file, faults, printing.

Matches are printed one by one, as a book may have a million.
"""

import csv
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import click

from kith.commands.errors import LOCAL_FILE, UNREADABLE_INPUT, Failure
from kith.commands.output import clean, json_items, note, plural, print_long_table
from kith.commands.session import Session
from kith.contacts import Fault, Format, read_contacts, region_named, region_of
from kith.storage import CredentialsBroken
from kith.sync import Book, Match, Outcome, State, gather


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


def read_book(
    book: Book,
    file: str,
    form: Format | None,
    *,
    region: str | None,
    own_number: str | None,
    keep_own: bool = False,
    on_fault: Callable[[Fault], None] | None,
    progress: Callable[[BinaryIO], Callable[[int], None]] | None = None,
) -> None:
    """Read a file into `book`, and warn when it has contacts and no number; raise Failure."""
    with open_input(file) as stream:
        gather(
            read_contacts(stream, file, form=form),
            book,
            region=region or region_of(own_number or ""),
            own_number=own_number,
            keep_own=keep_own,
            on_fault=on_fault,
            on_progress=progress and progress(stream),
        )
    if warning := _no_numbers(book):
        note(f"kith: {warning}")


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn errors of the book's temporary database into a Failure."""
    try:
        yield
    except sqlite3.Error as error:
        raise Failure(
            f"The address book cannot be kept on disk: {error}.",
            hint="Make room, or name a directory that has some as TMPDIR.",
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


def _no_numbers(book: Book) -> str:
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
    if _no_numbers(book):
        raise Failure("No phone number was found.", exit_code=UNREADABLE_INPUT)


Output = Literal["table", "json", "jsonl", "csv"]


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
        rows = ((match.name, match.written, match.account_id) for match in shown)
        print_long_table(("NAME", "NUMBER", "ACCOUNT"), rows)
    elif output == "csv":
        _csv(shown)
    elif output == "jsonl":
        sys.stdout.writelines(f"{json.dumps(asdict(match))}\n" for match in shown)
    else:
        sys.stdout.writelines(_document(shown, book, outcome))
    sys.stdout.flush()


def _csv(matches: Iterable[Match]) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(field.name for field in fields(Match))
    for match in matches:
        table.writerow(clean(str(cell)) for cell in astuple(match))


def _document(shown: NewMatches, book: Book, outcome: Outcome) -> Iterator[str]:
    yield f'{{\n  "contacts": {book.contacts},\n  "numbers": {book.numbers},\n  "unreadable": ['
    yield from json_items(map(asdict, book.faults()))
    yield '],\n  "matches": ['
    yield from json_items(map(asdict, shown))
    yield f'],\n  "here": {shown.here},\n  "new": {shown.new},\n  "waiting": {outcome.waiting}\n}}\n'


@click.command()
@click.argument("file")
@region_option
@format_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@strict_option
@click.pass_obj
def numbers(
    session: Session,
    file: str,
    region: str | None,
    form: Format | None,
    as_json: bool,
    strict: bool,
) -> None:
    """Show the numbers in FILE as kith sync reads them, and what cannot be read.

    It needs no server and no account. A number that may be one of two is shown twice. If you are
    signed in, numbers without country or area code are read as those of your own number.

    \b
    Example:
      kith numbers contacts.vcf --region DE
      kith numbers - --json < contacts.csv
    """
    own_number = _own_number(session)
    with disk_errors(), Book() as book:
        on_fault = None if as_json else lambda fault: note(fault_line(file, fault))
        read_book(
            book, file, form, region=region, own_number=own_number, keep_own=True, on_fault=on_fault
        )
        if as_json:
            sys.stdout.writelines(_numbers_document(book))
        else:
            rows = (
                (f"+{one.number}", one.name, one.written, str(one.line)) for one in book.entries()
            )
            print_long_table(("NUMBER", "NAME", "WRITTEN", "LINE"), rows)
        sys.stdout.flush()
        if not as_json:
            note_counts(book, err=True)
        if strict:
            require_no_faults(book)


def _own_number(session: Session) -> str | None:
    try:
        credentials = session.stored_credentials()
    except CredentialsBroken:  # the command needs none
        return None
    return None if credentials is None else credentials.phone_number


def _numbers_document(book: Book) -> Iterator[str]:
    yield f'{{\n  "contacts": {book.contacts},\n  "numbers": ['
    yield from json_items(
        {
            "phone_number": f"+{one.number}",
            "name": one.name,
            "written": one.written,
            "line": one.line,
        }
        for one in book.entries()
    )
    yield '],\n  "unreadable": ['
    yield from json_items(
        {"line": fault.line, "name": fault.name, "reason": fault.reason} for fault in book.faults()
    )
    yield "]\n}\n"
