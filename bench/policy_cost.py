"""`python -m bench.policy_cost`: what the policy costs a text, on tables with a million past decisions.

The default policy in production modes, through the service that decides every day, each time in a
transaction of its own that is committed; what the judging takes is measured inside it. Numbers, networks
and prefixes are drawn from those that the tables hold.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import insert

from bench import databases
from bench.report import machine, percentile
from core.clock import unix_microseconds
from core.database import Base, Database, table
from core.metrics import Metrics
from core.rate_limit_statements import RateLimitCounter
from core.secrets import Keyring
from sms.metrics import SmsMetrics
from verification.metrics import VerificationMetrics
from verification.policy import traffic
from verification.policy.challenge import ChallengeService
from verification.policy.facts import SendAttempt
from verification.policy.file import load_policy
from verification.policy.models import Decision, NetworkCountry, Traffic
from verification.policy.rules import BUCKET_NAMES
from verification.policy.service import PolicyService

BATCH = 10_000
PREFIXES, COUNTRIES, NETWORKS = 20_000, 40, 50_000


def prefix(place: int) -> tuple[str, str]:
    """Name a prefix and its country."""
    return f"+{place % COUNTRIES:02d}{place:08d}", f"{place % COUNTRIES:02d}"


def attempt(random: Random, at: datetime) -> SendAttempt:
    """Draw a text that somebody asks for."""
    place, network = random.randrange(PREFIXES), random.randrange(NETWORKS)
    scope, country = prefix(place)
    return SendAttempt(
        number_digest=random.randrange(1_000_000).to_bytes(16, "big"),
        verification_nonce=random.randbytes(16),
        network=network.to_bytes(16, "big"),
        subnet=(network // 8 + NETWORKS).to_bytes(16, "big"),
        country=country,
        prefix=scope,
        number_type="mobile",
        channel="sms",
        resend=False,
        solved=True,
        at=at,
        price_micros=50_000,
    )


def decisions(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    """Draw past decisions, spread over the 30 days that they are kept."""
    random = Random(1)
    results = json.dumps([{"rule": f"rule/{n}", "verdict": "allow", "sends": 1} for n in range(13)])
    for place in range(count):
        drawn = attempt(random, now - timedelta(days=30) * (place / count))
        yield {
            "number_digest": drawn.number_digest,
            "verification_nonce": drawn.verification_nonce,
            "id": random.randbytes(16),
            "network": drawn.network,
            "subnet": drawn.subnet,
            "country": drawn.country,
            "prefix": drawn.prefix,
            "number_type": "mobile",
            "channel": "sms",
            "resend": False,
            "price_micros": drawn.price_micros,
            "solved": False,
            "verdict": "allow",
            "rule_results": results,
            "created_at": drawn.at,
            "verified_at": drawn.at if place % 4 else None,
        }


def counters(now: datetime) -> Iterator[dict[str, Any]]:
    """Give a bucket to each number of a day and to each network."""
    until = unix_microseconds(now + timedelta(hours=5))
    for number in range(200_000):
        for name in (BUCKET_NAMES["number"], BUCKET_NAMES["number-and-requester"]):
            subject = number.to_bytes(16, "big")
            yield {"subject": subject, "name": name, "used": 6, "until_us": until}
    for network in range(NETWORKS):
        subject = network.to_bytes(16, "big")
        yield {"subject": subject, "name": BUCKET_NAMES["network"], "used": 6, "until_us": until}


def spans(now: datetime) -> Iterator[dict[str, Any]]:
    """Give each prefix and country the traffic of the days and hours that are looked back at."""
    for place in range(PREFIXES):
        scope, country = prefix(place)
        for cell in traffic.traffic_keys(scope, country, now):
            if cell.scope == country and place >= COUNTRIES:
                continue
            for back in range(
                1, traffic.LOOKBACK_SPANS[cell.span] + 1, 1 if place < COUNTRIES else 4
            ):
                yield {
                    "scope": cell.scope,
                    "span": cell.span[0],
                    "start": cell.start - back,
                    "sends": 40,
                    "verified": 30,
                }


def fill(database: Database, model: type[Base], rows: Iterable[dict[str, Any]]) -> int:
    """Insert rows in batches; give their number."""
    iterator, count = iter(rows), 0
    while batch := list(islice(iterator, BATCH)):
        with database.engine.begin() as connection:
            connection.execute(insert(table(model)), batch)
        count += len(batch)
    return count


def measure(url: str, past: int, texts: int, say: Any) -> dict[str, Any]:
    """Fill a database and judge texts on it; give the figures."""
    database, now = Database(url), datetime.now(UTC)
    say(f"{database.dialect}: filling {past:,} decisions")
    filled = {
        "decisions": fill(database, Decision, decisions(past, now)),
        "limits": fill(database, RateLimitCounter, counters(now)),
        "traffic": fill(database, Traffic, spans(now)),
        "network_countries": fill(
            database,
            NetworkCountry,
            (
                {
                    "network": n.to_bytes(16, "big"),
                    "country": f"{m:02d}",
                    "until": now + timedelta(hours=12),
                }
                for n in range(NETWORKS)
                for m in range(3)
            ),
        ),
    }
    if database.dialect == "postgresql":
        with database.engine.connect().execution_options(
            isolation_level="AUTOCOMMIT"
        ) as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    policy = load_policy(None)
    keyring = Keyring((b"k" * 32,))
    metrics = Metrics()
    service = PolicyService(
        policy,
        ChallengeService(keyring, policy.challenge),
        os.urandom,
        VerificationMetrics(metrics, SmsMetrics(metrics).funnel),
        development=False,
    )
    random = Random(2)
    judging, committed, refused = [], [], 0
    for place in range(texts + 200):
        drawn = attempt(random, datetime.now(UTC))
        started = time.perf_counter()
        with database.write() as connection:
            begun = time.perf_counter()
            decision = service.decide(connection, drawn, known=lambda: False)
            evaluated = time.perf_counter()
        if place >= 200:
            judging.append(evaluated - begun)
            committed.append(time.perf_counter() - started)
            refused += decision.problem is not None
    database.close()
    return {
        "rows": filled,
        "texts": texts,
        "refused": refused,
        "judging_p50_ms": round(percentile(judging, 0.5), 3),
        "judging_p99_ms": round(percentile(judging, 0.99), 3),
        "committed_p50_ms": round(percentile(committed, 0.5), 3),
        "committed_p99_ms": round(percentile(committed, 0.99), 3),
    }


@click.command()
@click.option("--decisions", "past", default=1_000_000, show_default=True, help="In the table.")
@click.option("--texts", default=3_000, show_default=True, help="Judged and measured.")
@click.option("--database", type=click.Choice(["sqlite", "postgresql"]), help="Only this one.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(past: int, texts: int, database: str | None, file: Path | None) -> None:
    """Measure what the policy costs a text, with many past decisions."""
    progress = Console(stderr=True)
    results = {}
    for dialect in [database] if database else ["sqlite", "postgresql"]:
        with (
            tempfile.TemporaryDirectory(prefix="kith-bench-") as directory,
            databases.fresh(dialect, Path(directory)) as url,
        ):
            results[dialect] = measure(url, past, texts, progress.print)
    grid = Table(title=f"The default policy, {past:,} past decisions")
    for heading in (
        "database",
        "judging p50 ms",
        "p99 ms",
        "with begin and commit p50 ms",
        "p99 ms",
    ):
        grid.add_column(heading, justify="left" if heading == "database" else "right")
    for dialect, figures in results.items():
        names = ("judging_p50_ms", "judging_p99_ms", "committed_p50_ms", "committed_p99_ms")
        grid.add_row(dialect, *(f"{figures[name]:.2f}" for name in names))
    Console().print(grid)
    text = json.dumps({"machine": machine(), "databases": results}, indent=2)
    print(text)
    if file:
        file.write_text(text + "\n")


if __name__ == "__main__":
    main()
