"""One epoch of the directory in memory: a snapshot, and every change since.

Owns what a worker answers from. It is never ahead of the table, and a lookup brings it up to date first,
so it is never behind what was committed when the lookup began.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from discovery.changes import Change, ChangeBatch
from discovery.hashes import WORDS, Mask, Positions, Words, sorting
from discovery.index import RECORD_WORDS, DigestIndex
from discovery.snapshot import Snapshot

#: ChangeIndex that are sorted anew with each that arrives; more of them join the others.
MAX_RECENT = 1024
NOWHERE = bytes(16)


class Matches(NamedTuple):
    """What a page of digests leads to."""

    #: Which of them lead to an account.
    here: Mask
    #: n × 2 words, the 16 bytes of each account id; of no meaning where nobody is.
    accounts: Words

    @classmethod
    def at(cls, positions: Positions, index: DigestIndex) -> "Matches":
        """Read what was found at positions of an index, -1 where it was not."""
        here = positions >= 0
        accounts = np.zeros((len(positions), RECORD_WORDS - WORDS), np.uint64)
        accounts[here] = index.records[positions[here], WORDS:]
        return cls(here, accounts)


@dataclass(frozen=True)
class ChangeIndex:
    """The last change of each digest that changed, sorted."""

    index: DigestIndex
    seqs: npt.NDArray[np.int64]
    listed: Mask

    @classmethod
    def of(cls, changes: Sequence[Change]) -> "ChangeIndex":
        """Sort changes; of a digest's the one with the highest number counts."""
        records = b"".join(
            [
                change.digest + (change.account_id.bytes if change.account_id else NOWHERE)
                for change in changes
            ]
        )
        return _last_of_each(
            np.frombuffer(records, np.uint64).reshape(-1, RECORD_WORDS),
            np.array([change.seq for change in changes], np.int64),
            np.array([change.account_id is not None for change in changes], np.bool_),
        )

    def merged(self, other: "ChangeIndex") -> "ChangeIndex":
        """Put changes together, in whatever order they were read."""
        return _last_of_each(
            np.concatenate([self.index.records, other.index.records]),
            np.concatenate([self.seqs, other.seqs]),
            np.concatenate([self.listed, other.listed]),
        )

    def apply(self, digests: Words, found: Matches, newest: npt.NDArray[np.int64]) -> None:
        """Let what changed later than `newest` prevail in what was found."""
        at = self.index.find(digests)
        changed = np.flatnonzero(at >= 0)
        changed = changed[self.seqs[at[changed]] > newest[changed]]
        at = at[changed]
        newest[changed] = self.seqs[at]
        found.here[changed] = self.listed[at]
        found.accounts[changed] = self.index.records[at, WORDS:]


def _last_of_each(records: Words, seqs: npt.NDArray[np.int64], listed: Mask) -> ChangeIndex:
    by_seq = np.argsort(seqs, kind="stable")
    order = by_seq[sorting(records[by_seq, :WORDS])]
    digests = records[order, :WORDS]
    last = np.ones(len(order), np.bool_)
    last[:-1] = (digests[1:] != digests[:-1]).any(axis=1)
    order = order[last]
    return ChangeIndex(DigestIndex.of(records[order]), seqs[order], listed[order])


class Replica:
    """A verified snapshot and the changes behind it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        #: What it was made from; the changes of another are none of its own.
        self.history = snapshot.contents.anchor.history
        #: Where the log is to be read on.
        self.position = snapshot.contents.position
        none = ChangeIndex.of([])
        #: The many, and the few that came last.
        self._changes = (none, none)
        self._seen: frozenset[int] = frozenset()
        self._lock = threading.Lock()

    @property
    def changed(self) -> int:
        """How many digests changed since the snapshot, about."""
        return sum(len(changes.seqs) for changes in self._changes)

    def absorb(self, tail: ChangeBatch) -> None:
        """Take in what was read from `position` on; in whatever order readers come, nothing is lost."""
        with self._lock:
            new = [change for change in tail.changes if change.seq not in self._seen]
            self._seen = frozenset(change.seq for change in tail.changes)
            self.position = max(self.position, tail.position)
            if new:
                many, few = self._changes
                few = few.merged(ChangeIndex.of(new))
                if len(few.seqs) > MAX_RECENT:
                    many, few = many.merged(few), ChangeIndex.of([])
                self._changes = (many, few)

    def find(self, digests: Words) -> Matches:
        """Look up digests (n × 4 words), each of which is there once."""
        found = Matches.at(self.snapshot.find(digests), self.snapshot.index)
        newest = np.full(len(digests), -1, np.int64)
        for changes in self._changes:
            if len(changes.seqs):
                changes.apply(digests, found, newest)
        return found
