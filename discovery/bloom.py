"""A Bloom filter beside a snapshot that does not fit in memory: most strangers cost no read from disk.

The file is bloom-filter2's; it is filled and queried as vectors. Digests are uniform, so their second and
third word are the two hashes of double hashing (Kirsch and Mitzenmacher, 2006).
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bloom_filter2 import BloomFilter

from discovery.digests import Bytes, Positions, Words

#: Of digests that are not in the table and pass.
ERROR_RATE = 0.01
BATCH = 1 << 20


def probe_bits(bloom: BloomFilter, digest: bytes) -> Iterator[int]:
    """Yield the bits of a digest, for bloom-filter2."""
    start, step = (int.from_bytes(digest[at : at + 8], "little") for at in (8, 16))
    for probe in range(bloom.num_probes_k):
        yield (start + probe * (step | 1)) % 2**64 % bloom.num_bits_m


class DigestFilter:
    """The digests that may be in a table of `capacity`; all others are not."""

    def __init__(self, path: Path, capacity: int) -> None:
        """Open the file, or create an empty one."""
        self.bloom = BloomFilter(
            max(capacity, 1), ERROR_RATE, probe_bitnoer=probe_bits, filename=(str(path), -1)
        )
        self._bits: Bytes = np.frombuffer(self.bloom.backend.mmap, np.uint8)

    def add(self, digests: Words) -> None:
        """Add digests (n × 4 words)."""
        for begins in range(0, len(digests), BATCH):
            batch = digests[begins : begins + BATCH]
            for probe in range(self.bloom.num_probes_k):
                at, bit = self._probe(batch[:, 1], batch[:, 2], probe)
                np.bitwise_or.at(self._bits, at, bit)

    def candidates(self, digests: Words) -> Positions:
        """Return the positions of digests that may be in the table: all that are, and 1 % of the others."""
        left = np.arange(len(digests))
        starts, steps = digests[:, 1], digests[:, 2]
        for probe in range(self.bloom.num_probes_k):
            at, bit = self._probe(starts, steps, probe)
            is_set = np.flatnonzero(self._bits[at] & bit)
            left, starts, steps = left[is_set], starts[is_set], steps[is_set]
        return left

    def _probe(self, starts: Words, steps: Words, probe: int) -> tuple[Positions, Bytes]:
        """Return byte and mask of one probe of each digest."""
        bits = (starts + np.uint64(probe) * (steps | np.uint64(1))) % np.uint64(
            self.bloom.num_bits_m
        )
        masks = np.left_shift(np.uint8(1), (bits & np.uint64(7)).astype(np.uint8))
        return (bits >> np.uint64(3)).astype(np.int64), masks


def file_hash(path: Path) -> bytes:
    """Return the SHA-256 of a filter's file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
