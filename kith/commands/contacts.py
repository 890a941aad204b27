"""Own `kith sync`: read an address book, ask the server, show who is here."""

import hashlib
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from kith.client import Kith
from kith.commands.failures import (
    BUDGET_USED_UP,
    LATER,
    LOCAL_FILE,
    NOT_SIGNED_IN,
    UNREADABLE_INPUT,
    Failure,
    duration,
)
from kith.commands.matches import Output, Shown, print_matches
from kith.commands.messaging import open_store
from kith.commands.output import clean, note
from kith.commands.progress import SyncProgress
from kith.commands.session import Session
from kith.contacts import Fault, Format, read_contacts, region_named, region_of
from kith.credentials import Credentials, default_state_directory
from kith.messaging.addresses import Addresses
from kith.messaging.vault import StoreBroken, StoreLocked
from kith.problems import (
    ScopeMissing,
    ServiceTokenExpired,
    ServiceTokenInvalid,
    TokenInvalid,
    TokenReused,
)
from kith.sync import Book, Outcome, State, StateBroken, StateInUse, gather, synchronise

DAY = 86_400
SERVICE_REFUSED = (ServiceTokenInvalid, ServiceTokenExpired, ScopeMissing)


@dataclass(frozen=True)
class Asker:
    """Who asks: `own_number` is None for a service, and `identity` names both apart."""

    client: Kith
    own_number: str | None
    identity: str
    credentials: Credentials | None = None


def _region(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    region = None if value is None else region_named(value)
    if value is not None and region is None:
        raise click.BadParameter("not a country, such as DE or US")
    return region


@click.command()
@click.argument("file")
@click.option(
    "--region",
    metavar="CC",
    callback=_region,
    help="Country of numbers without country code; otherwise that of your own number.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["vcard", "csv", "jsonl"]),
    help="How FILE is written; otherwise its content tells.",
)
@click.option(
    "--output",
    type=click.Choice(["table", "json", "jsonl", "csv"]),
    default="table",
    help="How matches are printed; a table otherwise.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --output json.")
@click.option("--watch-new", is_flag=True, help="Print only people that no earlier run has shown.")
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what could not be read into this file, instead of to stderr.",
)
@click.option("--strict", is_flag=True, help="End with 9 when something could not be read.")
@click.option(
    "--state",
    "state_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep what was paid for in this file; otherwise in one below ~/.local/state/kith.",
)
@click.option("--quiet", is_flag=True, help="Print matches and failures only.")
@click.pass_obj
def sync(
    session: Session,
    file: str,
    region: str | None,
    form: Format | None,
    output: Output,
    as_json: bool,
    watch_new: bool,
    rejects: Path | None,
    strict: bool,
    state_path: Path | None,
    quiet: bool,
) -> None:
    """Show which of the contacts in FILE are here.

    FILE is a vCard (2.1, 3.0, 4.0), a CSV export of a phone, Google, Outlook or Apple, or JSON
    lines; "-" reads stdin. Only hashes of the numbers leave this machine. What cannot be read is
    named on stderr and costs nothing else. Run it again whenever you like: only numbers that are
    new since then cost anything.

    \b
    Example:
      kith sync contacts.vcf
      kith sync - --region DE --output jsonl < contacts.csv
      kith sync contacts.csv --watch-new --quiet
    """
    asker = _asker(session)
    with asker.client, _explained(asker), ExitStack() as stack:
        state = stack.enter_context(State(state_path or _state_path(asker, file)))
        book = stack.enter_context(Book())
        with SyncProgress(quiet=quiet) as progress:
            with _opened(file) as stream:
                gather(
                    read_contacts(stream, file, form=form),
                    book,
                    region=region or region_of(asker.own_number or ""),
                    own_number=asker.own_number,
                    on_fault=None if quiet or rejects else lambda fault: note(_line(file, fault)),
                    on_progress=progress.reading(stream),
                )
            if rejects:
                _write_rejects(rejects, (_line(file, fault) for fault in book.faults()))
            outcome = synchronise(asker.client, book, state, on_progress=progress.asking)
        shown = Shown(book, state, only_new=watch_new)
        print_matches("json" if as_json else output, shown, book, outcome)
        # Only now: people whom a broken pipe has swallowed are new to the next run. An empty file
        # is more often a failed export than a lonely person, and makes nobody new.
        state.show(book.account_ids(), everybody=outcome.complete and book.numbers > 0)
        if asker.credentials is not None:
            _keep_names(session, asker.credentials, book)
        if not quiet and not as_json and output != "json":
            new = f", {shown.new} new" if watch_new else ""
            click.echo(
                f"{book.contacts} contacts, {book.numbers} numbers, {book.unreadable} unreadable, "
                f"{shown.here} here{new}",
                err=output != "table",
            )
    if not outcome.complete:
        raise _budget_used_up(outcome)
    if strict and book.unreadable:
        raise Failure(
            f"{book.unreadable} lines or numbers could not be read.", exit_code=UNREADABLE_INPUT
        )


def _keep_names(session: Session, credentials: Credentials, book: Book) -> None:
    """Let `kith send` know people by the names of this book, without asking for a passphrase."""
    try:
        with open_store(session.file, credentials, ask=False) as store:
            Addresses(store).note(book.matches())
    except (StoreLocked, StoreBroken) as error:
        note(f"kith send will not know these names: {error}")


def _asker(session: Session) -> Asker:
    given = session.bearer()
    if given is not None:
        client, server = given
        return Asker(client, None, server)
    client, credentials = session.signed_in()
    account = client.account()
    identity = f"{credentials.server} {account.account_id}"
    return Asker(client, account.phone_number, identity, credentials)


def _state_path(asker: Asker, file: str) -> Path:
    """Return the state file of this asker and this book, below the XDG state directory."""
    place = file if file == "-" else str(Path(file).resolve())
    name = hashlib.sha256(f"{asker.identity}\0{place}".encode("utf-8", "surrogateescape"))
    return default_state_directory() / f"sync-{name.hexdigest()[:32]}.db"


@contextmanager
def _explained(asker: Asker) -> Iterator[None]:
    try:
        yield
    except (TokenInvalid, TokenReused, *SERVICE_REFUSED) as error:
        if asker.own_number is not None:
            raise
        raise Failure(
            error.detail or error.title,
            hint="It was given by --token-file or KITH_TOKEN; its operator can issue another.",
            exit_code=NOT_SIGNED_IN,
        ) from None
    except StateInUse as error:
        raise Failure(str(error), hint="Wait until it ends.", exit_code=LATER) from None
    except StateBroken as error:
        raise Failure(str(error), exit_code=LOCAL_FILE) from None
    except sqlite3.Error as error:
        raise Failure(
            f"The address book cannot be sorted on disk: {error}.",
            hint="Make room, or name a directory that has some as TMPDIR.",
            exit_code=LOCAL_FILE,
        ) from None


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    try:
        if file == "-":
            yield sys.stdin.buffer
            return
        with Path(file).open("rb") as stream:
            yield stream
    except OSError as error:
        raise Failure(
            f"{_place(file)} cannot be read: {error.strerror}.",
            hint="Give the path of a vCard, CSV or JSON lines file, or - for stdin.",
            exit_code=LOCAL_FILE,
        ) from None


def _write_rejects(path: Path, lines: Iterable[str]) -> None:
    try:
        # For the owner only: what could not be read may still be somebody's number.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            output.writelines(f"{clean(line)}\n" for line in lines)
    except OSError as error:
        raise Failure(
            f"{path} cannot be written: {error.strerror}.", exit_code=LOCAL_FILE
        ) from None


def _line(file: str, fault: Fault) -> str:
    whose = f"{fault.name}: " if fault.name else ""
    return f"{_place(file)}:{fault.line}: {whose}{fault.reason}"


def _place(file: str) -> str:
    return "<stdin>" if file == "-" else file


def _budget_used_up(outcome: Outcome) -> Failure:
    hints = ["What was done is kept; the next run goes on from here."]
    if outcome.retry_after:
        hints.append(f"Come back in {duration(outcome.retry_after)}.")
    if outcome.budget is not None and outcome.budget.refill_per_day > 0:
        refill = outcome.budget.refill_per_day
        whole = duration(-(-outcome.waiting * DAY // refill))
        hints.append(f"{refill} a day come back, so the last number is due in {whole}.")
    return Failure(
        f"The budget is used up: {outcome.waiting} numbers were not asked about.",
        hint=" ".join(hints),
        exit_code=BUDGET_USED_UP,
    )
