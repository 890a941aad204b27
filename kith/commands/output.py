"""Output of the commands: data goes to stdout; notes, questions and progress go to stderr.

Control characters in a contact's name or a server's text are replaced, so that they cannot steer the
terminal.
"""

import getpass
import itertools
import json
import os
import stat
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import BinaryIO, TextIO

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

TABLE_ROWS = 1_000  # of a block of a long table
_WIDE_ENOUGH = 10_000  # so that a piped table is not folded
_JOINERS = "\u200c\u200d"  # used in names and emoji


class _PipeConsole(Console):
    """A console that raises when the reader of the output is gone."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError."""
        raise BrokenPipeError


def clean(text: str) -> str:
    """Return `text` on one line, with control and direction characters replaced by "\ufffd"."""
    return "".join(
        character if character.isprintable() or character in _JOINERS else "\ufffd"
        for character in " ".join(text.split())
    )


def note(text: str) -> None:
    """Write one line to stderr."""
    click.echo(clean(text), err=True)


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show on stderr what takes a while, with a spinner on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        note(text)
        yield
        return
    with console.status(Text(clean(text))):
        yield


def ask_secret(question: str, *, again: str | None = None, empty: bool = False) -> str:
    """Return what the person enters without echo, asked for twice with `again`.

    empty: allow an empty answer. Without a terminal the answer is read from stdin.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", getpass.GetPassWarning)
        return str(
            click.prompt(
                question,
                default="" if empty else None,
                show_default=False,
                hide_input=True,
                confirmation_prompt=again or False,
                err=True,
            )
        )


def plural(count: int, thing: str) -> str:
    """Return a count and a noun, such as "1 contact" and "2 contacts"."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def json_items(items: Iterable[object]) -> Iterator[str]:
    """Yield the items of a JSON array, each on its own line."""
    between = "\n    "
    for item in items:
        yield between + json.dumps(item)
        between = ",\n    "


#: A file, because other people on the machine could see a PIN on the command line.
pin_file_option = click.option(
    "--pin-file",
    type=click.File(),
    help="Read the PIN from a file, - is stdin; asked for by default.",
)


def read_pin(file: TextIO | None) -> str | None:
    """Return the first line of a PIN file; None without a file, or when it is empty."""
    return None if file is None else file.readline().rstrip("\r\n") or None


def note_lock_removal(ends_at: datetime | None) -> None:
    """Print that the PIN of the account will be removed, or that it stays."""
    if ends_at is None:
        note("The PIN of your account stays.")
    else:
        note(
            f"Somebody asked to remove the PIN of your account: it ends on {local_time(ends_at)}. "
            "If that was not you: kith lock keep, and kith devices"
        )


def print_json(value: object) -> None:
    """Write `value` (structs and times included) as JSON to stdout, in ASCII."""
    plain = msgspec.to_builtins(value, builtin_types=(datetime,))
    click.echo(json.dumps(plain, indent=2, default=datetime.isoformat))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table to stdout; the last column has ids and is never folded."""
    console = _PipeConsole(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = _WIDE_ENOUGH
    table = Table(box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        is_id = index == len(headings) - 1
        table.add_column(heading, no_wrap=is_id, overflow="ignore" if is_id else "fold")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console.print(table)


def print_long_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table of any length to stdout, in blocks that are each as wide as needed."""
    remaining = iter(rows)
    while block := list(itertools.islice(remaining, TABLE_ROWS)):
        print_table(headings, block)


def local_time(moment: datetime | None) -> str:
    """Return a time in the local time zone, to the minute."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M")


class _RateColumn(ProgressColumn):
    """A count and its rate per second."""

    def render(self, task: Task) -> Text:
        """Return the text of the column."""
        count = int(task.fields["count"])
        return Text(f"{count:,} {task.fields['unit']}, {count / (task.elapsed or 1):,.0f}/s")


class SyncProgress(Progress):
    """Two bars on stderr, for reading the book and for the lookups; only on a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        """Create the bars."""
        console = Console(stderr=True)
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            _RateColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._reading = self.add_task("Reading", total=None, count=0, unit="contacts")
        self._asking = self.add_task("Asking", visible=False, start=False, count=0, unit="numbers")

    def reading(self, stream: BinaryIO) -> Callable[[int], None]:
        """Return a callback for the number of contacts read; a file also shows its progress."""
        size = _size(stream)

        def show(contacts: int) -> None:
            self.update(self._reading, count=contacts)
            if size is not None:
                self.update(self._reading, total=size, completed=stream.tell())

        return show

    def asking(self, asked: int, total: int) -> None:
        """Show how many numbers were looked up, and of how many."""
        if asked == 0:
            self.stop_task(self._reading)
            self.start_task(self._asking)
        self.update(self._asking, visible=True, total=total, completed=asked, count=asked)


def _size(stream: BinaryIO) -> int | None:
    try:
        state = os.fstat(stream.fileno())
    except OSError:  # no real file, such as the stdin of a test
        return None
    return state.st_size if stat.S_ISREG(state.st_mode) else None
