"""`kith chat`: one conversation, live in the terminal."""

import sys
import threading
from collections.abc import Sequence

import click

from kith.commands.errors import NOT_SIGNED_IN, Failure, describe_error
from kith.commands.groups import find_group
from kith.commands.messages import MARKS, message_line, warn_about_own_devices
from kith.commands.messaging import Messaging, messaging, send_errors
from kith.commands.output import clean, note, note_lock_removal
from kith.commands.session import Session
from kith.errors import KithError, KithUnreachable
from kith.messaging.history import Entry
from kith.messaging.store_encryption import StoreBroken
from kith.messaging.stream import Stream, StreamEnded

HISTORY_LINES = 20
MAX_QUOTE_CHARACTERS = 40


@click.command()
@click.argument("name")
@click.option("--group", "with_group", is_flag=True, help="NAME is a group; see: kith groups")
@click.pass_obj
def chat(session: Session, name: str, with_group: bool) -> None:
    """Chat with NAME: enter a line to send it, end with Ctrl-D.

    A mark follows each line that you send: ✓ the server has it, ✓✓ one of their devices has it,
    "read" it was shown there. Messages of other people stay in kith inbox.

    \b
    Example:
      kith chat Ann
      kith chat --group Hiking
    """
    with messaging(session) as context:
        to = find_group(context.kith, name).id if with_group else context.account(name)
        _Chat(context, to, is_group=with_group).run()


class _Chat:
    def __init__(self, context: Messaging, to: str, *, is_group: bool) -> None:
        self._context = context
        self._to = to
        self._is_group = is_group
        self._printing = threading.Lock()
        self._ended = ""

    def run(self) -> None:
        messenger = self._context.messenger
        messenger.on_queued_result = self._note_result
        messenger.receive()
        before = messenger.history.newest(self._to, HISTORY_LINES)
        self._print(before)
        warn_about_own_devices(self._context)
        stream = Stream(
            self._context.kith,
            messenger,
            on_change=self._changed,
            on_lock_removal=note_lock_removal,
        )
        receiving = threading.Thread(target=self._receive, args=(stream,), daemon=True)
        receiving.start()
        try:
            for text in sys.stdin:
                if text.strip():
                    self._send(text.rstrip("\n"))
                if self._ended:
                    raise Failure(self._ended, exit_code=NOT_SIGNED_IN)
        finally:
            stream.stop()
            receiving.join(timeout=5)
            messenger.flush()

    def _send(self, text: str) -> None:
        try:
            with send_errors(self._context):
                entry = self._context.messenger.send(self._to, text, is_group=self._is_group)
        except KithUnreachable:
            self._say(f"{MARKS['waiting']} no answer; it is kept, and goes out later")
        except (KithError, Failure, click.UsageError) as error:
            failure = describe_error(error) if isinstance(error, KithError) else error
            failure.show()
        else:
            self._say(MARKS[entry.state])

    def _receive(self, stream: Stream) -> None:
        try:
            stream.run()
        except (StreamEnded, StoreBroken) as ended:
            self._ended = str(ended)
            note(self._ended)

    def _changed(self, entries: Sequence[Entry]) -> None:
        own = [entry for entry in entries if entry.conversation == self._to]
        for entry in own:
            if entry.outgoing and entry.state != "sent":
                self._mark(entry)
        self._print([entry for entry in own if not (entry.outgoing and entry.state != "sent")])

    def _note_result(self, entry: Entry) -> None:
        if entry.conversation == self._to:
            self._mark(entry)

    def _mark(self, entry: Entry) -> None:
        quote = clean(entry.text or "")[:MAX_QUOTE_CHARACTERS]
        self._say(f"{MARKS[entry.state]} {quote}")

    def _print(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            mark = f" {MARKS[entry.state]}" if entry.outgoing else ""
            self._say(message_line(self._context, entry) + mark)
        self._context.messenger.mark_shown(
            [entry for entry in entries if entry.unread], send_receipts=True
        )

    def _say(self, text: str) -> None:
        with self._printing:
            click.echo(text)
            sys.stdout.flush()
