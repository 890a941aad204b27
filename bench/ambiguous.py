"""`python -m bench.ambiguous`: a provider takes every message and never answers; nobody gets two.

The clients do whatever may make a service send again: they repeat the request while it runs and after it,
request another text too early, and wait for the second provider.
"""

import base64
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select

from bench import databases, jobs
from bench.load import Answer, once, request
from bench.slow_provider import slow_provider
from core.database import Database
from core.secrets import load_keyring
from settings import Settings
from sms.models import OutboxMessage, Send
from sms.routing_file import DEFAULT_FILE
from tests.server import running_server
from verification.codes import derive

READ_TIMEOUT = 2


class _Person:
    """Someone who wants a code and does not wait for it."""

    def __init__(self, address: tuple[str, int], number: str, key: bytes) -> None:
        self._address = address
        self._number = number
        self._key = key

    def _ask(self, path: str, idempotency_key: str, **fields: str) -> Answer:
        headers = (f"Idempotency-Key: {idempotency_key}",)
        body = json.dumps(fields).encode()
        return once(self._address, request("POST", path, body, headers))

    def start(self) -> Answer:
        """Start a verification, always with the same key."""
        return self._ask(
            "/v1/verifications", "start-of-the-verification", phone_number=self._number
        )

    def insist(self, started: Answer) -> list[int]:
        """Repeat it, ask again too early by text and by call, and then type the code."""
        identity = json.loads(started.body)["id"]
        path = f"/v1/verifications/{identity}"
        code = derive(self._key, base64.urlsafe_b64decode(identity + "="), 6)
        return [
            self.start().status,
            self._ask(f"{path}/sends", "again", channel="sms").status,
            self._ask(f"{path}/sends", "call", channel="voice").status,
            self._ask(f"{path}/checks", "check", code=code).status,
        ]


def run(dialect: str, people: int, second_provider: bool) -> dict[str, Any]:
    """Play it on one database."""
    with (
        tempfile.TemporaryDirectory(prefix="kith-bench-") as directory,
        databases.fresh(dialect, Path(directory) / "data") as url,
        slow_provider(float("inf")) as provider,
    ):
        environment = provider.environment() | {
            "KITH_DATA_DIR": f"{directory}/data",
            "KITH_DATABASE_URL": url,
            "KITH_TWILIO_READ_TIMEOUT": str(READ_TIMEOUT),
        }
        if second_provider:
            pins = Path(directory) / "routing.toml"
            pins.write_text(
                DEFAULT_FILE.read_text().replace("[pins]", '[pins]\nDE = ["twilio", "outbox"]')
            )
            environment |= {
                "KITH_SMS_PROVIDER": "twilio, outbox",
                "KITH_ROUTING_FILE": str(pins),
            }
        with running_server(environment, Path(directory) / "server.log") as server:
            key = load_keyring(Settings(data_dir=Path(directory) / "data")).derive("codes")
            crowd = [
                _Person(server.address, number, key)
                for number, _ in zip(jobs.newcomers(), range(people), strict=False)
            ]
            with ThreadPoolExecutor(2 * people) as threads:
                # Each asks twice at once; the second waits for the first one's answer.
                started = list(threads.map(_Person.start, crowd + crowd))
                insisted = list(threads.map(_Person.insist, crowd, started))
            messages = Counter(provider.seen()["messages"])
        sends = _sends(url)
    return {
        "database": dialect,
        "second_provider": second_provider,
        "people": people,
        "started": Counter(answer.status for answer in started),
        "repeated": Counter(statuses[0] for statuses in insisted),
        "asked_again_too_early": Counter(status for each in insisted for status in each[1:3]),
        "code_taken": Counter(statuses[3] for statuses in insisted),
        "messages_at_the_provider": messages.total(),
        "doubles": sum(count - 1 for count in messages.values()),
        **sends,
    }


def _sends(url: str) -> dict[str, Any]:
    """Read what the service knows of its sends, and what the second provider was given."""
    with closing(Database(url)) as database, database.read() as connection:
        statuses = select(Send.provider, Send.status, func.count()).group_by(
            Send.provider, Send.status
        )
        return {
            "sends": {f"{by} {status}": n for by, status, n in connection.execute(statuses)},
            "messages_at_the_second": connection.scalar(
                select(func.count()).select_from(OutboxMessage)
            ),
        }


def _show(console: Console, results: list[dict[str, Any]]) -> None:
    table = Table(title="A provider that takes every message and never answers")
    columns: dict[str, Callable[[dict[str, Any]], object]] = {
        "database": lambda found: found["database"],
        "providers": lambda found: 2 if found["second_provider"] else 1,
        "people": lambda found: found["people"],
        "messages": lambda found: found["messages_at_the_provider"],
        "doubles": lambda found: found["doubles"],
        "at the 2nd": lambda found: found["messages_at_the_second"],
        "verified": lambda found: found["code_taken"][200],
    }
    for heading in columns:
        table.add_column(heading, justify="right")
    for found in results:
        table.add_row(*(str(value(found)) for value in columns.values()))
    console.print(table)


@click.command()
@click.option("--database", type=click.Choice(["sqlite", "postgresql", "both"]), default="both")
@click.option("--people", default=100, show_default=True, help="Each sends one message.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(database: str, people: int, file: Path | None) -> None:
    """Count what a provider that never answers got, with and without a second one beside it."""
    dialects = ["sqlite", "postgresql"] if database == "both" else [database]
    results = [
        run(dialect, people, second_provider)
        for dialect in dialects
        for second_provider in (False, True)
    ]
    text = json.dumps(results, indent=2)
    _show(Console(), results)
    print(text)
    if file:
        file.write_text(text + "\n")


if __name__ == "__main__":
    main()
