"""`python -m bench.messaging`: messages over the stream of the default server, stored and acknowledged.

Four measurements with real sockets and tokens: pairs of clients that write as fast as they are
answered, one message on an idle server, a full mailbox that drains to one socket, and thousands of idle
sockets. This process is the load; the server is another. Where ejabberd is installed, the same pairs
write over that too, in the same run and into the same table (`bench.ejabberd`).
"""

import json
import os
import select
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any

import click
import psutil
from rich.console import Console
from rich.table import Table

from bench import databases, ejabberd
from bench.load import family, once, request, spent
from bench.pairs import CONTENT_SIZE, Pair, drive
from bench.people import UNLIMITED, Person, fill_mailbox, settle
from bench.report import machine, percentile
from bench.stream_client import JSON, MSGPACK, Accepted, Acked, CaughtUp, Client, Message, Refused
from tests.server import RunningServer, running_server

LIVEZ = request("GET", "/livez")
#: Between two messages, or two questions to `/livez`, on an idle server.
PAUSE = 0.005
CODECS = {"messagepack": MSGPACK, "json": JSON}


@dataclass(frozen=True)
class World:
    """A running server, and people to write to each other."""

    server: RunningServer
    url: str
    people: list[Person]

    def connect(self, person: Person, codec: str) -> Client:
        """Open somebody's socket."""
        return Client(self.server.address, person, codec)


@contextmanager
def served(dialect: str, people: int, waiting: int = 0) -> Iterator[World]:
    """Serve a fresh database with so many people; so many messages wait for the second of them."""
    with (
        tempfile.TemporaryDirectory(prefix="kith-bench-") as directory,
        databases.fresh(dialect, Path(directory) / "data") as url,
    ):
        known = settle(url, people)
        if waiting:
            fill_mailbox(url, known[0], known[1], [os.urandom(CONTENT_SIZE)] * waiting)
        places = {"KITH_DATA_DIR": f"{directory}/data", "KITH_DATABASE_URL": url}
        with running_server(places | UNLIMITED, Path(directory) / "server.log") as server:
            yield World(server, url, known)


class _Pair(Pair):
    """A message is done when its recipient's acknowledgement is on disk."""

    def __init__(self, sender: Client, recipient: Client, ahead: int) -> None:
        super().__init__(ahead)
        self._sender, self._recipient = sender, recipient
        self._content = os.urandom(CONTENT_SIZE)

    def readers(self) -> list[tuple[socket, Callable[[], object]]]:
        return [
            (client.wire, partial(self._read, client)) for client in (self._sender, self._recipient)
        ]

    def send(self, first: int, number: int) -> None:
        to = self._recipient.person
        self._sender.send(
            [self._sender.message(to, str(n), self._content) for n in range(first, first + number)]
        )

    def _read(self, client: Client) -> None:
        """Take what one of the two was sent, and acknowledge messages."""
        last = 0
        for frame in client.receive():
            match frame:
                case Message():
                    last = frame.seq
                case Acked():
                    self.done = frame.through
                case Refused():
                    raise RuntimeError(f"refused: {frame.problem}")
        if last:
            client.send([{"type": "ack", "through": last}])


def throughput(dialect: str, codec: str, pairs: int, ahead: int, seconds: float) -> dict[str, Any]:
    """Let pairs write as fast as they are answered."""
    with served(dialect, 2 * pairs) as world:
        clients = [world.connect(person, codec) for person in world.people]
        for client in clients:
            client.wait_for(CaughtUp)
        # The first two are in touch, and so on.
        writing = [_Pair(*both, ahead) for both in zip(clients[::2], clients[1::2], strict=True)]
        figures = drive(writing, world.server.process.pid, seconds)
    return {"codec": codec, **figures}


def latency(dialect: str, codec: str, messages: int) -> dict[str, Any]:
    """Send one message at a time to a server that does nothing else."""
    received, accepted = [], []
    with served(dialect, 2) as world:
        alice, bob = (world.connect(person, codec) for person in world.people)
        alice.wait_for(CaughtUp)
        bob.wait_for(CaughtUp)
        content = os.urandom(CONTENT_SIZE)
        for n in range(messages):
            asked = time.perf_counter()
            alice.send([alice.message(bob.person, str(n), content)])
            seq = bob.wait_for(Message).seq
            received.append(time.perf_counter() - asked)
            alice.wait_for(Accepted)
            accepted.append(time.perf_counter() - asked)
            bob.send([{"type": "ack", "through": seq}])
            bob.wait_for(Acked)
            time.sleep(PAUSE)
    return {
        "codec": codec,
        "messages": messages,
        "received_p50_ms": round(percentile(received, 0.5), 2),
        "received_p99_ms": round(percentile(received, 0.99), 2),
        "accepted_p50_ms": round(percentile(accepted, 0.5), 2),
        "accepted_p99_ms": round(percentile(accepted, 0.99), 2),
    }


def drain(dialect: str, codec: str, waiting: int) -> dict[str, Any]:
    """Open the socket of somebody for whom many messages wait, and acknowledge them as they come."""
    with served(dialect, 2, waiting) as world:
        server = family(world.server.process.pid)
        used, begun = spent(server), time.perf_counter()
        bob = world.connect(world.people[1], codec)
        last = acknowledged = 0
        while acknowledged < waiting:
            before = last
            for frame in bob.receive():
                match frame:
                    case Message():
                        if frame.seq != last + 1:
                            raise RuntimeError(f"{frame.seq} came after {last}")
                        last = frame.seq
                    case Acked():
                        acknowledged = frame.through
            if last > before:
                bob.send([{"type": "ack", "through": last}])
        took, server_cpu = time.perf_counter() - begun, spent(server) - used
    return {
        "codec": codec,
        "messages": waiting,
        "seconds": round(took, 2),
        "a_second": round(waiting / took),
        "server_cpu_us_each": round(1e6 * server_cpu / waiting, 1),
    }


class _Crowd:
    """Idle sockets that answer pings; those that the server hangs up on are counted."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._clients: dict[int, Client] = {}
        self.opened = self.hung_up_on = 0

    def add(self, client: Client) -> None:
        """Look after one more."""
        self._clients[client.wire.fileno()] = client
        self._poll.register(client.wire.fileno(), select.EPOLLIN)
        self.opened += 1

    def attend(self, seconds: float) -> None:
        """Answer whatever came, and wait so long for something."""
        for descriptor, _ in self._poll.poll(seconds):
            try:
                self._clients[descriptor].receive()
            except OSError:
                self._clients.pop(descriptor).wire.close()
                self.hung_up_on += 1

    def __enter__(self) -> "_Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.wire.close()
        self._poll.close()


def idle(dialect: str, codec: str, sockets: int, seconds: float) -> dict[str, Any]:
    """Hold many sockets open that nothing is sent over, and ask `/livez` meanwhile."""
    with served(dialect, sockets) as world, ExitStack() as stack:
        (worker,) = psutil.Process(world.server.process.pid).children()
        alone, livez = [], []
        # What the worker needs once, however many sockets there are, is there before.
        warm = world.connect(world.people[0], codec)
        warm.wait_for(CaughtUp)
        for _ in range(200):
            alone.append(_ask(world))
        before = worker.memory_info().rss
        crowd = stack.enter_context(_Crowd())
        begun = time.perf_counter()
        for person in world.people[1:]:
            client = world.connect(person, codec)
            client.wait_for(CaughtUp)
            crowd.add(client)
            # Opening thousands takes longer than the server waits for an answer to a ping.
            crowd.attend(0)
        opening = time.perf_counter() - begun
        after = worker.memory_info().rss
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            livez.append(_ask(world))
            crowd.attend(PAUSE)
        later = worker.memory_info().rss
    return {
        "codec": codec,
        "sockets": crowd.opened,
        "hung_up_on": crowd.hung_up_on,
        "opened_a_second": round(crowd.opened / opening),
        "kb_a_socket": round((after - before) / 1000 / crowd.opened, 1),
        "kb_a_socket_at_the_end": round((later - before) / 1000 / crowd.opened, 1),
        "livez_p50_ms_before": round(percentile(alone, 0.5), 2),
        "livez_p99_ms_before": round(percentile(alone, 0.99), 2),
        "livez_asked": len(livez),
        "livez_p50_ms": round(percentile(livez, 0.5), 2),
        "livez_p99_ms": round(percentile(livez, 0.99), 2),
    }


def _ask(world: World) -> float:
    asked = time.perf_counter()
    answer = once(world.server.address, LIVEZ)
    if answer.status != 200:
        raise RuntimeError(f"/livez answered {answer.status}")
    return time.perf_counter() - asked


def _show(console: Console, name: str, results: list[dict[str, Any]]) -> None:
    if not results:
        return
    table = Table(title=name)
    for heading in results[0]:
        table.add_column(heading.replace("_", " "), justify="right", no_wrap=heading == "codec")
    for figures in results:
        table.add_row(*map(str, figures.values()))
    console.print(table)


@click.command()
@click.option("--database", type=click.Choice(["sqlite", "postgresql"]), default="sqlite")
@click.option("--codec", type=click.Choice([*CODECS, "both"]), default="both", show_default=True)
@click.option("--pairs", default=50, show_default=True, help="Of people who write; 0 for none.")
@click.option("--ahead", default=250, show_default=True, help="Messages in flight a pair.")
@click.option("--seconds", default=8.0, show_default=True, help="Time that is measured.")
@click.option("--single", default=1000, show_default=True, help="Messages sent one at a time.")
@click.option("--waiting", default=100_000, show_default=True, help="Messages to drain.")
@click.option("--sockets", default=5000, show_default=True, help="Idle sockets.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(
    database: str,
    codec: str,
    pairs: int,
    ahead: int,
    seconds: float,
    single: int,
    waiting: int,
    sockets: int,
    file: Path | None,
) -> None:
    """Measure messages over the stream."""
    codecs = list(CODECS.values()) if codec == "both" else [CODECS[codec]]
    console = Console()
    found: dict[str, Any] = {
        "machine": machine(),
        "database": database,
        "pairs_that_write": pairs,
        "in_flight_a_pair": ahead,
        "pairs": [],
    }
    if pairs:
        found["pairs"] = [throughput(database, one, pairs, ahead, seconds) for one in codecs]
        installed = ejabberd.installation()
        if installed:
            found["pairs"] += ejabberd.measure(installed, pairs, ahead, seconds)
        load = f"{pairs} pairs, {ahead} messages of {CONTENT_SIZE} bytes in flight each"
        _show(console, f"{load}; Kith on {database}", found["pairs"])
        found["ejabberd"] = ejabberd.COMPARED if installed else ejabberd.MISSING
        console.print(found["ejabberd"])
    for name, number, measure in (
        ("single", single, lambda one: latency(database, one, single)),
        ("drain", waiting, lambda one: drain(database, one, waiting)),
        ("idle", sockets, lambda one: idle(database, one, sockets, seconds)),
    ):
        found[name] = [measure(one) for one in codecs] if number else []
        _show(console, f"{name}, on {database}", found[name])
    text = json.dumps(found, indent=2)
    print(text)
    if file:
        file.write_text(text + "\n")


if __name__ == "__main__":
    main()
