"""`python -m bench.inflight`: many sends wait for a slow provider, and `/livez` is asked all the while.

The load is a number of clients that start verifications, each again as soon as it is answered. The server is
the default one, with one worker.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench import databases, jobs
from bench.load import request
from bench.people import MANY_CONNECTIONS
from bench.report import machine, percentile
from bench.slow_provider import slow_provider
from tests.server import running_server

LIVEZ = request("GET", "/livez")
#: Between two questions to `/livez`.
PAUSE = 0.005


@dataclass
class Found:
    """What happened once all were under way."""

    database: str
    most_in_flight: int = 0
    starts: list[float] = field(default_factory=list)
    livez: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Give it as JSON; times in milliseconds."""
        return {
            "database": self.database,
            "most_in_flight": self.most_in_flight,
            "starts_a_second": round(len(self.starts) / self.seconds, 1),
            "start_p50_ms": round(percentile(self.starts, 0.5), 1),
            "start_p99_ms": round(percentile(self.starts, 0.99), 1),
            "livez_asked": len(self.livez),
            "livez_p50_ms": round(percentile(self.livez, 0.5), 2),
            "livez_p99_ms": round(percentile(self.livez, 0.99), 2),
            "livez_max_ms": round(percentile(self.livez, 1.0), 2),
        }


class _Client:
    """Asks one server over connections that stay open."""

    def __init__(self, address: tuple[str, int], width: int, wait: float, found: Found) -> None:
        self._address = address
        self._width, self._wait = width, wait
        self._found = found
        self._numbers = jobs.newcomers()
        self._recording = False

    async def run(self, seconds: float) -> None:
        """Let everyone begin, evenly over one wait, and keep what happens after two more."""
        tasks = [asyncio.create_task(self._start(n)) for n in range(self._width)]
        tasks.append(asyncio.create_task(self._livez()))
        await asyncio.sleep(3 * self._wait)
        self._recording = True
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        self._found.seconds = seconds
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _start(self, n: int) -> None:
        await asyncio.sleep(self._wait * n / self._width)
        async with self._connected() as ask:
            while True:
                body = b'{"phone_number":"%s"}' % next(self._numbers).encode()
                await ask(request("POST", "/v1/verifications", body), 201, self._found.starts)

    async def _livez(self) -> None:
        async with self._connected() as ask:
            while True:
                await ask(LIVEZ, 200, self._found.livez)
                await asyncio.sleep(PAUSE)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        reader, writer = await asyncio.open_connection(*self._address)

        async def ask(data: bytes, status: int, timings: list[float]) -> None:
            asked = time.perf_counter()
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = (
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            body = await reader.readexactly(length)
            if int(head[9:12]) != status:
                raise RuntimeError(f"wanted {status}, got {body.decode()}")
            if self._recording:
                timings.append(time.perf_counter() - asked)

        try:
            yield ask
        finally:
            writer.close()


def run(dialect: str, width: int, wait: float, seconds: float) -> Found:
    """Measure one database."""
    found = Found(dialect)
    with (
        tempfile.TemporaryDirectory(prefix="kith-bench-") as directory,
        databases.fresh(dialect, Path(directory) / "data") as url,
        slow_provider(wait) as provider,
        running_server(
            MANY_CONNECTIONS
            | {"KITH_DATA_DIR": f"{directory}/data", "KITH_DATABASE_URL": url}
            | provider.environment(),
            Path(directory) / "server.log",
        ) as server,
    ):
        asyncio.run(_Client(server.address, width, wait, found).run(seconds))
        found.most_in_flight = provider.seen()["most_in_flight"]
    return found


def _show(console: Console, width: int, wait: float, results: Iterator[dict[str, Any]]) -> None:
    table = Table(title=f"{width} people start again and again; the provider takes {wait:g} s")
    table.add_column("on", no_wrap=True)
    # Times are in milliseconds: of starts first, then of /livez.
    for heading in ("flying", "starts/s", "p50", "p99", "livez p50", "p99", "max"):
        table.add_column(heading, justify="right")
    for figures in results:
        values = [value for name, value in figures.items() if name != "livez_asked"]
        table.add_row(*map(str, values))
    console.print(table)


@click.command()
@click.option("--database", type=click.Choice(["sqlite", "postgresql", "both"]), default="both")
@click.option("--width", default=300, show_default=True, help="Sends in flight.")
@click.option("--wait", default=2.0, show_default=True, help="Seconds the provider takes.")
@click.option("--seconds", default=10.0, show_default=True, help="Time that is measured.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(database: str, width: int, wait: float, seconds: float, file: Path | None) -> None:
    """Ask /livez while one worker waits for a slow provider in many requests at once."""
    dialects = ["sqlite", "postgresql"] if database == "both" else [database]
    results = [run(dialect, width, wait, seconds).figures() for dialect in dialects]
    found = {"machine": machine(), "width": width, "wait": wait, "results": results}
    text = json.dumps(found, indent=2)
    _show(Console(), width, wait, iter(results))
    print(text)
    if file:
        file.write_text(text + "\n")


if __name__ == "__main__":
    main()
