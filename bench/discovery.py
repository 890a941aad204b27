"""`python -m bench.discovery`: lookups at any size of the directory, beside what they are compared with.

One fresh server with default settings, but for a budget that holds all that is asked here. Pages hold
hashes of which a quarter are people.
"""

import base64
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
import httpx
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from bench import databases, population
from bench.load import Answer, Recorder, Request, Script, drive, request
from bench.people import MANY_CONNECTIONS
from bench.population import Records
from bench.report import machine, percentile
from core.database import Database, table
from discovery import entries, epochs
from discovery.budget import MAX_REMEMBERED_CHARGES
from discovery.digests import DigestSet
from discovery.epochs import Epoch
from discovery.replica import Replica
from discovery.schemas import HASHES_TYPE
from discovery.snapshot import Snapshot
from discovery.snapshot_builder import BuildRequest, build
from interop.matrix.accounts import TOKEN_PREFIX, user_uuid
from interop.matrix.models import MatrixBinding, MatrixToken, MatrixUser
from tests.server import RunningServer, running_server
from tokens.token_issuer import SECRET_SIZE, Credential

LOOKUPS = "/v1/discovery/lookups"
MATRIX_LOOKUP = "/_matrix/identity/v2/lookup"
#: Another page each time; more of them than charges that a budget knows again.
PAGES = 24
SHARE = 4
RETENTION = 100_000
NUMBER = "+4915112345678"
#: Of the Matrix user, whose budget is another one's.
MATRIX_NUMBER = "+4915112345679"


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    database: str
    users: int
    seconds: float
    page: int
    arrivals: float
    #: Of a thousand hashes the server may be asked about: all that this run can.
    budget: int = 1_000_000_000


@dataclass
class Requester:
    """Someone with a token, who prepares requests."""

    token: str
    matrix_token: str
    epoch: Epoch
    sample: Records
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(9))

    def page(self, size: int) -> bytes:
        """Give digests in random order, a quarter of them people."""
        digests = self.chance.integers(0, 2**64, size=(size, 4), dtype=np.uint64)
        here = self.chance.choice(len(self.sample), size // SHARE)
        digests[: size // SHARE] = self.sample[here, :4]
        return digests[self.chance.permutation(size)].tobytes()

    def as_json(self, page: bytes, sync_token: str | None = None) -> bytes:
        """Ask in JSON; with a token all hashes are known."""
        hashes = [_encoded(page[at : at + 32]) for at in range(0, len(page), 32)]
        body: dict[str, Any] = {"epoch": self.epoch.id, "hashes": hashes}
        if sync_token:
            body |= {"hashes": [], "known": hashes, "sync_token": sync_token}
        return request("POST", LOOKUPS, json.dumps(body).encode(), (self.authorization,))

    def in_binary(self, page: bytes, sync_token: str | None = None) -> bytes:
        """Ask in binary; with a token all hashes are known."""
        query = f"?epoch={self.epoch.id}"
        if sync_token:
            query += f"&known={len(page) // 32}&sync_token={sync_token}"
        asked = request("POST", LOOKUPS + query, page, (self.authorization,))
        return asked.replace(b"application/json", HASHES_TYPE.encode(), 1)

    def by_matrix(self, page: bytes) -> bytes:
        """Ask through the Matrix adapter."""
        hashes = [_encoded(page[at : at + 32]) for at in range(0, len(page), 32)]
        body = {"algorithm": "sha256", "pepper": self.epoch.salt, "addresses": hashes}
        authorization = f"Authorization: Bearer {self.matrix_token}"
        return request("POST", MATRIX_LOOKUP, json.dumps(body).encode(), (authorization,))

    @property
    def authorization(self) -> str:
        """The header field that authenticates."""
        return f"Authorization: Bearer {self.token}"


def _encoded(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Bench:
    """One server and what is asked of it."""

    def __init__(
        self, plan: Plan, server: RunningServer, requester: Requester, say: Callable[[str], None]
    ):
        self.plan, self.server, self.requester, self._say = plan, server, requester, say
        self.rows: list[dict[str, Any]] = []

    def measure(self, name: str, scripts: Sequence[Script], size: int, **more: Any) -> float:
        """Measure one kind of request on as many connections as there are scripts; give the median."""
        self._say(name)
        recorder = Recorder()
        measured = drive(
            *(self.server.address, scripts, recorder, self.plan.seconds, 1.0),
            self.server.process.pid,
        )
        timings = measured.latencies["page"]
        median = percentile(timings, 0.5)
        self.rows.append(
            {
                "name": name,
                "hashes": size,
                "pages_per_second": round(len(timings) / measured.seconds, 1),
                "contacts_per_second": round(size * len(timings) / measured.seconds),
                "contacts_per_cpu_second": round(size * len(timings) / measured.server_cpu),
                "p50_ms": round(median, 3),
                "p99_ms": round(percentile(timings, 0.99), 3),
                "server_cpu_ms": round(1000 * measured.server_cpu / len(timings), 3),
                **more,
            }
        )
        return median

    def everything(self) -> None:
        """Measure pages of both forms, new and known, large and small."""
        requester = self.requester
        self.measure("GET /livez", [_repeated([request("GET", "/livez")])], 0)
        for size in (self.plan.page, 100):
            pages = [requester.page(size) for _ in range(PAGES)]
            for form, prepare in (("JSON", requester.as_json), ("binary", requester.in_binary)):
                new = [prepare(page) for page in pages]
                self.measure(f"{form}, {size:,} new hashes", [_repeated(new)], size)
                known = [prepare(page, self._token(page)) for page in pages]
                self.measure(f"{form}, {size:,} known hashes", [_repeated(known)], size)
            matrix = [requester.by_matrix(page) for page in pages]
            self.measure(f"Matrix, {size:,} new hashes", [_repeated(matrix)], size)
            # Fewer pages than charges that a budget knows again.
            self.measure(
                f"Matrix, {size:,} known hashes", [_repeated(matrix[:MAX_REMEMBERED_CHARGES])], size
            )
        self.measure("GET /livez again", [_repeated([request("GET", "/livez")])], 0)

    def while_others_arrive(self, url: str) -> dict[str, float]:
        """Measure known pages while people register; count those whom a later lookup misses."""
        size, requester = self.plan.page, self.requester
        pages = [requester.page(size) for _ in range(PAGES)]
        known = [requester.in_binary(page, self._token(page)) for page in pages]
        before = self.measure("binary, nobody arriving", [_repeated(known)], size)
        watched = Watched()
        with _arriving(url, self.plan.arrivals) as output:
            script = _watching(requester, known, output, watched)
            name = f"binary, {self.plan.arrivals:,.0f} arriving a second"
            begun = time.perf_counter()
            during = self.measure(name, [script], size)
            seconds = time.perf_counter() - begun
        return {
            "slower_by": round(during / before - 1, 3),
            "arrived_per_second": round(watched.arrived / seconds, 1),
            "asked_about": watched.asked,
            "missed": watched.missed,
        }

    def _token(self, page: bytes) -> str:
        headers = {"Authorization": f"Bearer {self.requester.token}", "Content-Type": HASHES_TYPE}
        answer = httpx.post(
            f"{self.server.base_url}{LOOKUPS}?epoch={self.requester.epoch.id}",
            content=page,
            headers=headers,
        )
        return str(answer.raise_for_status().headers["Kith-Sync-Token"])


def _repeated(requests: Sequence[bytes]) -> Script:
    while True:
        for data in requests:
            answer = yield Request("page", data)
            _expect(answer)


def _expect(answer: Answer) -> None:
    if answer.status != 200:
        raise RuntimeError(f"wanted 200, got {answer.status}: {answer.body[:300]!r}")


@dataclass
class Watched:
    """Who arrived, and of those who had when a lookup began, how many it did not find."""

    arrived: int = 0
    asked: int = 0
    missed: int = 0


def _watching(requester: Requester, pages: list[bytes], output: int, watched: Watched) -> Script:
    """Ask about the last who arrived after every other page; `output` is where they are told of."""
    rest, last = b"", list[bytes]()
    while True:
        for page in pages:
            _expect((yield Request("page", page)))
            *lines, rest = (rest + _read(output)).split(b"\n")
            watched.arrived += len(lines)
            last = (last + [bytes.fromhex(line.decode()) for line in lines])[-20:]
            answer = yield Request("newcomers", requester.in_binary(b"".join(last)))
            _expect(answer)
            watched.asked += len(last)
            watched.missed += len(last) - len(answer.body) // 20


def _read(output: int) -> bytes:
    try:
        return os.read(output, 1 << 20)
    except BlockingIOError:
        return b""


@contextmanager
def _arriving(url: str, pace: float) -> Iterator[int]:
    command = [sys.executable, "-m", "bench.arrivals", url, str(pace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        try:
            yield process.stdout.fileno()
        finally:
            process.kill()


def matching(url: str, snapshot: Snapshot, requester: Requester, size: int) -> Any:
    """Time the matching alone, in this process: milliseconds a page by what answers it."""
    database = Database(url)
    pages = [requester.page(size) for _ in range(PAGES)]
    names = ",".join(f":d{n}" for n in range(size))
    by_in = text(
        f"SELECT digest, account_id FROM directory_entries WHERE epoch = 1 AND digest IN ({names})"
    )

    replica = Replica(snapshot)

    def by_snapshot(page: bytes) -> object:
        return replica.find(DigestSet.of(page).digests)

    def plain_in(page: bytes) -> object:
        values = {f"d{n}": page[32 * n : 32 * n + 32] for n in range(size)}
        with database.read() as connection:
            return connection.execute(by_in, values).all()

    def table(page: bytes) -> object:
        with database.read() as connection:
            return entries.match(connection, 1, page)

    found: dict[str, Callable[[bytes], object]] = {
        "snapshot": by_snapshot,
        "table, one blob or array": table,
        "SQL IN": plain_in,
    }
    milliseconds = {}
    for name, find in found.items():
        times = []
        for page in pages * 2:
            begun = time.perf_counter()
            find(page)
            times.append(1000 * (time.perf_counter() - begun))
        milliseconds[name] = round(statistics.median(times), 3)
    database.close()
    return milliseconds


def memory(server: RunningServer) -> dict[str, float]:
    """Give the worker's own memory and what it shares of the directory, in MB."""
    (worker,) = psutil.Process(server.process.pid).children()
    smaps = Path(f"/proc/{worker.pid}/smaps").read_text()
    own = shared = 0
    in_directory = False
    for line in smaps.splitlines():
        if re.match(r"[0-9a-f]+-", line):
            in_directory = line.endswith(".snapshot")
        elif in_directory and line.startswith("Rss:"):
            shared += int(line.split()[1])
        elif not in_directory and line.startswith(("Private_Clean:", "Private_Dirty:")):
            own += int(line.split()[1])
    return {"own_mb": round(own / 1024, 1), "directory_mb": round(shared / 1024, 1)}


@contextmanager
def serving(plan: Plan, url: str, place: Path) -> Iterator[RunningServer]:
    """Serve a database with a budget that holds all that is asked."""
    environment = {
        "KITH_DATA_DIR": str(place),
        "KITH_DATABASE_URL": url,
        **MANY_CONNECTIONS,
        "KITH_DISCOVERY_BURST": str(plan.budget),
        "KITH_DISCOVERY_PER_DAY": str(plan.budget),
        "KITH_LOG_LEVEL": "warning",
        "KITH_DISCOVERY_NETWORK_ALERT_PER_DAY": str(2**30),
        "KITH_DISCOVERY_ALERT_PER_DAY": str(2**30),
        "KITH_MATRIX_ENABLED": "true",
        "KITH_MATRIX_SERVER_NAME": "chat.example",
        "KITH_MATRIX_HOMESERVER_LOOKUPS_PER_DAY": str(plan.budget),
    }
    with running_server(environment, place / "server.log") as server:
        yield server


def register(server: RunningServer) -> str:
    """Register one person and give her token."""
    with httpx.Client(base_url=server.base_url, timeout=60) as client:
        started = client.post("/v1/verifications", json={"phone_number": NUMBER}).json()
        texts = client.get("/dev/outbox.json", params={"to": NUMBER}).json()["messages"]
        found = re.search(r"\d{6}", texts[0]["body"])
        assert found
        code = {"code": found.group()}
        client.post(f"/v1/verifications/{started['id']}/checks", json=code)
        body = {"verification_id": started["id"]}
        return str(client.post("/v1/registrations", json=body).json()["device_token"])


def register_matrix_user(url: str) -> str:
    """Give the access token of a Matrix user with a bound number, put in past homeserver and code."""
    credential = Credential((user_uuid("@bench:hs.example"),), os.urandom(SECRET_SIZE))
    (who,) = credential.ids
    now = datetime.now(UTC)
    times = {"created_at": now, "last_used_at": now}
    account_id = uuid4()
    user = {
        "id": who,
        "user_id": "@bench:hs.example",
        "accepted": "",
        "bound_account": account_id,
        **times,
    }
    binding = {
        "account_id": account_id,
        "user_id": "@bench:hs.example",
        "e164": MATRIX_NUMBER,
        "bound_at": now,
    }
    database = Database(url)
    with database.write() as connection:
        connection.execute(table(MatrixUser).insert().values(user))
        connection.execute(table(MatrixBinding).insert().values(binding))
        token = {"matrix_user_id": who, "token_hash": credential.secret_hash, **times}
        connection.execute(table(MatrixToken).insert().values(token))
    database.close()
    return credential.format(TOKEN_PREFIX)


def until_mapped(server: RunningServer) -> float:
    """Wait until the worker answers from its snapshot; give the seconds since it was ready."""
    begun = time.perf_counter()
    while 'outcome="adopted"' not in httpx.get(f"{server.base_url}/metrics").text:
        time.sleep(0.05)
    return time.perf_counter() - begun


def timed_build(database: Database, epoch: Epoch, folder: Path) -> float:
    """Build a snapshot in this process and give the seconds."""
    request = BuildRequest(str(folder), epoch.id, epoch.number)
    begun = time.perf_counter()
    build(database, request, lambda: datetime.now(UTC), os.urandom)
    return round(time.perf_counter() - begun, 2)


def run(plan: Plan, url: str, place: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything at one size."""
    database = Database(url)
    with database.write() as connection:
        (epoch,) = epochs.read_or_begin(connection, lambda: datetime.now(UTC), os.urandom)
    document: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "plan": vars(plan),
    }
    with serving(plan, url, place) as server:
        token = register(server)
        until_mapped(server)
        document["memory_of_an_empty_directory"] = memory(server)
    say(f"filling the directory with {plan.users:,} people")
    begun = time.perf_counter()
    sample = population.fill(database, population.people(plan.users), RETENTION)
    document["fill_seconds"] = round(time.perf_counter() - begun, 1)
    requester = Requester(token, register_matrix_user(url), epoch, sample)
    say("building the snapshot")
    directory = place / "discovery"
    (directory / f"{epoch.id}.snapshot").unlink()
    document["build_seconds"] = timed_build(database, epoch, directory)
    snapshot = Snapshot.open(directory / f"{epoch.id}.snapshot", epoch.id)
    database.close()
    begun = time.perf_counter()
    for _ in snapshot.verify():
        pass
    document["verify_seconds"] = round(time.perf_counter() - begun, 3)
    document["snapshot_mb"] = round(
        (directory / f"{epoch.id}.snapshot").stat().st_size / 1_000_000, 1
    )
    say("matching alone")
    document["matching_ms"] = {
        size: matching(url, snapshot, requester, size) for size in (plan.page, 100)
    }
    with serving(plan, url, place) as server:
        document["mapped_after_seconds"] = round(until_mapped(server), 2)
        bench = Bench(plan, server, requester, say)
        bench.everything()
        # On SQLite only the worker itself may write.
        if plan.arrivals and plan.database == "postgresql":
            document["arrivals"] = bench.while_others_arrive(url)
        document["memory"] = memory(server)
        document["http"] = bench.rows
    return document


def show(console: Console, document: dict[str, Any]) -> None:
    """Print a run as tables."""
    plan = document["plan"]
    title = f"{plan['users']:,} people on {plan['database']}, one connection"
    table = Table(title=title)
    table.add_column("request", min_width=30)
    for heading in ("contacts/s", "by CPU", "pages/s", "p50 ms", "p99 ms", "CPU ms"):
        table.add_column(heading, justify="right")
    for row in document["http"]:
        table.add_row(
            row["name"],
            f"{row['contacts_per_second']:,}",
            f"{row['contacts_per_cpu_second']:,}",
            f"{row['pages_per_second']:,}",
            f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.2f}",
            f"{row['server_cpu_ms']:.2f}",
        )
    console.print(table)
    alone = Table(title="matching alone, ms a page")
    alone.add_column("by")
    for size in document["matching_ms"]:
        alone.add_column(f"{size:,} hashes", justify="right")
    for name in next(iter(document["matching_ms"].values())):
        alone.add_row(name, *(f"{by[name]:.3f}" for by in document["matching_ms"].values()))
    console.print(alone)
    for name in (
        *("fill_seconds", "build_seconds", "verify_seconds", "snapshot_mb", "mapped_after_seconds"),
        *("memory_of_an_empty_directory", "memory", "arrivals"),
    ):
        if name in document:
            console.print(f"{name.replace('_', ' ')}: {document[name]}")


@click.command()
@click.option("--users", default=1_000_000, show_default=True, help="People in the directory.")
@click.option("--database", type=click.Choice(["sqlite", "postgresql"]), default="sqlite")
@click.option("--seconds", default=5.0, show_default=True, help="Time a kind is measured.")
@click.option("--page", default=10_000, show_default=True, help="Hashes of a large page.")
@click.option("--arrivals", default=1_000.0, show_default=True, help="Registrations a second.")
@click.option("--directory", type=click.Path(path_type=Path), help="Where the data goes meanwhile.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(directory: Path | None, file: Path | None, **options: Any) -> None:
    """Measure lookups against a directory of any size."""
    plan = Plan(**options)
    progress = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="kith-discovery-", dir=directory) as name:
        place = Path(name)
        with databases.fresh(plan.database, place) as url:
            document = run(plan, url, place, lambda step: progress.print(f"… {step}", style="dim"))
    show(Console(), document)
    print(json.dumps(document, indent=2))
    if file:
        file.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
