"""A provider that is slow: Twilio's API as far as a send needs it, in a process of its own.

It accepts each message at once, records it, and answers late or never.
"""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import click

from bench.load import once, request

ACCOUNT_SID = "AC" + "0123456789abcdef" * 2
AUTH_TOKEN = "f00dfeed" * 4


class SlowProvider(NamedTuple):
    """One that runs."""

    port: int

    def environment(self) -> dict[str, str]:
        """Give the settings that make a server send through it."""
        return {
            "KITH_SMS_PROVIDER": "twilio",
            "KITH_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "KITH_TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            "KITH_TWILIO_FROM": "+15005550006",
            "KITH_TWILIO_API_URL": f"http://127.0.0.1:{self.port}",
        }

    def seen(self) -> dict[str, Any]:
        """Ask it for `messages` by number, and for the `most_in_flight`."""
        answer = once(("127.0.0.1", self.port), request("GET", "/seen"))
        found: dict[str, Any] = json.loads(answer.body)
        return found


@contextmanager
def slow_provider(seconds: float) -> Iterator[SlowProvider]:
    """Run one in this block that answers after so long; after an infinite time, never."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.slow_provider", str(seconds)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield SlowProvider(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


class _Server:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._messages: Counter[str] = Counter()
        self._in_flight = self._most = 0

    async def serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(
                    line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line
                )
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                status, answer = await self._take(head, body.decode())
                data = json.dumps(answer).encode()
                writer.write(
                    b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % (status, len(data))
                    + data
                )
                await writer.drain()
        writer.close()

    async def _take(self, head: str, body: str) -> tuple[int, dict[str, Any]]:
        if head.startswith("GET /seen "):
            return 200, {"messages": self._messages, "most_in_flight": self._most}
        self._messages[parse_qs(body)["To"][0]] += 1
        self._in_flight += 1
        self._most = max(self._most, self._in_flight)
        try:
            if self._seconds == float("inf"):
                await asyncio.Future()
            await asyncio.sleep(self._seconds)
        finally:
            self._in_flight -= 1
        return 201, {"sid": f"SM{self._messages.total():032x}", "status": "queued"}


@click.command()
@click.argument("seconds", type=float)
def main(seconds: float) -> None:
    """Serve on a free port, which is printed, until terminated; answer after SECONDS."""
    asyncio.run(_Server(seconds).serve())


if __name__ == "__main__":
    main()
