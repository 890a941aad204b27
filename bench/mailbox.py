"""`python -m gevent.monkey --module bench.mailbox`: what the mailbox carries without sockets.

In pairs one device sends to the other, which acknowledges what it hears of; each sender has so many messages
under way and hands in the next when one is answered. With gevent's patches, as in the server, commits wait in
its threads; without them (`python -m bench.mailbox`) everything is threads. The processor's time is the whole
process's.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import click
from rich.console import Console
from rich.table import Table

from app import Kith, Ports
from bench import databases
from core.problems import Problem
from messaging.mailbox.service import MessageService
from messaging.message_types import AcceptedMessage, Delivery, DeviceEnvelope, MessageSubmission
from messaging.notifications.listeners import LongPoll
from messaging.settings import MAX_RATE
from settings import Settings
from tokens.devices import Caller
from tokens.schemas import DeviceDescription

#: One pair exchanges more messages than people do.
UNLIMITED = (
    "messages_per_minute",
    "messages_to_recipient_per_minute",
    "messages_to_new_recipient_per_day",
    "new_recipients_per_day",
)
UNDER_WAY = (1, 4, 32)
PAGE = 256


class Sender:
    """Sends so many messages of 200 bytes to a device, some of them at the same time."""

    def __init__(
        self,
        messages: MessageService,
        me: Caller,
        to: Caller,
        number: int,
        finished: Callable[[], None],
    ) -> None:
        self._messages = messages
        self._outgoing = MessageSubmission(
            me.account_id,
            me.device_id,
            "",
            to.account_id,
            [DeviceEnvelope(to.device_id, os.urandom(200))],
            urgent=True,
            expires_in=86_400,
        )
        self._left = self._unanswered = number
        self._finished = finished

    def send(self) -> None:
        """Hand in one more, if there is one."""
        if self._left:
            self._left -= 1
            self._messages.submit(
                replace(self._outgoing, client_id=f"{self._left}"), self._answered
            )

    def _answered(self, answer: AcceptedMessage | Problem) -> None:
        if isinstance(answer, Problem):
            raise answer
        self._unanswered -= 1
        if not self._unanswered:
            self._finished()
        self.send()


class Recipient(LongPoll):
    """Acknowledges what it hears of."""

    def __init__(
        self, messages: MessageService, me: Caller, number: int, finished: Callable[[], None]
    ) -> None:
        super().__init__()
        self._messages = messages
        self._me = me
        self._number = number
        self._finished = finished

    def on_stored(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge."""
        through = deliveries[-1].seq

        def acknowledged(problem: Problem | None) -> None:
            if problem is not None:
                raise problem
            if through == self._number:
                self._finished()

        self._messages.submit_acknowledgement(self._me.device_id, through, acknowledged)


class Countdown:
    """Waits until so many have finished."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._lock = threading.Lock()
        self._over = threading.Event()

    def count(self) -> None:
        """Count one that finished."""
        with self._lock:
            self._left -= 1
            if not self._left:
                self._over.set()

    def wait(self) -> None:
        """Wait for the last."""
        if not self._over.wait(60):
            raise RuntimeError("Something was never answered.")


def _device(kith: Kith) -> Caller:
    account_id, device_id = uuid4(), uuid4()
    with kith.runtime.database.write() as connection:
        kith.tokens.devices.add(
            connection, account_id, device_id, DeviceDescription(), os.urandom(32)
        )
    return Caller(account_id, device_id, b"")


def _converse(kith: Kith, pairs: int, under_way: int, number: int) -> list[str]:
    """Have pairs send and acknowledge; give what it took."""
    each = number // pairs
    countdown = Countdown(2 * pairs)
    senders, listening = [], ExitStack()
    for _ in range(pairs):
        me, to = _device(kith), _device(kith)
        senders.append(Sender(kith.messaging.messages, me, to, each, countdown.count))
        recipient = Recipient(kith.messaging.messages, to, each, countdown.count)
        listening.enter_context(kith.messaging.messages.registry.register(to.device_id, recipient))
    batches = _transactions(kith)
    begun, cpu = time.perf_counter(), time.process_time()
    for _ in range(under_way):
        for sender in senders:
            sender.send()
    countdown.wait()
    taken, cpu = time.perf_counter() - begun, time.process_time() - cpu
    listening.close()
    total = each * pairs
    return [
        f"{total / taken:,.0f}",
        f"{cpu / total * 1e6:.1f}",
        f"{total / (_transactions(kith) - batches):.1f}",
    ]


def _transactions(kith: Kith) -> float:
    return kith.runtime.metrics.registry.get_sample_value("kith_message_commit_jobs_count") or 0


def _drain(kith: Kith, number: int) -> list[str]:
    """Fill a mailbox and empty it a page at a time, acknowledging each; give what it took."""
    me, to = _device(kith), _device(kith)
    filled = Countdown(1)
    sender = Sender(kith.messaging.messages, me, to, number, filled.count)
    for _ in range(PAGE):
        sender.send()
    filled.wait()
    emptied = Countdown(-(-number // PAGE))
    begun, cpu = time.perf_counter(), time.process_time()
    after = 0
    while page := kith.messaging.messages.page(to.device_id, after, PAGE).deliveries:
        after = page[-1].seq
        kith.messaging.messages.submit_acknowledgement(
            to.device_id, after, lambda _: emptied.count()
        )
    emptied.wait()
    taken, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return [f"{number / taken:,.0f}", f"{cpu / number * 1e6:.1f}", "–"]


@click.command()
@click.option("--messages", default=50_000, show_default=True, help="Messages of each run.")
@click.option("--pairs", default=50, show_default=True)
@click.option("--database", "dialects", multiple=True, default=("sqlite", "postgresql"))
def main(messages: int, pairs: int, dialects: Sequence[str]) -> None:
    """Print messages stored and acknowledged a second, on both databases."""
    shown = Table(title=f"The mailbox, {pairs} pairs, 200 bytes")
    for heading in ("database", "job", "messages/s", "CPU µs each", "a transaction"):
        shown.add_column(heading, justify="right")
    for dialect in dialects:
        with (
            tempfile.TemporaryDirectory() as directory,
            databases.fresh(dialect, Path(directory)) as url,
        ):
            limits = dict.fromkeys(UNLIMITED, MAX_RATE)
            kith = Kith(Settings(database_url=url, data_dir=Path(directory), **limits), Ports())
            for count in UNDER_WAY:
                costs = _converse(kith, pairs, count, messages if count > 1 else messages // 5)
                shown.add_row(dialect, f"{count} under way", *costs)
            shown.add_row(dialect, "one pair alone", *_converse(kith, 1, 1, 1_000))
            shown.add_row(dialect, "drain", *_drain(kith, messages))
            kith.runtime.database.close()
    Console().print(shown)


if __name__ == "__main__":
    main()
