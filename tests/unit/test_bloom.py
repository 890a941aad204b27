"""The Bloom filter: no one who is there is turned away, and bloom-filter2 reads the same file."""

from pathlib import Path

import numpy as np
import pytest

from discovery.bloom import ERROR_RATE, DigestFilter
from discovery.digests import DigestSet
from discovery.snapshot import Snapshot, SnapshotUnusable, filter_path, write
from tests.unit.test_snapshot import CHANCE, CONTENTS, EPOCH, people

digests = CHANCE.integers(0, 2**64, size=(40_000, 4), dtype=np.uint64)
HERE, AWAY = digests[:20_000], digests[20_000:]
#: Memory of a host on which every snapshot is too large for it.
TINY = 4096


@pytest.fixture
def bloom(tmp_path: Path) -> DigestFilter:
    """A filter of 20,000 digests."""
    made = DigestFilter(tmp_path / "x.bloom", len(HERE))
    made.add(HERE)
    return made


def test_all_who_are_there_pass_and_few_others(bloom: DigestFilter) -> None:
    """The share of strangers that pass is about what it was made for."""
    assert bloom.candidates(HERE).tolist() == list(range(len(HERE)))
    assert len(bloom.candidates(AWAY)) < 2 * ERROR_RATE * len(AWAY)
    assert bloom.candidates(AWAY[:0]).tolist() == []


def test_the_library_says_the_same_of_each(bloom: DigestFilter, tmp_path: Path) -> None:
    """bloom-filter2, digest by digest through its own file, agrees with the vectors."""
    again = DigestFilter(tmp_path / "x.bloom", len(HERE))
    passing = set(again.candidates(AWAY).tolist())
    for place in [*range(2_000), *passing]:
        assert (AWAY[place].tobytes() in again.bloom) == (place in passing)
        assert HERE[place].tobytes() in again.bloom


def test_what_the_library_adds_the_vectors_find(tmp_path: Path) -> None:
    """And the other way round."""
    made = DigestFilter(tmp_path / "x.bloom", 1_000)
    for digest in HERE[:1_000]:
        made.bloom.add(digest.tobytes())
    assert len(made.candidates(HERE[:1_000])) == 1_000


@pytest.mark.parametrize("count", [0, 1, 30_000])
def test_a_snapshot_with_a_filter_finds_the_same(tmp_path: Path, count: int) -> None:
    """Whoever is in the table is found through the filter, and nobody else."""
    path, records = tmp_path / "x.snapshot", people(count)
    write(path, CONTENTS, [b"".join(records)] if records else [], memory=TINY)
    snapshot = Snapshot.open(path, EPOCH)
    assert snapshot.filter is not None
    page = DigestSet.of(b"".join(record[:32] for record in records) + AWAY[:500].tobytes())
    assert (snapshot.find(page.digests) == snapshot.index.find(page.digests)).all()
    assert int((snapshot.find(page.digests) >= 0).sum()) == count


@pytest.mark.parametrize(("damage", "reason"), [("gone", "missing"), ("bit", "corrupted")])
def test_a_filter_that_is_wrong_makes_the_snapshot_unusable(
    tmp_path: Path, damage: str, reason: str
) -> None:
    """One cleared bit would hide a person."""
    path = tmp_path / "x.snapshot"
    write(path, CONTENTS, [b"".join(people(100))], memory=TINY)
    beside = filter_path(path, CONTENTS.marker)
    whole = bytearray(beside.read_bytes())
    whole[7] ^= 16
    beside.write_bytes(whole)
    if damage == "gone":
        beside.unlink()
    with pytest.raises(SnapshotUnusable) as refused:
        Snapshot.open(path, EPOCH)
    assert refused.value.reason == reason
