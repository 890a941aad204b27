"""`kith sync`: match an address book and show the contacts who have an account."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from kith.client import Kith
from kith.commands.address_book import (
    NewMatches,
    Output,
    disk_errors,
    fault_line,
    format_option,
    note_counts,
    print_matches,
    read_book,
    region_option,
    require_no_faults,
    strict_option,
    write_rejects,
)
from kith.commands.errors import BUDGET_USED_UP, LATER, LOCAL_FILE, NOT_SIGNED_IN, Failure, duration
from kith.commands.message_store import save_names
from kith.commands.output import SyncProgress, note, plural
from kith.commands.session import Session
from kith.contacts import Format
from kith.problems import (
    ScopeMissing,
    ServiceTokenExpired,
    ServiceTokenInvalid,
    TokenInvalid,
    TokenReused,
)
from kith.storage import Credentials, default_state_directory
from kith.sync import Book, Outcome, State, StateBroken, StateInUse, synchronise

DAY_SECONDS = 86_400
MAX_WAIT_SECONDS = 3600.0  # for another sync, as one of a million numbers takes minutes
SERVICE_REFUSED = (ServiceTokenInvalid, ServiceTokenExpired, ScopeMissing)


@dataclass(frozen=True)
class LookupOwner:
    """The budget's owner: `own_number` is None for a service, `identity` names the state file.

    former_identity: named the state files of versions with one for each book.
    """

    client: Kith
    own_number: str | None
    identity: str
    former_identity: str
    credentials: Credentials | None = None


@click.command()
@click.argument("file")
@region_option
@format_option
@click.option(
    "--output",
    type=click.Choice(["table", "json", "jsonl", "csv"]),
    default="table",
    help="Format of the matches.",
)
@click.option("--json", "as_json", is_flag=True, help="Same as --output json.")
@click.option(
    "--watch-new", is_flag=True, help="Print only matches that no earlier run has printed."
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what could not be read into this file instead of to stderr.",
)
@strict_option
@click.option(
    "--state",
    "state_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep what was paid for in this file; by default the account's in ~/.local/state/kith.",
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
    """Show which of the contacts in FILE have an account.

    FILE is an address book as phones and programs export it: vCard, CSV, LDIF, JSON, XML, an export
    of Telegram or WhatsApp, compressed or not; "-" reads stdin. Only hashes of the numbers leave
    this machine. What cannot be read is reported on stderr. Only numbers that this account has not
    looked up before cost budget, under any name of the file.

    \b
    Example:
      kith sync contacts.vcf
      kith sync - --region DE --output jsonl < contacts.csv
      kith sync contacts.csv --watch-new --quiet
    """
    with ExitStack() as stack:
        stack.enter_context(disk_errors())
        stack.enter_context(_sync_errors(given=session.has_token))
        owner = _lookup_owner(session)
        stack.enter_context(owner.client)
        book = stack.enter_context(Book())
        with SyncProgress(quiet=quiet) as progress:
            silent = quiet or rejects is not None
            read_book(
                book,
                file,
                form,
                region=region,
                own_number=owner.own_number,
                on_fault=None if silent else lambda fault: note(fault_line(file, fault)),
                progress=progress.reading,
            )
            if rejects:
                write_rejects(rejects, (fault_line(file, fault) for fault in book.faults()))
            # Opened late, because other runs wait until it is closed.
            state = stack.enter_context(_state(session, owner, file, state_path))
            outcome = synchronise(owner.client, book, state, on_progress=progress.asking)
        shown = NewMatches(book, state, only_new=watch_new)
        print_matches("json" if as_json else output, shown, book, outcome)
        # Only after the output: after a broken pipe the matches are new to the next run. An empty
        # file is mostly a failed export, and must not make all matches new.
        state.mark_shown(book.account_ids(), everybody=outcome.complete and book.numbers > 0)
        if owner.credentials is not None:
            save_names(session, owner.credentials, book)
        if not quiet and not as_json and output != "json":
            new = f", {shown.new} new" if watch_new else ""
            note_counts(book, f", {shown.here} here{new}", err=output != "table")
    if not outcome.complete:
        raise _budget_used_up(outcome)
    if strict:
        require_no_faults(book)


def _lookup_owner(session: Session) -> LookupOwner:
    given = session.token_client()
    if given is not None:
        client, server = given
        try:
            # An older server sends no owner; then the token stands for it.
            owner = client.discovery_parameters().budget_owner or _digest(client.device_token or "")
        except BaseException:
            client.close()
            raise
        return LookupOwner(client, None, f"{server} {owner}", server)
    client, credentials = session.signed_in()
    account = client.account()
    identity = f"{credentials.server} {account.account_id}"
    return LookupOwner(client, account.phone_number, identity, identity, credentials)


def _state(session: Session, owner: LookupOwner, file: str, given: Path | None) -> State:
    """Open the owner's state, waiting for another run; raise StateInUse or StateBroken."""
    directory = default_state_directory()
    place = file if file == "-" else str(Path(file).resolve())
    state = State(
        given or directory / f"sync-{_digest(owner.identity)}.db",
        # With --state the file belongs to one book, whatever its path.
        "" if given else _digest(place),
        wait=MAX_WAIT_SECONDS,
        sleep=session.dependencies.sleep,
        on_wait=lambda: note("Another sync of this account is at work; waiting for it to end."),
    )
    former_name = _digest(f"{owner.former_identity}\0{place}")
    former = directory / f"sync-{former_name}.db"
    if given is None and former.exists():
        try:
            state.import_file(former)
        except BaseException:
            state.close()
            raise
    return state


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


@contextmanager
def _sync_errors(*, given: bool) -> Iterator[None]:
    try:
        yield
    except (TokenInvalid, TokenReused, *SERVICE_REFUSED) as error:
        if not given:
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


def _budget_used_up(outcome: Outcome) -> Failure:
    hints = ["What was done is kept; the next run continues."]
    if outcome.retry_after and outcome.retry_after < DAY_SECONDS:
        hints.append(f"Try again in {duration(outcome.retry_after)}.")
    if outcome.budget is not None and outcome.budget.refill_per_day > 0:
        refill = outcome.budget.refill_per_day
        if outcome.waiting <= refill:
            hints.append(f"{refill} are refilled each day, so the rest can be looked up tomorrow.")
        else:
            last = duration(-(-outcome.waiting * DAY_SECONDS // refill))
            hints.append(
                f"{refill} are refilled each day: {refill} more tomorrow, the last in {last}."
            )
    were = "was" if outcome.waiting == 1 else "were"
    return Failure(
        f"The budget is used up: {plural(outcome.waiting, 'number')} {were} not looked up.",
        hint=" ".join(hints),
        exit_code=BUDGET_USED_UP,
    )
