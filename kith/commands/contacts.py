"""Own `kith sync`: read an address book, ask the server, show who is here."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from kith.client import Kith
from kith.commands.failures import LOCAL_FILE, Failure
from kith.commands.output import note, print_json, print_table
from kith.commands.session import Session
from kith.contacts import Fault, read_contacts, region_of
from kith.contacts.numbers import is_region
from kith.sync import Book, Match, gather, match


def _region(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_region(value.upper()):
        raise click.BadParameter("not a country, such as DE or US")
    return None if value is None else value.upper()


@click.command()
@click.argument("file")
@click.option(
    "--region",
    metavar="CC",
    callback=_region,
    help="Country of numbers without country code; otherwise that of your own number.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def sync(session: Session, file: str, region: str | None, as_json: bool) -> None:
    """Show which of the contacts in FILE are here.

    FILE is a vCard (2.1, 3.0, 4.0) or CSV export of a phone, Google, Outlook or Apple; "-" reads
    stdin. Only hashes of the numbers leave this machine. What cannot be read is named on stderr and
    costs nothing else.

    \b
    Example:
      kith sync contacts.vcf
      kith sync - --region DE --json < contacts.csv
    """
    kith, _ = session.signed_in()
    with kith:
        own_number = kith.account().phone_number
        book, faults = _read(file, region or region_of(own_number), own_number)
        matches = _match(kith, book)
    if as_json:
        print_json(
            {
                "contacts": book.contacts,
                "numbers": book.numbers,
                "unreadable": faults,
                "here": len(matches),
                "matches": matches,
            }
        )
        return
    if matches:
        print_table(
            ("NAME", "NUMBER", "ACCOUNT"),
            [(found.name, found.written, found.account_id) for found in matches],
        )
    click.echo(
        f"{book.contacts} contacts, {book.numbers} numbers, {len(faults)} unreadable, "
        f"{len(matches)} here"
    )


def _read(file: str, region: str | None, own_number: str) -> tuple[Book, list[Fault]]:
    place = "<stdin>" if file == "-" else file
    faults: list[Fault] = []

    def report(fault: Fault) -> None:
        note(f"{place}:{fault.line}: {fault.reason}")
        faults.append(fault)

    try:
        with _opened(file) as stream:
            contacts = read_contacts(stream, file)
            book = gather(contacts, region=region, own_number=own_number, on_fault=report)
    except OSError as error:
        raise Failure(
            f"{place} cannot be read: {error.strerror}.",
            hint="Give the path of a vCard or CSV file, or - for stdin.",
            exit_code=LOCAL_FILE,
        ) from None
    return book, faults


@contextlib.contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as stream:
        yield stream


def _match(kith: Kith, book: Book) -> list[Match]:
    console = Console(stderr=True)
    with Progress(
        TextColumn("Asking"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("Asking", total=book.distinct)
        return match(kith, book, on_progress=lambda asked: progress.update(task, completed=asked))
