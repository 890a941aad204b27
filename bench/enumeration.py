"""`python -m bench.enumeration`: how many numbers it takes to sweep a country, by the real budget code.

A clock is simulated and nothing else: each of the sweeper's verified numbers asks about new hashes as
soon as its bucket holds a page of them, and in a new epoch about others than those it had paid for.
"""

import json
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from discovery.budget import DAY_SECONDS, Bucket, Charge, Tier, Tiers
from discovery.schemas import MAX_HASHES
from settings import Settings

SECOND_US = 1_000_000


@dataclass(frozen=True)
class Sweep:
    """What is swept, how long it may take, and what may help the sweeper."""

    numbers: int
    days: int
    page: int
    #: Epochs that begin in that time, evenly spread.
    rotations: int = 0


def swept_by_one(tier: Tier, sweep: Sweep) -> int:
    """Give how many new hashes one verified number can have answered in the time."""
    ends_us = sweep.days * DAY_SECONDS * SECOND_US
    bucket, now_us, asked, charges = Bucket(), 0, 0, 0
    lengths = ends_us // (sweep.rotations + 1)
    while now_us <= ends_us:
        epoch = 1 + min(sweep.rotations, now_us // lengths)
        bucket = bucket.as_of(now_us, tier)
        # The largest page that passes, which a sweeper finds by asking, but no small change.
        again = bucket.paid if epoch > bucket.epoch else bucket.free
        hashes = max(sweep.page, min(bucket.balance(tier).left + again, MAX_HASHES))
        charges += 1
        charge = Charge(hashes, epoch, charges.to_bytes(16, "big"))
        paid = bucket.pay(charge, tier)
        if paid is None:
            now_us += bucket.wait(charge, tier) * SECOND_US
            continue
        bucket, asked = paid, asked + hashes
    return asked


def accounts_needed(tier: Tier, sweep: Sweep) -> int:
    """Give how many verified numbers a sweep takes."""
    return -(-sweep.numbers // swept_by_one(tier, sweep))


@click.command()
@click.option("--numbers", default=10**8, show_default=True, help="Numbers to sweep.")
@click.option("--days", default=90, show_default=True, help="Days it may take.")
@click.option("--page", default=50, show_default=True, help="New hashes a sweeper waits for.")
def main(numbers: int, days: int, page: int) -> None:
    """Print how many verified numbers a sweep takes, by budget and by rotations meanwhile."""
    default = Tiers.from_settings(Settings()).default
    rows: list[dict[str, Any]] = []
    for tier in (default, Tier("twice", 2 * default.capacity, 2 * default.per_day)):
        for rotations in (0, 1, 3):
            sweep = Sweep(numbers, days, page, rotations)
            rows.append(
                {
                    "burst": tier.capacity,
                    "per_day": tier.per_day,
                    "rotations": rotations,
                    "numbers_by_one": swept_by_one(tier, sweep),
                    "accounts_needed": accounts_needed(tier, sweep),
                }
            )
    table = Table(title=f"sweeping {numbers:,} numbers in {days} days")
    for heading in rows[0]:
        table.add_column(heading.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(f"{value:,}" for value in row.values()))
    Console().print(table)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
