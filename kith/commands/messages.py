"""`kith send`, `inbox`, `accept`, `block` and `unblock`, and how a message looks in a terminal."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from kith.client import Kith
from kith.commands.errors import REFUSED, Failure
from kith.commands.groups import find_group
from kith.commands.messaging import Messaging, messaging
from kith.commands.output import clean, local_time, note, print_json
from kith.commands.session import Session
from kith.errors import KithError, KithProblem, KithUnreachable
from kith.messaging.history import Entry

MAX_POLL_SECONDS = 60
RETRY_SECONDS = 2.0
UNAVAILABLE = frozenset({502, 503, 504})
MARKS = {"waiting": "…", "failed": "✗", "sent": "✓", "delivered": "✓✓", "read": "✓✓ read"}


@click.command()
@click.argument("name")
@click.argument("text", nargs=-1, required=True)
@click.option("--group", "to_group", is_flag=True, help="NAME is a group; see: kith groups")
@click.option(
    "--accept-new-keys", is_flag=True, help="Send even if there are keys you have not accepted."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def send(
    session: Session,
    name: str,
    text: tuple[str, ...],
    to_group: bool,
    accept_new_keys: bool,
    as_json: bool,
) -> None:
    """Send TEXT to NAME, encrypted for each of their devices.

    NAME is a contact whom kith sync has found, a phone number, an account id, or "me" for your own
    other devices. TEXT "-" reads stdin. Without an answer from the server the text is kept and sent
    with the next command about messages: do not send it again.

    \b
    Example:
      kith send Ann "See you at eight"
      kith send --group Hiking "It rains"
    """
    with messaging(session) as context:
        to = find_group(context.kith, name).id if to_group else context.account(name)
        body = sys.stdin.read().rstrip("\n") if text == ("-",) else " ".join(text)
        try:
            entry = context.messenger.send(
                to, body, is_group=to_group, accept_new_keys=accept_new_keys
            )
        except KithError as error:
            if not isinstance(error, KithProblem) or error.status >= 500:
                note("The text is kept, and goes out with the next command about messages.")
            raise
        warn_about_own_devices(context)
        if as_json:
            print_json(message_json(context, entry))
        else:
            note(f"{MARKS[entry.state]} {entry.state}")


@click.command()
@click.option(
    "--wait",
    type=click.IntRange(0),
    default=0,
    metavar="SECONDS",
    help="How long to wait for a message when there is none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def inbox(session: Session, wait: int, as_json: bool) -> None:
    """Print new messages, and tell their senders that they arrived.

    Messages from people you have not accepted are marked as requests, and their senders learn
    nothing. Answer them, or: kith accept NAME, kith block NAME.

    \b
    Example:
      kith inbox
      kith inbox --wait 300 --json
    """
    with messaging(session) as context:
        _receive(context, wait, session.dependencies.sleep)
        gap = context.messenger.gap()
        if gap is not None:
            since = local_time(datetime.fromtimestamp(gap.since / 1_000, UTC))
            note(
                f"Messages since {since} did not reach this device: it was away for long, or its"
                " mailbox was full. Look at your other devices, or ask for them again."
            )
            context.messenger.mark_gap_shown(gap)
        unread = context.messenger.history.unread()
        if as_json:
            print_json([message_json(context, entry) for entry in unread])
        else:
            for entry in unread:
                click.echo(message_line(context, entry))
            if not unread:
                note("No new messages.")
        sys.stdout.flush()
        # Only after the flush: after a broken pipe the messages are printed again.
        context.messenger.mark_shown(unread)


def message_line(context: Messaging, entry: Entry) -> str:
    """Return a message as one line."""
    when = local_time(_sent_at(entry))
    who = context.label(entry.from_account_id)
    where = "" if entry.group_id is None else f" in {clean(context.group_label(entry.group_id))}"
    flags = [
        word for word, holds in (("request", entry.request), ("new keys", entry.new_keys)) if holds
    ]
    marks = f" ({', '.join(flags)})" if flags else ""
    text = "[cannot be read; ask for it again]" if entry.text is None else entry.text
    return f"{when}  {clean(who)}{where}{marks}: {clean(text)}"


def message_json(context: Messaging, entry: Entry) -> dict[str, Any]:
    """Return a message for `--json`."""
    return {
        "id": entry.id,
        "from_account_id": entry.from_account_id,
        "from_name": context.label(entry.from_account_id),
        "with_account_id": entry.with_account,
        "group_id": entry.group_id,
        "text": entry.text,
        "sent_at": _sent_at(entry),
        "state": entry.state if entry.outgoing else None,
        "request": entry.request,
        "new_keys": entry.new_keys,
    }


def warn_about_own_devices(context: Messaging) -> None:
    """Warn when the account has devices that get no copies."""
    account_id = context.credentials.account_id
    if context.messenger.accounts.get(account_id).unaccepted:
        note(
            "Your account has a device that this one does not know; it gets no copies. "
            "See kith devices; if it is yours: kith keys accept me"
        )


def _receive(context: Messaging, wait: int, sleep: Callable[[float], None]) -> None:
    """Wait for a message; keep waiting while the server is away, until the time is over."""
    until = time.monotonic() + wait
    while True:
        left = max(0, min(MAX_POLL_SECONDS, round(until - time.monotonic())))
        try:
            context.messenger.receive(left)
        except (KithUnreachable, KithProblem) as error:
            for_good = isinstance(error, KithProblem) and error.status not in UNAVAILABLE
            if for_good or time.monotonic() >= until:
                raise
            sleep(min(RETRY_SECONDS, max(0.0, until - time.monotonic())))
            continue
        if context.messenger.history.unread() or time.monotonic() >= until:
            return


def _sent_at(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.sent_at / 1_000, UTC)


@click.command()
@click.argument("name")
@click.pass_obj
def accept(session: Session, name: str) -> None:
    """Accept NAME: their messages are no requests any more.

    \b
    Example:
      kith accept Ann
    """
    _set_contact(session, name, Kith.accept, "You are in touch with {}.")


@click.command()
@click.argument("name")
@click.pass_obj
def block(session: Session, name: str) -> None:
    """Drop NAME's messages from now on; they do not learn it.

    \b
    Example:
      kith block Eve
    """
    _set_contact(session, name, Kith.block, "{} is blocked.")


@click.command()
@click.argument("name")
@click.pass_obj
def unblock(session: Session, name: str) -> None:
    """Let NAME write again, as somebody you have not accepted.

    \b
    Example:
      kith unblock Eve
    """
    _set_contact(session, name, Kith.forget, "{} can write to you again.")


def _set_contact(
    session: Session, name: str, decide: Callable[[Kith, str], None], said: str
) -> None:
    with messaging(session) as context:
        account_id = context.account(name)
        if account_id == context.credentials.account_id:
            raise Failure("That is your own account.", exit_code=REFUSED)
        decide(context.kith, account_id)
        click.echo(said.format(clean(context.label(account_id))))
