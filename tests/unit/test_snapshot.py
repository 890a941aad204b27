"""The file of a snapshot: what is written is found, and nothing that is wrong is answered from."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.database_history import History
from discovery.changes import LogMarker
from discovery.digests import RECORD_WORDS, DigestIndex, DigestSet, digest_words
from discovery.snapshot import HEADER_SIZE, PAGE_SIZE, Contents, Snapshot, SnapshotUnusable, write

EPOCH = "AbCd1234"
CONTENTS = Contents(EPOCH, 77, LogMarker(5, b"a" * 32, History(7, 3)), 1_772_000_000)
CHANCE = np.random.default_rng(7)


def people(count: int) -> list[bytes]:
    """Make up records, sorted."""
    return sorted(CHANCE.bytes(48) for _ in range(count))


def open_whole(path: Path, epoch: str = EPOCH) -> Snapshot:
    """Open and verify a snapshot."""
    snapshot = Snapshot.open(path, epoch)
    for _ in snapshot.verify():
        pass
    return snapshot


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the snapshot is."""
    return tmp_path / "x.snapshot"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000, 30_000])
def test_who_was_written_is_found_and_nobody_else(path: Path, count: int) -> None:
    """From nobody to more than a block, in pages of any size."""
    records = people(count)
    pages = [b"".join(records[start : start + 7_000]) for start in range(0, count, 7_000)]
    assert write(path, CONTENTS, pages) == count
    snapshot = open_whole(path)
    assert snapshot.contents == CONTENTS
    page = DigestSet.of(b"".join([record[:32] for record in records] + [os.urandom(32)] * 3))
    found = snapshot.index.find(page.digests)
    assert int((found >= 0).sum()) == count
    assert snapshot.index.records[found[found >= 0]].tobytes() == b"".join(records)


def damage(path: Path, kind: str) -> str:
    """Do something to a snapshot; give the reason it is to be refused for."""
    whole = bytearray(path.read_bytes())
    if kind == "gone":
        path.unlink()
        return "missing"
    if kind == "other file":
        whole = bytearray(os.urandom(PAGE_SIZE * 2))
        reason = "foreign"
    elif kind == "other version":
        whole[8] += 1
        reason = "foreign"
    elif kind.startswith("cut"):
        del whole[
            {"cut to nothing": 0, "cut in header": 100, "cut in records": PAGE_SIZE + 70}.get(
                kind, -1
            ) :
        ]
        reason = "cut-short"
    elif kind == "longer":
        whole += b"x"
        reason = "cut-short"
    else:
        whole[{"header": 60, "first": PAGE_SIZE, "middle": len(whole) // 2, "last": -1}[kind]] ^= 4
        reason = "corrupted"
    path.write_bytes(whole)
    return reason


@pytest.mark.parametrize(
    "kind",
    [
        *("gone", "other file", "other version", "header", "first", "middle", "last", "longer"),
        *("cut to nothing", "cut in header", "cut in records", "cut by a byte"),
    ],
)
def test_a_damaged_file_is_refused(path: Path, kind: str) -> None:
    """A bit that is wrong, wherever it is, and a byte that is missing are found before any answer."""
    write(path, CONTENTS, [b"".join(people(1000))])
    reason = damage(path, kind)
    with pytest.raises(SnapshotUnusable) as refused:
        open_whole(path)
    assert refused.value.reason == reason


def test_every_byte_counts(path: Path) -> None:
    """Each byte of a file is covered by a checksum, but the padding of the header's page."""
    write(path, CONTENTS, [b"".join(people(2))])
    whole = path.read_bytes()
    for at in [*range(HEADER_SIZE), *range(PAGE_SIZE, len(whole))]:
        wrong = bytearray(whole)
        wrong[at] ^= 1
        path.write_bytes(wrong)
        with pytest.raises(SnapshotUnusable):
            open_whole(path)


def test_another_epochs_file_is_refused(path: Path) -> None:
    """A snapshot answers only for the epoch it was made of."""
    write(path, CONTENTS, [])
    with pytest.raises(SnapshotUnusable) as refused:
        Snapshot.open(path, "other")
    assert refused.value.reason == "foreign"


def test_a_snapshot_stays_readable_when_another_takes_its_name(path: Path) -> None:
    """Whoever has mapped the old file goes on with it, and can tell that there is a new one."""
    record = people(1)[0]
    write(path, CONTENTS, [record])
    old = open_whole(path)
    write(path, CONTENTS, [])
    assert open_whole(path).identity != old.identity
    assert old.index.find(digest_words(record[:32])).tolist() == [0]


def test_what_is_not_sorted_is_not_written(path: Path) -> None:
    """A table that came in another order leaves no file behind that finds half of it."""
    one, two = people(2)
    for pages in ([two + one], [two, one]):
        with pytest.raises(ValueError, match="order"):
            write(path, CONTENTS, pages)
    assert not path.exists()


digests = st.binary(min_size=32, max_size=32)
#: Digests of which many share their first 8 bytes, and some all but the last.
alike = st.tuples(st.sampled_from([b"\0" * 8, b"\xff" * 8, b"12345678"]), digests).map(
    lambda pair: (pair[0] + pair[1])[:32]
) | st.integers(0, 3).map(lambda n: b"\x80" * 31 + bytes([n]))


@given(st.lists(digests | alike, max_size=60), st.lists(digests | alike, max_size=60))
def test_digests_that_look_alike_are_told_apart(here: list[bytes], asked: list[bytes]) -> None:
    """Whatever shares a bucket or eight bytes, each digest is found at its place or not at all."""
    sorted_here = sorted(set(here))
    packed = b"".join(digest + digest[:16] for digest in sorted_here)
    index = DigestIndex.of(np.frombuffer(packed, np.uint64).reshape(-1, RECORD_WORDS))
    page = DigestSet.of(b"".join(asked + here))
    assert page.digests.tobytes() == b"".join(sorted(set(asked + here)))
    assert [
        (asked + here).index(page.digests[n].tobytes()) for n in range(len(page.digests))
    ] == page.positions.tolist()
    expected = [
        sorted_here.index(digest) if digest in here else -1 for digest in sorted(set(asked + here))
    ]
    assert index.find(page.digests).tolist() == expected
