"""`python -m bench.groups`: one message to a full group, and one change of it, on the server as it is served.

Every member has one device or more. A message goes over HTTP on one connection, one after the other, and is
answered when it is on disk for each device of each member: one content for all of them, stored once, or an
envelope for each. A change is a new name. Members are put into the database past their registration.
"""

import base64
import json
import os
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import click
import httpx
from rich.console import Console
from rich.table import Table

from app import Ports, create_app
from bench import databases
from bench.people import MANY_CONNECTIONS
from bench.report import machine, percentile
from messaging.groups.schemas import MAX_MEMBERS, NewGroup
from settings import Settings
from tests.conftest import Person
from tests.people import add_device, caller, put_in_touch, settle
from tests.server import running_server

PAYLOAD = base64.urlsafe_b64encode(os.urandom(200)).rstrip(b"=").decode()


def fill(url: str, data_dir: Path, others: int, devices: int) -> tuple[Person, str]:
    """Make a group of somebody and others, each with so many devices; give her and its id."""
    app = create_app(Settings(database_url=url, data_dir=data_dir), Ports())
    kith = app.extensions["kith"]
    anna, *members = settle(kith, others + 1)
    put_in_touch(kith, members, anna)
    for member in members:
        for _ in range(devices - 1):
            add_device(kith, UUID(member.account_id))
    body = NewGroup(name="Everybody", members=[UUID(one.account_id) for one in members])
    made = json.loads(kith.messaging.groups.create(caller(anna), body, None))
    kith.runtime.database.close()
    return anna, made["id"]


def measure(send: Callable[[], httpx.Response], times: int) -> list[float]:
    """Send so often, and once before; give how long each took, in seconds."""
    took = []
    for _ in range(times + 1):
        started = time.perf_counter()
        send().raise_for_status()
        took.append(time.perf_counter() - started)
    return took[1:]


def run(client: httpx.Client, group_id: str, times: int) -> dict[str, list[float]]:
    """Measure each kind of message, and a change."""
    path = f"/v1/groups/{group_id}"
    found = client.get(f"{path}/devices").json()

    def message(**fields: Any) -> httpx.Response:
        head = {"group": {"id": group_id, "version": 1}, "client_id": uuid4().hex}
        return client.post("/v1/messages", json=head | fields)

    versions = count(1)

    def rename() -> httpx.Response:
        return client.patch(path, json={"version": next(versions), "name": uuid4().hex})

    envelopes = [{"device_id": one["device_id"], "content": PAYLOAD} for one in found["devices"]]
    return {
        "one content": measure(lambda: message(content=PAYLOAD, devices=found["digest"]), times),
        "an envelope for each": measure(lambda: message(envelopes=envelopes), times),
        "GET devices": measure(lambda: client.get(f"{path}/devices"), times),
        "a change": measure(rename, times),
    }


@click.command()
@click.option("--database", type=click.Choice(["sqlite", "postgresql"]), default="sqlite")
@click.option("--others", type=click.IntRange(1, MAX_MEMBERS - 1), default=MAX_MEMBERS - 1)
@click.option("--devices", default=1, show_default=True, help="Of each of them.")
@click.option("--times", default=50, show_default=True)
def main(database: str, others: int, devices: int, times: int) -> None:
    """Measure messages to one group."""
    with tempfile.TemporaryDirectory() as place, databases.fresh(database, Path(place)) as url:
        anna, group_id = fill(url, Path(place), others, devices)
        environment = {"KITH_DATABASE_URL": url, "KITH_DATA_DIR": place} | MANY_CONNECTIONS
        with (
            running_server(environment, Path(place) / "log") as server,
            httpx.Client(base_url=server.base_url, headers=anna.headers, timeout=60) as client,
        ):
            results = run(client, group_id, times)
    shown = Table(title=f"A group of {others + 1}, {devices} devices each, on {database}")
    for heading in ("what", "p50 ms", "p99 ms"):
        shown.add_column(heading, justify="left" if heading == "what" else "right")
    for name, took in results.items():
        shown.add_row(name, f"{percentile(took, 0.5):.1f}", f"{percentile(took, 0.99):.1f}")
    Console(stderr=True).print(shown)
    seconds = {name: [round(one, 4) for one in took] for name, took in results.items()}
    print(json.dumps({"machine": machine(), "members": others + 1, "seconds": seconds}))


if __name__ == "__main__":
    main()
