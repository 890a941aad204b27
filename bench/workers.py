"""`python -m bench.workers`: messages between people on different workers, and without Valkey meanwhile.

Two servers with one worker each, one PostgreSQL, one Valkey; senders connect to the first, recipients to the
second. Everything is counted: a message that was accepted and did not arrive is lost.
"""

import json
import os
import re
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
import httpx
from rich.console import Console
from rich.table import Table

from bench import databases
from bench.people import UNLIMITED, Person, settle
from bench.report import machine, percentile
from bench.stream_client import MSGPACK, Accepted, CaughtUp, Client, Message
from core.base64url import encode
from tests.server import RunningServer, running_server
from tests.valkey import Valkey, running_valkey

#: Seconds a long poll waits.
WAIT = 30


class Connection:
    """One person's connection to a server, which stays open."""

    def __init__(self, server: RunningServer, person: Person) -> None:
        self._connection = HTTPConnection(*server.address, timeout=2 * WAIT)
        self._headers = {"Authorization": f"Bearer {person.token}"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Make a request; give the answer's body."""
        data = None if body is None else json.dumps(body)
        headers = self._headers | {"Content-Type": "application/json"}
        self._connection.request(method, path, data, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text or "null")


class Poll:
    """Somebody at a server, by requests: she waits for messages by long poll."""

    def __init__(self, server: RunningServer, person: Person) -> None:
        self._connection = Connection(server, person)

    def send(self, to: Person, name: str, content: bytes) -> None:
        """Send, and wait until it is stored."""
        envelope = {"device_id": str(to.device_id), "content": encode(content)}
        body = {"to": str(to.account_id), "client_id": name, "envelopes": [envelope]}
        self._connection.ask("POST", "/v1/messages", body)

    def receive(self) -> list[int]:
        """Wait for messages; give their numbers."""
        page = self._connection.ask("GET", f"/v1/messages?wait={WAIT}")["messages"]
        return [message["seq"] for message in page]

    def acknowledge(self, through: int) -> None:
        """Have messages deleted."""
        self._connection.ask("POST", "/v1/messages/ack", {"through": through})


class Socket:
    """Somebody at a server, over the stream."""

    def __init__(self, server: RunningServer, person: Person) -> None:
        self._client = Client(server.address, person, MSGPACK)
        self._client.wait_for(CaughtUp)

    def send(self, to: Person, name: str, content: bytes) -> None:
        """Send, and wait until it is stored."""
        self._client.send([self._client.message(to, name, content)])
        self._client.wait_for(Accepted)

    def receive(self) -> list[int]:
        """Wait for messages; give their numbers."""
        return [frame.seq for frame in self._client.receive() if isinstance(frame, Message)]

    def acknowledge(self, through: int) -> None:
        """Have messages deleted."""
        self._client.send([{"type": "ack", "through": through}])


Door = type[Poll] | type[Socket]


class Reader(threading.Thread):
    """Receives, and notes when each message came, by its number."""

    def __init__(self, at: Poll | Socket) -> None:
        super().__init__(daemon=True)
        self._at = at
        self.came: dict[int, list[float]] = {}
        self.start()

    def run(self) -> None:
        """Read until the server stops."""
        with suppress(ConnectionError):
            while True:
                numbers = self._at.receive()
                now = time.perf_counter()
                for number in numbers:
                    self.came.setdefault(number, []).append(now)
                if numbers:
                    self._at.acknowledge(numbers[-1])


class Writer:
    """Sends to somebody to whom nobody else writes, and notes when, by the number each will have."""

    def __init__(self, at: Poll | Socket, recipient: Person) -> None:
        self._at = at
        self._recipient = recipient
        self.sent: dict[int, float] = {}

    def send(self) -> int:
        """Send 200 bytes; give their number."""
        number = len(self.sent) + 1
        self.sent[number] = time.perf_counter()
        self._at.send(self._recipient, uuid4().hex, os.urandom(200))
        return number


@dataclass
class Found:
    """What became of the messages of one time."""

    name: str
    late: list[float] = field(default_factory=list)
    lost: int = 0
    twice: int = 0

    def figures(self) -> dict[str, Any]:
        """Give it as JSON; times in milliseconds."""
        shares = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
        return {
            "time": self.name,
            "messages": len(self.late),
            **{name: round(percentile(self.late, share), 2) for name, share in shares.items()},
            "lost": self.lost,
            "twice": self.twice,
        }


def judge(name: str, sent: dict[int, float], reader: Reader) -> Found:
    """See when the messages arrived, and which did not."""
    found = Found(name)
    for number, at in sent.items():
        came = reader.came.get(number, [])
        found.late += [came[0] - at] if came else []
        found.lost += not came
        found.twice += len(came) > 1
    return found


def _until_connected(server: RunningServer) -> None:
    while not re.search(
        r"^kith_valkey_up 1\.0$", httpx.get(f"{server.base_url}/metrics").text, re.M
    ):
        time.sleep(0.05)


def quiet(writer: Writer, reader: Reader, messages: int) -> Found:
    """Send one message after the other to somebody who waits."""
    for _ in range(messages):
        number = writer.send()
        while number not in reader.came:
            time.sleep(0.001)
        # Who reads acknowledges, and waits again.
        time.sleep(0.03)
    return judge("idle, one at a time", writer.sent, reader)


def outage(writer: Writer, reader: Reader, valkey: Valkey, seconds: float) -> list[Found]:
    """Send steadily while Valkey is there, killed, and there again; give what became of each part."""
    times = []
    for name, change in (
        ("with Valkey", None),
        ("Valkey killed", valkey.kill),
        ("Valkey back", valkey.start),
    ):
        if change is not None:
            change()
        before, ends = set(writer.sent), time.perf_counter() + seconds
        while time.perf_counter() < ends:
            writer.send()
            time.sleep(0.05)
        times.append((name, set(writer.sent) - before))
    patience = time.perf_counter() + WAIT
    while len(reader.came) < len(writer.sent) and time.perf_counter() < patience:
        time.sleep(0.01)
    return [
        judge(name, {number: writer.sent[number] for number in sent}, reader)
        for name, sent in times
    ]


def run(door: Door, messages: int, seconds: float) -> list[Found]:
    """Measure by one door."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kith-bench-")))
        url = stack.enter_context(databases.fresh("postgresql", place))
        valkey = stack.enter_context(running_valkey())
        environment = {
            "KITH_DATA_DIR": f"{place}/data",
            "KITH_DATABASE_URL": url,
            "KITH_VALKEY_URL": valkey.url,
        } | UNLIMITED
        here, there = (
            stack.enter_context(running_server(environment, place / f"server-{n}.log"))
            for n in range(2)
        )
        for server in (here, there):
            _until_connected(server)
        anna, ben, clara = settle(url, 3)
        writing, reading = door(here, anna), Reader(door(there, ben))
        found = [quiet(Writer(writing, ben), reading, messages)]
        reading = Reader(door(there, clara))
        return found + outage(Writer(writing, clara), reading, valkey, seconds)


def _show(name: str, results: list[dict[str, Any]]) -> None:
    table = Table(title=f"From one worker to the other, from sending to arrival, by {name}")
    for heading in ("when", "messages", "p50 ms", "p99 ms", "max ms", "lost", "twice"):
        table.add_column(heading, justify="left" if heading == "when" else "right")
    for figures in results:
        table.add_row(*map(str, figures.values()))
    Console().print(table)


@click.command()
@click.option("--by", type=click.Choice(["socket", "poll", "both"]), default="socket")
@click.option("--messages", default=300, show_default=True, help="Sent one after the other.")
@click.option("--seconds", default=10.0, show_default=True, help="Each part of the outage.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(by: str, messages: int, seconds: float, file: Path | None) -> None:
    """Send between two workers, then kill Valkey and start it again meanwhile."""
    doors: dict[str, Door] = {"socket": Socket, "poll": Poll}
    results = {
        name: [found.figures() for found in run(door, messages, seconds)]
        for name, door in doors.items()
        if by in (name, "both")
    }
    text = json.dumps({"machine": machine(), "results": results}, indent=2)
    for name, figures in results.items():
        _show(name, figures)
    print(text)
    if file:
        file.write_text(text + "\n")


if __name__ == "__main__":
    main()
