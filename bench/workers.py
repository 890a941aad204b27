"""`python -m bench.workers`: messages between people on different workers, and without Valkey meanwhile.

Owns the load: two servers with one worker each, one PostgreSQL, one Valkey; who writes is at the first, who
reads at the second. Everything is counted: what was accepted and did not arrive is lost.
"""

import base64
import json
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
from bench.report import machine, percentile
from tests.crash.people import Person, read_code, register, start
from tests.server import RunningServer, running_server
from tests.valkey import Valkey, running_valkey

#: Seconds a long poll waits.
WAIT = 30


class Connection:
    """One person's connection to a server, which stays open."""

    def __init__(self, server: RunningServer, person: Person) -> None:
        self._connection = HTTPConnection(*server.address, timeout=2 * WAIT)
        self._headers = person.headers | {"Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Make a request; give the answer's body."""
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text or "null")


class Reader(threading.Thread):
    """Receives by long poll, and notes when each message came."""

    def __init__(self, server: RunningServer, person: Person) -> None:
        super().__init__(daemon=True)
        self._connection = Connection(server, person)
        self.came: dict[str, list[float]] = {}
        self.start()

    def run(self) -> None:
        """Read until the server stops."""
        with suppress(ConnectionError):
            while True:
                page = self._connection.ask("GET", f"/v1/messages?wait={WAIT}")["messages"]
                now = time.perf_counter()
                for message in page:
                    self.came.setdefault(message["content"], []).append(now)
                if page:
                    self._connection.ask("POST", "/v1/messages/ack", {"through": page[-1]["seq"]})


class Writer:
    """Sends, and notes when."""

    def __init__(self, server: RunningServer, sender: Person, recipient: Person) -> None:
        self._connection = Connection(server, sender)
        self._recipient = recipient
        self.sent: dict[str, float] = {}

    def send(self) -> str:
        """Send 200 bytes; give what they are called."""
        name = uuid4().hex
        content = base64.urlsafe_b64encode(name.encode().ljust(200)).rstrip(b"=").decode()
        self.sent[content] = time.perf_counter()
        envelope = {"device_id": self._recipient.device_id, "content": content}
        body = {"to": self._recipient.account_id, "client_id": name, "envelopes": [envelope]}
        self._connection.ask("POST", "/v1/messages", body)
        return content


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


def judge(name: str, sent: dict[str, float], reader: Reader) -> Found:
    """See when the messages arrived, and which did not."""
    found = Found(name)
    for content, at in sent.items():
        came = reader.came.get(content, [])
        found.late += [came[0] - at] if came else []
        found.lost += not came
        found.twice += len(came) > 1
    return found


def _newcomer(server: RunningServer, number: str) -> Person:
    with httpx.Client(base_url=server.base_url) as client:
        verification = start(client, f"start-{number}", number)
        code = read_code(client, number)
        client.post(f"/v1/verifications/{verification}/checks", json={"code": code})
        return register(client, f"register-{number}", verification)


def _until_connected(server: RunningServer) -> None:
    while not re.search(r"^kith_bus_up 1\.0$", httpx.get(f"{server.base_url}/metrics").text, re.M):
        time.sleep(0.05)


def quiet(writer: Writer, reader: Reader, messages: int) -> Found:
    """Send one message after the other to somebody who waits."""
    for _ in range(messages):
        content = writer.send()
        while content not in reader.came:
            time.sleep(0.001)
        # The reader acknowledges and waits again.
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
        judge(name, {content: writer.sent[content] for content in sent}, reader)
        for name, sent in times
    ]


def run(messages: int, seconds: float) -> list[Found]:
    """Measure both."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kith-bench-")))
        url = stack.enter_context(databases.fresh("postgresql", place))
        valkey = stack.enter_context(running_valkey())
        environment = {
            "KITH_DATA_DIR": f"{place}/data",
            "KITH_DATABASE_URL": url,
            "KITH_VALKEY_URL": valkey.url,
        }
        here, there = (
            stack.enter_context(running_server(environment, place / f"server-{n}.log"))
            for n in range(2)
        )
        for server in (here, there):
            _until_connected(server)
        anna, ben, clara = (_newcomer(here, f"+49151{n:08d}") for n in range(1, 4))
        found = [quiet(Writer(here, anna, ben), Reader(there, ben), messages)]
        return found + outage(Writer(here, anna, clara), Reader(there, clara), valkey, seconds)


def _show(results: list[dict[str, Any]]) -> None:
    table = Table(title="From one worker to the other, from the request to send to the arrival")
    for heading in ("when", "messages", "p50 ms", "p99 ms", "max ms", "lost", "twice"):
        table.add_column(heading, justify="left" if heading == "when" else "right")
    for figures in results:
        table.add_row(*map(str, figures.values()))
    Console().print(table)


@click.command()
@click.option("--messages", default=300, show_default=True, help="Sent one after the other.")
@click.option("--seconds", default=10.0, show_default=True, help="Each part of the outage.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(messages: int, seconds: float, file: Path | None) -> None:
    """Send between two workers, then kill Valkey and start it again meanwhile."""
    results = [found.figures() for found in run(messages, seconds)]
    text = json.dumps({"machine": machine(), "results": results}, indent=2)
    _show(results)
    print(text)
    if file:
        file.write_text(text + "\n")


if __name__ == "__main__":
    main()
