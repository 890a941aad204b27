"""`kith numbers`: the phone numbers of an address book in E.164, and what cannot be read."""

import itertools
import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator

import click

from kith.commands.address_book import (
    fault_line,
    format_option,
    no_numbers_text,
    note_counts,
    open_input,
    region_option,
    require_no_faults,
    strict_option,
)
from kith.commands.errors import LOCAL_FILE, Failure
from kith.commands.output import json_items, note, print_table
from kith.commands.session import Session
from kith.contacts import Format, read_contacts, region_of
from kith.storage import CredentialsBroken
from kith.sync import Book, gather

TABLE_ROWS = 1_000  # printed at once, as wide as the widest


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
    try:
        with Book() as book:
            with open_input(file) as stream:
                gather(
                    read_contacts(stream, file, form=form),
                    book,
                    region=region or region_of(own_number or ""),
                    own_number=own_number,
                    keep_own=True,
                    on_fault=None if as_json else lambda fault: note(fault_line(file, fault)),
                )
            if no_numbers_text(book):
                note(f"kith: {no_numbers_text(book)}")
            if as_json:
                sys.stdout.writelines(_document(book))
            else:
                _table(book)
            sys.stdout.flush()
            if not as_json:
                note_counts(book, err=True)
            if strict:
                require_no_faults(book)
    except sqlite3.Error as error:
        raise Failure(
            f"The address book cannot be kept on disk: {error}.",
            hint="Make room, or name a directory that has some as TMPDIR.",
            exit_code=LOCAL_FILE,
        ) from None


def _own_number(session: Session) -> str | None:
    try:
        credentials = session.stored_credentials()
    except CredentialsBroken:  # the command needs none
        return None
    return None if credentials is None else credentials.phone_number


def _table(book: Book) -> None:
    rows = (
        (f"+{entry.number}", entry.name, entry.written, str(entry.line)) for entry in book.entries()
    )
    while block := list(itertools.islice(rows, TABLE_ROWS)):
        print_table(("NUMBER", "NAME", "WRITTEN", "LINE"), block)


def _document(book: Book) -> Iterator[str]:
    yield f'{{\n  "contacts": {book.contacts},\n  "numbers": ['
    yield from json_items(_json(_entries(book)))
    yield '],\n  "unreadable": ['
    yield from json_items(
        _json(
            {"line": fault.line, "name": fault.name, "reason": fault.reason}
            for fault in book.faults()
        )
    )
    yield "]\n}\n"


def _entries(book: Book) -> Iterator[dict[str, object]]:
    for entry in book.entries():
        yield {
            "phone_number": f"+{entry.number}",
            "name": entry.name,
            "written": entry.written,
            "line": entry.line,
        }


def _json(items: Iterable[dict[str, object]]) -> Iterator[str]:
    for item in items:
        yield json.dumps(item)
