"""Own what a person at a terminal sees while a book is matched: how much of it, how fast, how long.

Refuse to write anything where stderr is no terminal.
"""

import os
import stat
from collections.abc import Callable
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Rate(ProgressColumn):
    """How many there were and how many come in a second."""

    def render(self, task: Task) -> Text:
        """Return both as text."""
        count = int(task.fields["count"])
        return Text(f"{count:,} {task.fields['unit']}, {count / (task.elapsed or 1):,.0f}/s")


class SyncProgress(Progress):
    """Two bars on stderr: the reading of the book and the asking."""

    def __init__(self, *, quiet: bool) -> None:
        """Show nothing yet."""
        console = Console(stderr=True)
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._reading = self.add_task("Reading", total=None, count=0, unit="contacts")
        self._asking = self.add_task("Asking", visible=False, start=False, count=0, unit="numbers")

    def reading(self, stream: BinaryIO) -> Callable[[int], None]:
        """Return what shows how many contacts were read, and how much of a file; of a pipe nobody
        knows.
        """
        size = _size(stream)

        def show(contacts: int) -> None:
            self.update(self._reading, count=contacts)
            if size is not None:
                self.update(self._reading, total=size, completed=stream.tell())

        return show

    def asking(self, asked: int, total: int) -> None:
        """Show how many numbers have been asked about, of how many."""
        if asked == 0:
            self.stop_task(self._reading)
            self.start_task(self._asking)
        self.update(self._asking, visible=True, total=total, completed=asked, count=asked)


def _size(stream: BinaryIO) -> int | None:
    try:
        state = os.fstat(stream.fileno())
    except OSError:  # not of this system, such as the stdin of a test
        return None
    return state.st_size if stat.S_ISREG(state.st_mode) else None
