"""One epoch of the directory in memory: a snapshot and every change since.

A lookup first reads the changes that were committed before it began, so its answer is never older than
that.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from discovery.changes import Change, ChangeBatch
from discovery.digests import RECORD_WORDS, WORDS, DigestIndex, Mask, Positions, Words, sorting
from discovery.snapshot import Snapshot

#: Recent changes, which are sorted again with each batch; above this they join the older ones.
MAX_RECENT = 1024
_NOWHERE = bytes(16)


class Matches(NamedTuple):
    """The accounts of looked-up digests."""

    #: Which digests lead to an account.
    mask: Mask
    #: n × 2 words, the 16 bytes of each account id; meaningless outside the mask.
    accounts: Words

    @classmethod
    def at(cls, positions: Positions, index: DigestIndex) -> "Matches":
        """Return the matches at positions of an index; -1 is none."""
        mask = positions >= 0
        accounts = np.zeros((len(positions), RECORD_WORDS - WORDS), np.uint64)
        accounts[mask] = index.records[positions[mask], WORDS:]
        return cls(mask, accounts)


@dataclass(frozen=True)
class ChangeIndex:
    """The last change of each changed digest, sorted."""

    index: DigestIndex
    seqs: npt.NDArray[np.int64]
    listed: Mask

    @classmethod
    def of(cls, changes: Sequence[Change]) -> "ChangeIndex":
        """Index changes; of each digest the one with the highest number counts."""
        records = b"".join(
            [
                change.digest + (change.account_id.bytes if change.account_id else _NOWHERE)
                for change in changes
            ]
        )
        return _last_of_each(
            np.frombuffer(records, np.uint64).reshape(-1, RECORD_WORDS),
            np.array([change.seq for change in changes], np.int64),
            np.array([change.account_id is not None for change in changes], np.bool_),
        )

    def merged(self, other: "ChangeIndex") -> "ChangeIndex":
        """Return both together, in whatever order they were read."""
        return _last_of_each(
            np.concatenate([self.index.records, other.index.records]),
            np.concatenate([self.seqs, other.seqs]),
            np.concatenate([self.listed, other.listed]),
        )

    def apply(self, digests: Words, matches: Matches, newest: npt.NDArray[np.int64]) -> None:
        """Apply changes with a higher number than `newest`, which is updated, to matches."""
        at = self.index.find(digests)
        changed = np.flatnonzero(at >= 0)
        changed = changed[self.seqs[at[changed]] > newest[changed]]
        at = at[changed]
        newest[changed] = self.seqs[at]
        matches.mask[changed] = self.listed[at]
        matches.accounts[changed] = self.index.records[at, WORDS:]


def _last_of_each(records: Words, seqs: npt.NDArray[np.int64], listed: Mask) -> ChangeIndex:
    by_seq = np.argsort(seqs, kind="stable")
    order = by_seq[sorting(records[by_seq, :WORDS])]
    digests = records[order, :WORDS]
    last = np.ones(len(order), np.bool_)
    last[:-1] = (digests[1:] != digests[:-1]).any(axis=1)
    order = order[last]
    return ChangeIndex(DigestIndex.of(records[order]), seqs[order], listed[order])


class Replica:
    """A verified snapshot and the changes since."""

    def __init__(self, snapshot: Snapshot, max_recent: int = MAX_RECENT) -> None:
        self.snapshot = snapshot
        #: Of the log that the snapshot belongs to.
        self.history = snapshot.contents.marker.history
        #: Where the log is read next.
        self.position = snapshot.contents.position
        self._max_recent = max_recent
        none = ChangeIndex.of([])
        #: Older and recent changes.
        self._changes = (none, none)
        self._seen: frozenset[int] = frozenset()
        self._lock = threading.Lock()

    @property
    def changed(self) -> int:
        """About how many digests changed since the snapshot."""
        return sum(len(changes.seqs) for changes in self._changes)

    def absorb(self, batch: ChangeBatch) -> None:
        """Add changes read from `position` on; concurrent readers may come in any order."""
        with self._lock:
            new = [change for change in batch.changes if change.seq not in self._seen]
            self._seen = frozenset(change.seq for change in batch.changes)
            self.position = max(self.position, batch.position)
            if new:
                older, recent = self._changes
                recent = recent.merged(ChangeIndex.of(new))
                if len(recent.seqs) > self._max_recent:
                    older, recent = older.merged(recent), ChangeIndex.of([])
                self._changes = (older, recent)

    def find(self, digests: Words) -> Matches:
        """Return the matches of distinct digests (n × 4 words)."""
        matches = Matches.at(self.snapshot.find(digests), self.snapshot.index)
        newest = np.full(len(digests), -1, np.int64)
        for changes in self._changes:
            if len(changes.seqs):
                changes.apply(digests, matches, newest)
        return matches
