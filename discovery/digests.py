"""Digests of phone numbers as numpy vectors: hashing, encoding, sets of digests and their index.

The hash is the one of the Matrix identity service. It keeps numbers out of logs and tables; it protects no
number, because anybody can hash every number that exists.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.base64url import encode

DIGEST_SIZE = 32
#: 8-byte words of a digest, and of a record: a digest and the 16 bytes of an account id.
WORDS = DIGEST_SIZE // 8
RECORD_WORDS = WORDS + 2
MAX_RECORDS = 2**32 - 1
#: A hash as text: 43 characters, the last of which has two spare bits that must be zero.
HASH_PATTERN = r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"
HASH_LENGTH = 43

Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Starts = npt.NDArray[np.uint32]

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def digest_number(e164: str, salt: str) -> bytes:
    """Return SHA-256 over UTF-8 "<E.164 digits without +> msisdn <salt>"."""
    return hashlib.sha256(f"{e164.removeprefix('+')} msisdn {salt}".encode()).digest()


def encode_hash(digest: bytes) -> str:
    """Return a digest as base64url without padding."""
    return encode(digest)


def decode_hashes(hashes: Sequence[str]) -> bytes:
    """Return the concatenated digests of hashes that match HASH_PATTERN.

    In one pass: with an `A`, six zero bits, after each hash its 44 characters are 33 whole bytes, the last of
    which is zero.
    """
    text = np.full((len(hashes), HASH_LENGTH + 1), ord("A"), np.uint8)
    joined = "".join(hashes).encode("ascii")
    text[:, :HASH_LENGTH] = np.frombuffer(joined, np.uint8).reshape(-1, HASH_LENGTH)
    raw = base64.b64decode(text.tobytes().translate(_TO_STANDARD))
    return np.frombuffer(raw, np.uint8).reshape(-1, DIGEST_SIZE + 1)[:, :DIGEST_SIZE].tobytes()


def encode_hashes(digests: Words) -> Bytes:
    """Return digests (n × 4 words) as base64url without padding (n × 43 characters)."""
    padded = np.zeros((len(digests), DIGEST_SIZE + 1), np.uint8)
    padded[:, :DIGEST_SIZE] = np.ascontiguousarray(digests).view(np.uint8)
    text = base64.urlsafe_b64encode(padded.tobytes())
    return np.frombuffer(text, np.uint8).reshape(-1, HASH_LENGTH + 1)[:, :HASH_LENGTH]


def digest_words(digests: bytes) -> Words:
    """Return concatenated digests as n × 4 words."""
    return np.frombuffer(digests, np.uint64).reshape(-1, WORDS)


def keys_of(digests: Words) -> Words:
    """Return the first 8 bytes of each digest as the number by which digests sort."""
    return digests[:, 0].byteswap()


def sorting(digests: Words) -> Positions:
    """Return the order that sorts digests as bytes; equal ones keep their order."""
    keys = keys_of(digests)
    # Unstable, and so seven times as fast, which is right as long as all keys differ.
    order = np.argsort(keys)
    ordered = keys[order]
    if not (ordered[1:] == ordered[:-1]).any():
        return order
    order = np.argsort(keys, kind="stable")
    ordered = digests[order]
    alike = ordered[1:, 0] == ordered[:-1, 0]
    if (ordered[1:] != ordered[:-1])[alike].any():
        # Only forged digests share 8 bytes and differ after them; they may cost more.
        order = np.lexsort([digests[:, word].byteswap() for word in range(WORDS - 1, -1, -1)])
    return order


@dataclass(frozen=True)
class DigestSet:
    """A set of digests, sorted."""

    #: n × 4 words.
    digests: Words
    #: The position in the request at which each came first.
    positions: Positions

    @classmethod
    def of(cls, digests: bytes) -> "DigestSet":
        """Return the set of concatenated digests, in any order and with duplicates."""
        words = digest_words(digests)
        order = sorting(words)
        ordered = words[order]
        first = np.ones(len(ordered), np.bool_)
        first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        return cls(ordered[first], order[first])

    def select(self, mask: Mask) -> "DigestSet":
        """Return the subset that a mask selects."""
        return DigestSet(self.digests[mask], self.positions[mask])

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of the sorted set: independent of order and duplicates in the request."""
        return hashlib.sha256(self.digests.tobytes()).digest()


def bits_for(count: int) -> int:
    """Return how many first bits of a digest name its bucket: one digest a bucket."""
    return max(1, (max(count, 1) - 1).bit_length())


class DigestIndex(NamedTuple):
    """Sorted records, searched for thousands of digests at once.

    The first bits of a digest name its bucket. Digests of a table are uniform, so a lookup costs the same
    however large the table is; if they were not, it would be slower and still right.
    """

    #: n × 6 words: digest and account id.
    records: Words
    #: 2^bits + 1 positions: where each bucket begins, and where the last one ends.
    starts: Starts

    @classmethod
    def of(cls, records: Words) -> "DigestIndex":
        """Index sorted records in memory."""
        keys, bits = keys_of(records), bits_for(len(records))
        firsts = np.arange(2**bits, dtype=np.uint64) << np.uint64(64 - bits)
        starts = np.append(np.searchsorted(keys, firsts), len(keys)).astype(np.uint32)
        return cls(records, starts)

    def find(self, digests: Words) -> Positions:
        """Return the position of each digest (n × 4 words), -1 for those that are not there."""
        shift = np.uint64(64 - (len(self.starts) - 1).bit_length() + 1)
        buckets = (keys_of(digests) >> shift).astype(np.intp)
        found = np.full(len(digests), -1, np.int64)
        searching = np.arange(len(digests))
        at = self.starts[buckets].astype(np.int64)
        end = self.starts[buckets + 1].astype(np.int64)
        while True:
            within = at < end
            searching, at, end = searching[within], at[within], end[within]
            if not len(searching):
                return found
            # The first word nearly always decides; the others are read only where it agrees.
            same = np.flatnonzero(self.records[at, 0] == digests[searching, 0])
            whole = self.records[at[same], 1:WORDS] == digests[searching[same], 1:]
            same = same[whole.all(axis=1)]
            found[searching[same]] = at[same]
            at = at + 1
            # End the search of those that were found.
            end[same] = 0
