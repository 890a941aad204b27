"""A sorted table of digests that ten thousand are found in at once.

Owns the search: the first bits of a digest name a bucket, in which one digest is expected; what is not
found there goes on to the bucket's next one, all contacts of a page together. Digests of one table are
uniform, so a page costs the same however large the table is; if they were not, it would be slower, and
right all the same.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from discovery.hashes import WORDS, Positions, Words, keys_of

Starts = npt.NDArray[np.uint32]
#: Words of a record: a digest, and the 16 bytes that it leads to.
RECORD_WORDS = WORDS + 2
MAX_RECORDS = 2**32 - 1


def bits_for(count: int) -> int:
    """Give the bits of a digest that name its bucket in a table of so many: one digest a bucket."""
    return max(1, (max(count, 1) - 1).bit_length())


def bucket_starts(keys: Words, bits: int) -> Starts:
    """Give where each of 2^bits buckets begins among sorted keys, and where the last one ends."""
    firsts = np.arange(2**bits, dtype=np.uint64) << np.uint64(64 - bits)
    return np.append(np.searchsorted(keys, firsts), len(keys)).astype(np.uint32)


class DigestIndex(NamedTuple):
    """Sorted records and where their buckets begin."""

    #: n × 6 words: digest and what it leads to.
    records: Words
    #: 2^bits + 1 positions.
    starts: Starts

    @classmethod
    def of(cls, records: Words) -> "DigestIndex":
        """Index sorted records in memory."""
        return cls(records, bucket_starts(keys_of(records), bits_for(len(records))))

    def find(self, digests: Words) -> Positions:
        """Give the position of each digest (n × 4 words), -1 where it is not there."""
        shift = np.uint64(64 - (len(self.starts) - 1).bit_length() + 1)
        buckets = (keys_of(digests) >> shift).astype(np.intp)
        found = np.full(len(digests), -1, np.int64)
        looking = np.arange(len(digests))
        at = self.starts[buckets].astype(np.int64)
        end = self.starts[buckets + 1].astype(np.int64)
        while True:
            there = at < end
            looking, at, end = looking[there], at[there], end[there]
            if not len(looking):
                return found
            # The first word decides nearly always; the others are read only where it agrees.
            same = np.flatnonzero(self.records[at, 0] == digests[looking, 0])
            whole = self.records[at[same], 1:WORDS] == digests[looking[same], 1:]
            same = same[whole.all(axis=1)]
            found[looking[same]] = at[same]
            at = at + 1
            # Whoever was found looks no further.
            end[same] = 0
