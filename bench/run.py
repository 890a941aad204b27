"""One run: a fresh server, every job on it, and `/livez` before, between and after."""

import json
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import databases, jobs
from bench.load import Measured, Recorder, Script, drive, once, request
from bench.people import MANY_CONNECTIONS
from core.secrets import load_keyring
from settings import Settings
from tests.server import RunningServer, running_server

LIVEZ = request("GET", "/livez")
BUDGET = "1000000000"


@dataclass(frozen=True)
class Plan:
    """How long and how wide to measure."""

    database: str = "sqlite"
    seconds: float = 8.0
    livez_seconds: float = 3.0
    warm_up: float = 1.0
    connections: int = 8
    population: int = 100_000


@dataclass
class Result:
    """A measured job beside the two measurements of `/livez` around it."""

    name: str
    measured: Measured
    #: What is counted: the label of its latencies.
    unit: str
    livez: tuple[Measured, Measured] = field(init=False)

    @property
    def rate(self) -> float:
        """How many a second."""
        return rate(self.measured, self.unit)

    @property
    def livez_rate(self) -> float:
        """How many `/livez` a second the same server answered around it."""
        return sum(rate(around, "livez") for around in self.livez) / 2


def rate(measured: Measured, label: str) -> float:
    """Give how many of a label there were a second."""
    return len(measured.latencies[label]) / measured.seconds


def run(plan: Plan, say: Callable[[str], None]) -> list[Result]:
    """Measure every job on one fresh server."""
    with _served(plan) as (server, data_dir, url):
        meter = _Meter(server, plan, say)
        numbers = jobs.newcomers()
        code_key = load_keyring(Settings(data_dir=data_dir)).derive("codes")
        tokens: list[str] = []

        before = meter.livez()
        results = []

        def add(name: str, unit: str, make: Callable[[Recorder, int], Script]) -> None:
            nonlocal before
            result = Result(name, meter.measure(name, make), unit)
            result.livez = (before, before := meter.livez())
            results.append(result)

        add(
            "journeys (start, check, register)",
            "journey",
            lambda recorder, _: jobs.journeys(recorder, numbers, code_key, tokens.append),
        )
        # A thousand devices, so that it is not one row that is hot.
        share = max(1, min(1_000, len(tokens)) // plan.connections)
        add(
            "authenticated requests (GET /v1/account)",
            "account",
            lambda _, n: jobs.accounts(tokens[n * share : (n + 1) * share]),
        )
        say(f"filling the directory with {plan.population:,} accounts")
        authorization = (f"Authorization: Bearer {tokens[0]}",)
        parameters = json.loads(
            once(
                server.address, request("GET", "/v1/discovery/parameters", headers=authorization)
            ).body
        )
        databases.fill_directory(url, _population(parameters["salt"], plan.population))
        databases.rebuild_snapshot(server, url, data_dir)
        add(
            f"lookups of {jobs.PAGE:,} hashes against {plan.population:,} accounts",
            "lookup",
            lambda _, n: jobs.lookups(
                tokens[n], parameters["epoch"], parameters["salt"], plan.population, n
            ),
        )
        return results


class _Meter:
    def __init__(self, server: RunningServer, plan: Plan, say: Callable[[str], None]) -> None:
        self._server, self._plan, self._say = server, plan, say

    def measure(
        self, name: str, make: Callable[[Recorder, int], Script], seconds: float | None = None
    ) -> Measured:
        """Measure one job on all connections."""
        self._say(name)
        recorder = Recorder()
        return drive(
            self._server.address,
            [make(recorder, n) for n in range(self._plan.connections)],
            recorder,
            self._plan.seconds if seconds is None else seconds,
            self._plan.warm_up,
            self._server.process.pid,
        )

    def livez(self) -> Measured:
        """Measure what the server can do when it does nothing."""
        return self.measure(
            "GET /livez", lambda *_: jobs.repeat("livez", LIVEZ), self._plan.livez_seconds
        )


@contextmanager
def _served(plan: Plan) -> Iterator[tuple[RunningServer, Path, str]]:
    """Serve a fresh, migrated database with a budget for all that is asked, else the defaults."""
    with tempfile.TemporaryDirectory(prefix="kith-bench-") as directory:
        data_dir = Path(directory) / "data"
        with databases.fresh(plan.database, data_dir) as url:
            environment = {
                "KITH_DATA_DIR": str(data_dir),
                "KITH_DATABASE_URL": url,
                **MANY_CONNECTIONS,
                "KITH_DISCOVERY_BURST": BUDGET,
                "KITH_DISCOVERY_PER_DAY": BUDGET,
            }
            with running_server(environment, Path(directory) / "server.log") as server:
                yield server, data_dir, url


def _population(salt: str, size: int) -> Iterator[tuple[bytes, uuid.UUID]]:
    for n in range(jobs.LISTED, jobs.LISTED + size):
        yield jobs.digest(n, salt), uuid.UUID(int=n, version=4)
