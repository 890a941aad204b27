"""`python -m bench.slow`: how soon `/livez` is answered while thousands of slow clients hold connections.

Half requests from as many addresses of 127.0.0.0/8 as there are clients: connections over which nothing is
sent, heads that do not end, bodies that dribble, and readers who take nothing of a large answer. New ones
keep coming, so in a worker that is full some give way to others.
"""

import json
import select
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench import databases
from bench.load import once, request
from bench.report import machine, percentile
from tests.server import running_server

LIVEZ = request("GET", "/livez")
PAUSE = 0.01
SETTLE_SECONDS = 12
_POST = (
    b"POST /v1/verifications HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100000\r\n\r\n{"
)
KINDS = {
    "silent": b"",
    "half a head": b"GET /livez HTTP/1.1\r\nHost: ",
    "body that dribbles": _POST,
    "reader who takes nothing": b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n",
}


class Crowd:
    """Slow clients, each from an address of its own."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, bytes]] = {}
        self.ended = 0

    def __len__(self) -> int:
        return len(self._open)

    def join(self, number: int) -> None:
        """Add one; the number decides about its address and its kind."""
        wire = socket.socket()
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with suppress(OSError):
            wire.bind((f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}", 0))
            wire.settimeout(5)
            wire.connect(self._address)
            kind = list(KINDS.values())[number % len(KINDS)]
            wire.sendall(kind)
            wire.setblocking(False)
            self._open[wire.fileno()] = wire, kind
            # Only that the server hangs up is of interest, and not that there is something to read.
            self._poll.register(wire.fileno(), select.EPOLLRDHUP)
            return
        wire.close()

    def dribble(self, most: int) -> None:
        """Send a byte of some bodies, and count who was hung up on."""
        for descriptor, _ in self._poll.poll(0):
            wire, _ = self._open.pop(descriptor)
            wire.close()
            self.ended += 1
        for descriptor in list(self._open)[:most]:
            wire, kind = self._open.pop(descriptor)
            # To the end of the line: the next call takes others.
            self._open[descriptor] = wire, kind
            if kind is _POST:
                with suppress(OSError):
                    wire.send(b"x")

    def leave(self) -> None:
        """Close all."""
        for wire, _ in self._open.values():
            wire.close()
        self._poll.close()


def _ask(address: tuple[str, int], seconds: float, crowd: Crowd | None) -> list[float]:
    took, ends = [], time.perf_counter() + seconds
    number = 10_000_000
    while time.perf_counter() < ends:
        if crowd is not None:
            crowd.dribble(50)
            crowd.join(number % 1_000_000)
            number += 1
        asked = time.perf_counter()
        answer = once(address, LIVEZ)
        took.append(time.perf_counter() - asked)
        if answer.status != 200:
            raise RuntimeError(f"/livez answered {answer.status}")
        time.sleep(PAUSE)
    return took


def _figures(name: str, took: list[float]) -> dict[str, Any]:
    return {
        "livez": name,
        "asked": len(took),
        "p50_ms": round(percentile(took, 0.5), 1),
        "p99_ms": round(percentile(took, 0.99), 1),
        "max_ms": round(1000 * max(took), 1),
    }


@click.command()
@click.option("--clients", default=10_000, show_default=True, help="Slow clients.")
@click.option("--room", default=10_000, show_default=True, help="KITH_MAX_CONNECTIONS.")
@click.option("--seconds", default=10.0, show_default=True, help="Time that is measured.")
def main(clients: int, room: int, seconds: float) -> None:
    """Measure how a worker answers among slow clients."""
    with (
        tempfile.TemporaryDirectory(prefix="kith-bench-") as directory,
        databases.fresh("sqlite", Path(directory) / "data") as url,
    ):
        environment = {
            "KITH_DATA_DIR": f"{directory}/data",
            "KITH_DATABASE_URL": url,
            "KITH_MAX_CONNECTIONS": str(room),
        }
        with running_server(environment, Path(directory) / "server.log") as server:
            results = [_figures("alone", _ask(server.address, 2, None))]
            crowd = Crowd(server.address)
            began = time.perf_counter()
            for number in range(clients):
                crowd.join(number)
            opening = time.perf_counter() - began
            # The requests of the readers are whole, and take what they take.
            time.sleep(SETTLE_SECONDS)
            results.append(_figures("among them", _ask(server.address, seconds, crowd)))
            held = len(crowd)
            crowd.leave()
    table = Table(title=f"{clients} slow clients, room for {room}")
    for heading in results[0]:
        table.add_column(heading.replace("_", " "), justify="right")
    for figures in results:
        table.add_row(*map(str, figures.values()))
    Console().print(table)
    found = {
        "machine": machine(),
        "clients": clients,
        "room": room,
        "opened_a_second": round(clients / opening),
        "held_at_the_end": held,
        "ended_by_the_server": crowd.ended,
        "results": results,
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
