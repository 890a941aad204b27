"""Hashes of numbers: how they are made, and how a page of them is read from the wire and answered.

Owns the definition that the Matrix identity service also uses, and the one form in which the rest of
discovery handles many hashes: a `DigestSet`, a set as vectors. A hash only keeps numbers out of logs and
tables: whoever can hash every number there is can reverse it.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from core.base64url import encode

DIGEST_SIZE = 32
#: Words of 8 bytes in a digest.
WORDS = DIGEST_SIZE // 8
#: One hash as text: 43 characters whose last holds two spare bits, which must be zero.
HASH_PATTERN = r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"
HASH_LENGTH = 43

Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def digest_number(e164: str, salt: str) -> bytes:
    """Hash a number: SHA-256 over UTF-8 "<E.164 digits without +> msisdn <salt>"."""
    return hashlib.sha256(f"{e164.removeprefix('+')} msisdn {salt}".encode()).digest()


def encode_hash(digest: bytes) -> str:
    """Write a digest as the wire does: base64url without padding."""
    return encode(digest)


def decode_hashes(hashes: Sequence[str]) -> bytes:
    """Read hashes that match HASH_PATTERN; give their digests one after the other.

    All in one go: with an `A`, six zero bits, after each hash its 44 characters are 33 whole bytes,
    the last of which is zero.
    """
    text = np.full((len(hashes), HASH_LENGTH + 1), ord("A"), np.uint8)
    joined = "".join(hashes).encode("ascii")
    text[:, :HASH_LENGTH] = np.frombuffer(joined, np.uint8).reshape(-1, HASH_LENGTH)
    raw = base64.b64decode(text.tobytes().translate(_TO_STANDARD))
    return np.frombuffer(raw, np.uint8).reshape(-1, DIGEST_SIZE + 1)[:, :DIGEST_SIZE].tobytes()


def encode_hashes(digests: Words) -> Bytes:
    """Write digests (n × 4 words) as the wire does: n × 43 characters."""
    padded = np.zeros((len(digests), DIGEST_SIZE + 1), np.uint8)
    padded[:, :DIGEST_SIZE] = np.ascontiguousarray(digests).view(np.uint8)
    text = base64.urlsafe_b64encode(padded.tobytes())
    return np.frombuffer(text, np.uint8).reshape(-1, HASH_LENGTH + 1)[:, :HASH_LENGTH]


def keys_of(digests: Words) -> Words:
    """Give the first 8 bytes of each digest as the number by which digests sort."""
    return digests[:, 0].byteswap()


def digest_words(digests: bytes) -> Words:
    """Look at digests, one after the other, as n × 4 words."""
    return np.frombuffer(digests, np.uint64).reshape(-1, WORDS)


def sorting(digests: Words) -> Positions:
    """Give the order in which digests sort as bytes do; equal ones keep theirs."""
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
        # Digests that share 8 bytes and differ after them are made up, and may cost more.
        order = np.lexsort([digests[:, word].byteswap() for word in range(WORDS - 1, -1, -1)])
    return order


@dataclass(frozen=True)
class DigestSet:
    """A set of digests: each once, in the order of their bytes."""

    #: n × 4 words, the 32 bytes of each.
    digests: Words
    #: Where each came first in the request.
    places: Positions

    @classmethod
    def of(cls, digests: bytes) -> "DigestSet":
        """Make a set of digests that follow one another, in any order and some of them repeatedly."""
        words = digest_words(digests)
        order = sorting(words)
        ordered = words[order]
        first = np.ones(len(ordered), np.bool_)
        first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
        return cls(ordered[first], order[first])

    def part(self, mask: Mask) -> "DigestSet":
        """Give the part of the set that a mask names."""
        return DigestSet(self.digests[mask], self.places[mask])

    @cached_property
    def fingerprint(self) -> bytes:
        """Stand for the set, whatever the order and number of times its hashes were sent in."""
        return hashlib.sha256(self.digests.tobytes()).digest()
