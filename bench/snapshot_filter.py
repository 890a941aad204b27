"""What the Bloom filter beside a snapshot saves while the snapshot is not in memory.

Run it as `python -m bench.snapshot_filter --people 10000000`. It writes a snapshot of random records and
looks up 10,000 hashes, a quarter of them people, with and without the filter: in memory, and after the
snapshot was evicted from the page cache. The filter stays in memory.
"""

import json
import mmap
import os
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from core.database_history import History
from discovery.changes import LogMarker
from discovery.digests import RECORD_WORDS, WORDS, Words, sorting
from discovery.snapshot import Contents, Snapshot, write

EPOCH = "bench"
SIZE, PEOPLE_SHARE = 10_000, 4
ROUNDS = 9
CHANCE = np.random.default_rng(1)


def random_words(count: int, words: int) -> Words:
    """Return sorted random rows."""
    rows = CHANCE.integers(0, 2**64, (count, words), dtype=np.uint64)
    return rows[sorting(rows[:, :WORDS])]


def evict(snapshot: Snapshot, path: Path) -> None:
    """Remove a snapshot from memory, and turn read-ahead off, which hides single reads."""
    snapshot._whole.madvise(mmap.MADV_DONTNEED)
    snapshot._whole.madvise(mmap.MADV_RANDOM)
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def measure(path: Path, pages: list[Words], *, filtered: bool, evicted: bool) -> dict[str, Any]:
    """Return the medians of milliseconds and of page faults that read from disk."""
    snapshot = Snapshot.open(path, EPOCH)
    assert snapshot.filter is not None
    snapshot.filter.candidates(pages[0])
    if not filtered:
        snapshot = replace(snapshot, filter=None)
    milliseconds, reads = [], []
    for page in pages:
        if evicted:
            evict(snapshot, path)
        faults, begun = resource.getrusage(resource.RUSAGE_SELF).ru_majflt, time.perf_counter()
        found = snapshot.find(page)
        milliseconds.append(1000 * (time.perf_counter() - begun))
        reads.append(resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults)
        assert int((found >= 0).sum()) == SIZE // PEOPLE_SHARE
    return {"ms": round(statistics.median(milliseconds), 1), "reads": statistics.median(reads)}


@click.command()
@click.option("--people", default=3_000_000, show_default=True)
@click.option("--directory", type=click.Path(path_type=Path), help="Where the file goes meanwhile.")
def main(people: int, directory: Path | None) -> None:
    """Compare lookups in a snapshot with and without its filter."""
    with tempfile.TemporaryDirectory(prefix="kith-filter-", dir=directory) as folder:
        path = Path(folder) / f"{EPOCH}.snapshot"
        contents = Contents(EPOCH, 0, LogMarker(1, bytes(32), History(0, 0)), 0)
        records = random_words(people, RECORD_WORDS)
        write(
            path,
            contents,
            (records[at : at + SIZE].tobytes() for at in range(0, people, SIZE)),
            memory=0,
        )
        here = records[CHANCE.integers(0, people, (ROUNDS, SIZE // PEOPLE_SHARE)), :WORDS]
        del records
        pages = []
        for found in here:
            page = np.concatenate([found, random_words(SIZE - len(found), WORDS)])
            pages.append(page[sorting(page)])
        (beside,) = path.parent.glob("*.bloom")
        document = {
            "people": people,
            "snapshot_mb": path.stat().st_size // 10**6,
            "filter_mb": beside.stat().st_size // 10**6,
        } | {
            f"{'evicted' if evicted else 'in memory'}, {'filter' if filtered else 'no filter'}": measure(
                path, pages, filtered=filtered, evicted=evicted
            )
            for evicted in (False, True)
            for filtered in (False, True)
        }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
