"""kill -9 while a snapshot is built or an epoch filled: after a restart every answer is right."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, insert, select

from core.database import Database, table
from discovery import epochs
from discovery.digests import digest_number, encode_hash
from discovery.models import DirectoryEntry
from tests.crash.people import Person, read_code, register, start
from tests.server import ROOT, RunningServer, running_server
from tokens.models import Account

PEOPLE = 20_000
NUMBERS = [f"+49151{n:08d}" for n in range(PEOPLE)]
ROUNDS = 3
PATIENCE = 60
CHANCE = random.Random()
NOW = datetime.now(UTC)


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """The settings of the server; a lookup asks about more than the default budget holds."""
    return {
        "KITH_DATA_DIR": str(tmp_path),
        "KITH_DATABASE_URL": database_url,
        "KITH_DISCOVERY_BURST": "10000",
    }


def populate(database_url: str) -> None:
    """Make accounts and their entries, as if they had registered long ago."""
    with closing(Database(database_url)) as database, database.write() as connection:
        (epoch,) = epochs.read_or_begin(connection, lambda: NOW, os.urandom)
        ids = {number: UUID(int=n << 80, version=4) for n, number in enumerate(NUMBERS, 1)}
        connection.execute(
            insert(table(Account)),
            [
                {
                    "id": account,
                    "e164": number,
                    "discoverable": True,
                    "created_at": NOW,
                    "last_seen_at": NOW,
                }
                for number, account in ids.items()
            ],
        )
        connection.execute(
            insert(table(DirectoryEntry)),
            [
                {"digest": digest_number(n, epoch.salt), "epoch": epoch.number, "account_id": a}
                for n, a in ids.items()
            ],
        )


def someone(server: RunningServer) -> Person:
    """Register a person who asks."""
    number = "+4915999999999"
    with httpx.Client(base_url=server.base_url, timeout=30) as client:
        verification = start(client, "start", number)
        code = read_code(client, number)
        path = f"/v1/verifications/{verification}/checks"
        assert client.post(path, json={"code": code}).status_code == 200
        return register(client, "register", verification)


def judge(server: RunningServer, person: Person) -> str:
    """Look up people and strangers in each epoch that answers; give the current one's id."""
    with httpx.Client(base_url=server.base_url, timeout=30, headers=person.headers) as client:
        parameters = client.get("/v1/discovery/parameters").json()
        for epoch in filter(None, (parameters, parameters["previous"])):
            salt = epoch["salt"]
            here = [encode_hash(digest_number(n, salt)) for n in CHANCE.sample(NUMBERS, 100)]
            strangers = [
                encode_hash(digest_number(f"+49160{n:08d}", salt))
                for n in CHANCE.sample(range(10**8), 100)
            ]
            asked = {"epoch": epoch["epoch"], "hashes": here + strangers}
            answer = client.post("/v1/discovery/lookups", json=asked)
            assert answer.status_code == 200, answer.text
            assert set(answer.json()["matches"]) == set(here)
    return str(parameters["epoch"])


def eventually(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    ends = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


def answers_from_snapshot(server: RunningServer) -> bool:
    """Say whether a lookup was answered from a snapshot."""
    return (
        'kith_discovery_pages_total{source="snapshot"}'
        in httpx.get(f"{server.base_url}/metrics").text
    )


@pytest.mark.slow
def test_killed_while_building(
    database_url: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """Whatever is left of a file, gone, cut short or spoiled, is never answered from."""
    populate(database_url)
    log = tmp_path / "server.log"
    with running_server(environment, log) as server:
        person = someone(server)
        epoch_id = judge(server, person)
    path = tmp_path / "discovery" / f"{epoch_id}.snapshot"
    for round_number in range(ROUNDS):
        if path.exists():
            whole = bytearray(path.read_bytes())
            if round_number % 2:
                whole[CHANCE.randrange(4096, len(whole))] ^= 1
            path.write_bytes(whole[: len(whole) - 1000 * (round_number % 3)])
        with running_server(environment, log) as server:
            judge(server, person)
            # A random moment, from before the builder has begun to after it is done.
            time.sleep(CHANCE.uniform(0, 2))
            judge(server, person)
            server.kill()
    with running_server(environment, log) as server:

        def answered() -> bool:
            judge(server, person)
            return answers_from_snapshot(server)

        eventually(answered)
        assert not list(path.parent.glob("*.building"))
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_killed_while_rotating(
    database_url: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """A rotation that was cut off goes on where it was, and both epochs end up whole."""
    populate(database_url)
    log = tmp_path / "server.log"
    with running_server(environment, log) as server:
        person = someone(server)
        first = judge(server, person)
    with closing(Database(database_url)) as database:

        def states() -> list[str]:
            with database.read() as connection:
                return [epoch.state for epoch in epochs.read(connection)]

        for _ in range(ROUNDS):
            before = states()
            with running_server(environment, log) as server:
                command = rotating(environment, log)
                if before[-1] == "open":
                    eventually(lambda: len(states()) > len(before))  # noqa: B023
                # A random moment of the filling, or of the switch.
                time.sleep(CHANCE.uniform(0, 0.5))
                os.killpg(command.pid, signal.SIGKILL)
                command.wait()
                judge(server, person)
                server.kill()
        with running_server(environment, log) as server:
            eventually(lambda: states()[-1] == "open")
            assert judge(server, person) != first
        with database.read() as connection:
            counted = (
                select(func.count()).select_from(DirectoryEntry).group_by(DirectoryEntry.epoch)
            )
            assert set(connection.scalars(counted)) == {PEOPLE + 1}


def rotating(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Run the operator's command in a process group of its own."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "app", "discovery", "rotate"],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
