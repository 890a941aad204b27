"""A snapshot of the directory: one immutable file that all workers of a host map into memory.

Owns the file's format. Refuses a file that is missing, cut short, of another version or epoch, or in
which a single bit is wrong; it is then made anew from the table, which is the truth.

    header     one page: what it is, of which epoch, as of which position in the log, and its own SHA-256
    records    48 bytes each: digest and account id, sorted
    starts     where each bucket of `discovery.index` begins, 4 bytes each
    blocks     SHA-256 of each MiB of records and starts; the header holds the SHA-256 of these

Whoever maps a file checks all of it once, block by block, before it answers from it: a page of a
lookup touches blocks all over the file, so checking only what is touched would come to the same. That
reads it at 2 GB a second, into the page cache that the lookups need it in, and adds nothing to the
memory of the process. What is done to a file in place after that is not noticed; nothing of ours does
it, since a new snapshot is a new file under the same name.
"""

import hashlib
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from core.database_history import History
from discovery.bloom import Filter, file_hash
from discovery.changes import LogMarker
from discovery.hashes import DIGEST_SIZE, WORDS, Positions, Words, keys_of
from discovery.index import MAX_RECORDS, RECORD_WORDS, DigestIndex, bits_for

MAGIC = b"KITHDIR\n"
VERSION = 2
PAGE_SIZE = 4096
BLOCK_SIZE = 1 << 20
RECORD_SIZE = 8 * RECORD_WORDS
SUFFIX, FILTER_SUFFIX = ".snapshot", ".bloom"
NO_FILTER = bytes(DIGEST_SIZE)
#: Magic, version, bits of a bucket, epoch's id, records, position, anchor (number, digest, cluster,
#: timeline), time in seconds, length of the file, SHA-256 of the blocks' hashes, SHA-256 of the Bloom
#: filter's file or zeros.
_HEADER = struct.Struct("<8sII16sQQQ32sqIQQ32s32s")
#: With its own SHA-256; the rest of its page is padding.
HEADER_SIZE = _HEADER.size + DIGEST_SIZE


class SnapshotUnusable(Exception):
    """A snapshot cannot be answered from; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


#: `foreign`: of another epoch, version or database.
REASONS = ("missing", "cut-short", "foreign", "corrupted")


class Contents(NamedTuple):
    """What a snapshot is of."""

    epoch_id: str
    #: Where in the log a reader goes on who has read the snapshot.
    position: int
    anchor: LogMarker
    #: Seconds since 1970.
    built_at: int


def filter_path(path: Path, anchor: LogMarker) -> Path:
    """Say where the Bloom filter of a snapshot is: each has one of its own, or none."""
    return path.with_suffix(f".{anchor.seq}{FILTER_SUFFIX}")


@dataclass(frozen=True)
class Snapshot:
    """A mapped file; nothing is answered from it before `verify` has come to its end."""

    contents: Contents
    index: DigestIndex
    #: What tells this file from the one that takes its name.
    identity: tuple[int, int]
    bloom: Filter | None
    _whole: mmap.mmap
    _blocks: bytes

    @classmethod
    def open(cls, path: Path, epoch_id: str) -> "Snapshot":
        """Map a file and check its header.

        Raises SnapshotUnusable.
        """
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size < PAGE_SIZE:
                    raise SnapshotUnusable("cut-short")
                whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise SnapshotUnusable("missing") from None
        contents, count, bits, blocks_hash, filter_hash = _read_header(whole, epoch_id)
        starts_at = PAGE_SIZE + count * RECORD_SIZE
        blocks_at = starts_at + 4 * (2**bits + 1)
        blocks = whole[blocks_at:]
        if hashlib.sha256(blocks).digest() != blocks_hash:
            raise SnapshotUnusable("corrupted")
        records = np.frombuffer(whole, np.uint64, count * RECORD_WORDS, PAGE_SIZE)
        starts = np.frombuffer(whole, np.uint32, 2**bits + 1, starts_at)
        index = DigestIndex(records.reshape(-1, RECORD_WORDS), starts)
        bloom = _open_filter(filter_path(path, contents.anchor), count, filter_hash)
        return cls(contents, index, _identity(status), bloom, whole, blocks)

    def find(self, digests: Words) -> Positions:
        """Give the position of each digest (n × 4 words) in the records, -1 where it is not there."""
        if self.bloom is None:
            return self.index.find(digests)
        found = np.full(len(digests), -1, np.int64)
        candidates = self.bloom.candidates(digests)
        found[candidates] = self.index.find(digests[candidates])
        return found

    def verify(self) -> Iterator[None]:
        """Check every block, pausing after each.

        Raises SnapshotUnusable.
        """
        end = len(self._whole) - len(self._blocks)
        with memoryview(self._whole) as whole:
            for number, begins in enumerate(range(PAGE_SIZE, end, BLOCK_SIZE)):
                with whole[begins : min(begins + BLOCK_SIZE, end)] as block:
                    found = hashlib.sha256(block).digest()
                at = number * DIGEST_SIZE
                if found != self._blocks[at : at + DIGEST_SIZE]:
                    raise SnapshotUnusable("corrupted")
                yield


def file_identity(path: Path) -> tuple[int, int]:
    """Tell a file from another one of the same name.

    Raises SnapshotUnusable.
    """
    try:
        return _identity(path.stat())
    except FileNotFoundError:
        raise SnapshotUnusable("missing") from None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns


def _open_filter(path: Path, count: int, filter_hash: bytes) -> Filter | None:
    if filter_hash == NO_FILTER:
        return None
    if not path.exists():
        raise SnapshotUnusable("missing")
    if file_hash(path) != filter_hash:
        raise SnapshotUnusable("corrupted")
    return Filter(path, count)


def _read_header(whole: mmap.mmap, epoch_id: str) -> tuple[Contents, int, int, bytes, bytes]:
    packed = whole[: _HEADER.size]
    magic, version, bits, epoch, count, position, *rest = _HEADER.unpack(packed)
    seq, digest, cluster, timeline, built_at, length, blocks, filter_hash = rest
    if magic != MAGIC or version != VERSION:
        raise SnapshotUnusable("foreign")
    if hashlib.sha256(packed).digest() != whole[_HEADER.size : HEADER_SIZE]:
        raise SnapshotUnusable("corrupted")
    if epoch.rstrip(b"\0").decode() != epoch_id:
        raise SnapshotUnusable("foreign")
    if length != len(whole):
        raise SnapshotUnusable("cut-short")
    anchor = LogMarker(seq, digest, History(cluster, timeline))
    contents = Contents(epoch_id, position, anchor, built_at)
    return contents, count, bits, blocks, filter_hash


def write(
    path: Path, contents: Contents, pages: Iterable[bytes], *, with_filter: bool = False
) -> int:
    """Write a snapshot under a name, whole or not at all; give how many records it has.

    pages: records in the order of their digests. Only one process may write to a directory.
    """
    draft = path.with_suffix(".building")
    with draft.open("w+b") as file:
        file.write(bytes(PAGE_SIZE))
        count = _write_records(file, pages)
        bits = bits_for(count)
        _write_starts(file, count, bits)
        blocks = _hash_blocks(file)
        length = file.tell() + len(blocks)
        file.write(blocks)
        filter_hash = NO_FILTER
        if with_filter:
            filter_hash = _write_filter(file, count, filter_path(path, contents.anchor))
        packed = _HEADER.pack(
            *(MAGIC, VERSION, bits, contents.epoch_id.encode(), count, contents.position),
            *(*contents.anchor[:2], *contents.anchor.history, contents.built_at, length),
            *(hashlib.sha256(blocks).digest(), filter_hash),
        )
        file.seek(0)
        file.write(packed + hashlib.sha256(packed).digest())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return count


def _write_records(file: BinaryIO, pages: Iterable[bytes]) -> int:
    count, last = 0, 0
    for page in pages:
        keys = _records(page)[:, 0].byteswap()
        if keys[0] < last or bool((keys[1:] < keys[:-1]).any()):
            raise ValueError("the directory was not read in the order of its digests")
        last = int(keys[-1])
        file.write(page)
        count += len(keys)
        if count > MAX_RECORDS:
            raise OverflowError(f"a snapshot holds at most {MAX_RECORDS} people")
    return count


def _write_starts(file: BinaryIO, count: int, bits: int) -> None:
    """Count the buckets block by block, so that memory holds the counts and never the records."""
    starts = np.zeros(2**bits + 1, np.uint32)
    for digests in _read_digests(file, count):
        buckets, sizes = np.unique(keys_of(digests) >> np.uint64(64 - bits), return_counts=True)
        starts[buckets.astype(np.intp) + 1] += sizes.astype(np.uint32)
    np.cumsum(starts, out=starts)
    file.seek(PAGE_SIZE + count * RECORD_SIZE)
    file.write(starts.tobytes())


def _write_filter(file: BinaryIO, count: int, path: Path) -> bytes:
    path.unlink(missing_ok=True)
    bloom = Filter(path, count)
    for digests in _read_digests(file, count):
        bloom.add(digests)
    return file_hash(path)


def _read_digests(file: BinaryIO, count: int) -> Iterator[Words]:
    file.seek(PAGE_SIZE)
    for begins in range(0, count, BLOCK_SIZE):
        records = min(BLOCK_SIZE, count - begins)
        yield _records(file.read(records * RECORD_SIZE))[:, :WORDS]


def _hash_blocks(file: BinaryIO) -> bytes:
    file.seek(PAGE_SIZE)
    blocks = iter(lambda: file.read(BLOCK_SIZE), b"")
    return b"".join([hashlib.sha256(block).digest() for block in blocks])


def _records(page: bytes) -> Words:
    return np.frombuffer(page, np.uint64).reshape(-1, RECORD_WORDS)
