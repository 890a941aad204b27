"""`python -m bench.sender_rules`: what blocking, requests and limits cost a message, by size of batch.

100 people write to each other in 50 pairs, or everybody of a batch to somebody else; all are in touch. Timed
is the evaluation inside its transaction and not the commit, which a batch has anyway; of many batches the
median counts.
"""

import random
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from uuid import uuid4

import click
from rich.console import Console
from rich.table import Table

from bench import databases
from core.database import Database
from messaging.contacts.sender_rules import SenderRules
from messaging.limits import MessageLimits
from messaging.message_types import SenderRecipient
from messaging.settings import MAX_RATE
from settings import Settings

BATCHES = (1, 64, 512)
PAIRS = (50, 512)


@click.command()
@click.option("--rounds", default=50, show_default=True, help="Batches of each size.")
def main(rounds: int) -> None:
    """Print microseconds a message on both databases."""
    shown = Table(title="Judging, microseconds a message")
    for heading in ("database", "pairs", *(f"{size} a batch" for size in BATCHES)):
        shown.add_column(heading, justify="right")
    for dialect in ("sqlite", "postgresql"):
        with (
            tempfile.TemporaryDirectory() as directory,
            databases.fresh(dialect, Path(directory)) as url,
        ):
            database = Database(url)
            for pairs in PAIRS:
                costs = _measure(database, pairs, rounds)
                shown.add_row(dialect, str(pairs), *(f"{cost:.1f}" for cost in costs))
            database.close()
    Console().print(shown)


def _measure(database: Database, pairs: int, rounds: int) -> list[float]:
    settings = Settings(messages_per_minute=MAX_RATE, messages_to_recipient_per_minute=MAX_RATE)
    rules, now = SenderRules(MessageLimits.from_settings(settings)), datetime.now(UTC)
    couples = [(uuid4(), uuid4()) for _ in range(pairs)]
    ways = [SenderRecipient(*couple) for couple in couples] + [
        SenderRecipient(b, a) for a, b in couples
    ]
    # New recipients the first time, and in touch from then on.
    for start in range(0, len(ways), 50):
        with database.write() as connection:
            rules.evaluate(connection, ways[start : start + 50], now)
    return [_median(database, rules, ways, size, rounds, now) for size in BATCHES]


def _median(
    database: Database,
    rules: SenderRules,
    ways: list[SenderRecipient],
    size: int,
    rounds: int,
    now: datetime,
) -> float:
    taken = []
    for _ in range(rounds):
        batch = random.choices(ways, k=size)
        with database.write() as connection:
            begun = time.perf_counter()
            decisions = rules.evaluate(connection, batch, now)
            taken.append(time.perf_counter() - begun)
        if any(one.refusal or one.is_request for one in decisions):
            raise RuntimeError("Not everything passed, so this measured something else.")
    return median(taken) / size * 1e6


if __name__ == "__main__":
    main()
