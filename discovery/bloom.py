"""A Bloom filter before the search: bloom-filter2's file, filled and asked as vectors.

Owns which bits stand for a digest. A digest is uniform already, so its second and third word are the
two hashes of double hashing (Kirsch and Mitzenmacher, 2006) and nothing is hashed again. The same file
answers bloom-filter2's own `in`, through `probe_bits`. Off by default, see docs/discovery.md: the index
itself ends the search of most strangers at their empty bucket.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bloom_filter2 import BloomFilter

from discovery.hashes import Bytes, Positions, Words

#: Of strangers that pass.
ERROR_RATE = 0.01
FILL_BATCH = 1 << 20


def probe_bits(bloom: BloomFilter, digest: bytes) -> Iterator[int]:
    """Give the bits of one digest, as bloom-filter2 wants them."""
    start, step = (int.from_bytes(digest[at : at + 8], "little") for at in (8, 16))
    for probe in range(bloom.num_probes_k):
        yield (start + probe * (step | 1)) % 2**64 % bloom.num_bits_m


class Filter:
    """Tells which digests are surely not in a table of so many."""

    def __init__(self, path: Path, people: int) -> None:
        """Open the file, or make an empty one."""
        self.bloom = BloomFilter(
            max(people, 1), ERROR_RATE, probe_bitnoer=probe_bits, filename=(str(path), -1)
        )
        self._bits: Bytes = np.frombuffer(self.bloom.backend.mmap, np.uint8)

    def add(self, digests: Words) -> None:
        """Put digests in."""
        for begins in range(0, len(digests), FILL_BATCH):
            batch = digests[begins : begins + FILL_BATCH]
            for probe in range(self.bloom.num_probes_k):
                at, bit = self._probe(batch[:, 1], batch[:, 2], probe)
                np.bitwise_or.at(self._bits, at, bit)

    def candidates(self, digests: Words) -> Positions:
        """Give the places of those that may be there: all who are, and one in a hundred of others."""
        left = np.arange(len(digests))
        starts, steps = digests[:, 1], digests[:, 2]
        for probe in range(self.bloom.num_probes_k):
            at, bit = self._probe(starts, steps, probe)
            set_here = np.flatnonzero(self._bits[at] & bit)
            left, starts, steps = left[set_here], starts[set_here], steps[set_here]
        return left

    def _probe(self, starts: Words, steps: Words, probe: int) -> tuple[Positions, Bytes]:
        """Give byte and mask of one probe of each digest."""
        bits = (starts + np.uint64(probe) * (steps | np.uint64(1))) % np.uint64(
            self.bloom.num_bits_m
        )
        masks = np.left_shift(np.uint8(1), (bits & np.uint64(7)).astype(np.uint8))
        return (bits >> np.uint64(3)).astype(np.int64), masks


def file_hash(path: Path) -> bytes:
    """Give the SHA-256 of a filter's file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
