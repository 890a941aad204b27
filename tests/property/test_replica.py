"""A snapshot and the changes behind it: in whatever order they are read, the last change of each prevails."""

import tempfile
from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from core.database_history import History
from discovery.changes import Change, ChangeBatch, LogMarker
from discovery.digests import digest_words
from discovery.replica import Replica
from discovery.snapshot import Contents, Snapshot, write

#: Some that differ in their first word, and some only in their last.
DIGESTS = sorted(
    [bytes([n]) * 32 for n in range(0, 250, 50)] + [bytes(31) + b"\1", bytes(31) + b"\2"]
)

accounts = st.integers(1, 9).map(lambda n: UUID(int=n))
people = st.dictionaries(st.sampled_from(DIGESTS), accounts, max_size=7)
changes = st.lists(st.tuples(st.sampled_from(DIGESTS), accounts | st.none()), max_size=40)


@given(
    people,
    changes,
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12),
    st.randoms(use_true_random=False),
    st.integers(0, 12),
)
def test_the_last_change_prevails(
    before: dict[bytes, UUID],
    after: list[tuple[bytes, UUID | None]],
    windows: list[tuple[int, int]],
    chance: object,
    max_recent: int,
) -> None:
    """Windows that overlap, repeat and come out of order end where the log ends."""
    log = [Change(seq, *change) for seq, change in enumerate(after, 1)]
    batches = [ChangeBatch(log[begin:end], 0, True) for begin, end in windows] + [
        ChangeBatch(log, 0, True)
    ]
    chance.shuffle(batches)  # type: ignore[attr-defined]
    expected: dict[bytes, UUID | None] = before | dict(after)
    with tempfile.TemporaryDirectory() as directory:
        replica = Replica(_snapshot(Path(directory), before), max_recent)
        for batch in batches:
            replica.absorb(batch)
    found = replica.find(digest_words(b"".join(DIGESTS)))
    for place, digest in enumerate(DIGESTS):
        account = UUID(bytes=found.accounts[place].tobytes()) if found.mask[place] else None
        assert account == expected.get(digest)


def _snapshot(directory: Path, people: dict[bytes, UUID]) -> Snapshot:
    path = directory / "x.snapshot"
    records = b"".join(digest + account.bytes for digest, account in sorted(people.items()))
    write(
        path,
        Contents("epoch", 0, LogMarker(0, bytes(32), History(0, 0)), 0),
        [records] if records else [],
    )
    return Snapshot.open(path, "epoch")
