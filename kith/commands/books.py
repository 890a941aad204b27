"""What the commands that read an address book share: its options, its faults, what was read of it."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, get_args

import click

from kith.commands.failures import LOCAL_FILE, UNREADABLE_INPUT, Failure
from kith.commands.output import clean, counted
from kith.contacts import Fault, Format, region_named
from kith.sync import Book


def as_region(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return the country that a person named; raise click.BadParameter."""
    region = None if value is None else region_named(value)
    if value is not None and region is None:
        raise click.BadParameter("not a country, such as DE or US")
    return region


region_option = click.option(
    "--region",
    metavar="CC",
    callback=as_region,
    help="Country of numbers without country code; otherwise that of your own number.",
)
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Format)),
    help="How FILE is written; otherwise its content tells.",
)
strict_option = click.option(
    "--strict",
    is_flag=True,
    help="End with 9 when something could not be read, or no number was found.",
)


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """Open a file, "-" for stdin; raise Failure."""
    try:
        if file == "-":
            yield sys.stdin.buffer
            return
        with Path(file).open("rb") as stream:
            yield stream
    except OSError as error:
        raise Failure(
            f"{place_of(file)} cannot be read: {error.strerror}.",
            hint="Give the path of a vCard, CSV or other address book, or - for stdin.",
            exit_code=LOCAL_FILE,
        ) from None


def write_rejects(path: Path, lines: Iterable[str]) -> None:
    """Write what could not be read, for the owner's eyes; raise Failure."""
    try:
        # For the owner only: what could not be read may still be somebody's number.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            output.writelines(f"{clean(line)}\n" for line in lines)
    except OSError as error:
        raise Failure(
            f"{path} cannot be written: {error.strerror}.", exit_code=LOCAL_FILE
        ) from None


def line_of(file: str, fault: Fault) -> str:
    """Return a fault as file, line, whose it is, and why."""
    whose = f"{fault.name}: " if fault.name else ""
    return f"{place_of(file)}:{fault.line}: {whose}{fault.reason}"


def place_of(file: str) -> str:
    """Return a file as messages call it."""
    return "<stdin>" if file == "-" else file


def no_numbers(book: Book) -> str:
    """Return what to say of a book with contacts and no number, "" of any other."""
    if book.numbers or not book.contacts:
        return ""
    return (
        f"no phone number was found in {counted(book.contacts, 'contact')}; "
        "is this the right file, and was it exported with phone numbers?"
    )


def note_read(book: Book, more: str = "", *, err: bool) -> None:
    """Say how much was read."""
    click.echo(
        f"{counted(book.contacts, 'contact')}, {counted(book.numbers, 'number')}, "
        f"{book.unreadable} unreadable{more}",
        err=err,
    )


def refuse_faults(book: Book) -> None:
    """Raise Failure when something of a book could not be read, or nothing of it could be used."""
    if book.unreadable:
        things = "line or number" if book.unreadable == 1 else "lines or numbers"
        raise Failure(f"{book.unreadable} {things} could not be read.", exit_code=UNREADABLE_INPUT)
    if no_numbers(book):
        raise Failure("No phone number was found.", exit_code=UNREADABLE_INPUT)
