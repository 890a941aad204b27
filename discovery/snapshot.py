"""The format of a snapshot of the directory: one immutable file that all workers of a host map.

    header     one page: format, epoch, position in the log, and the SHA-256 of the header
    records    48 bytes each: digest and account id, sorted
    starts     where each bucket of the index begins (`DigestIndex`), 4 bytes each
    blocks     SHA-256 of each MiB of records and starts; the header holds the SHA-256 of these

A file that is missing, truncated, of another version or epoch, or has one wrong bit is unusable; it is
rebuilt from the table. A worker verifies the whole file once, block by block, before it answers from it: a
lookup touches blocks all over the file, so verifying only those would save nothing. This reads 2 GB a
second into the page cache, where lookups need it. Later changes in place are not noticed; a new snapshot is
a new file.

Beside a snapshot that is too large for the memory of the host there is a Bloom filter (bloom.py). It is of
the same records, so a digest that it excludes is not in the snapshot.
"""

import hashlib
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from core.database_history import History
from discovery.bloom import DigestFilter, file_hash
from discovery.changes import LogMarker
from discovery.digests import (
    DIGEST_SIZE,
    MAX_RECORDS,
    RECORD_WORDS,
    WORDS,
    DigestIndex,
    Positions,
    Words,
    bits_for,
    keys_of,
)

MAGIC = b"KITHDIR\n"
VERSION = 2
PAGE_SIZE = 4096
BLOCK_SIZE = 1 << 20
RECORD_SIZE = 8 * RECORD_WORDS
SUFFIX, FILTER_SUFFIX = ".snapshot", ".bloom"
#: In the header of a snapshot without a filter.
NO_FILTER = bytes(DIGEST_SIZE)
#: Magic, version, bits of a bucket, epoch's id, records, position, marker (number, digest, cluster,
#: timeline), time in seconds, length of the file, SHA-256 of the blocks' hashes, SHA-256 of the filter.
_HEADER = struct.Struct("<8sII16sQQQ32sqIQQ32s32s")
#: With the header's SHA-256; the rest of its page is padding.
HEADER_SIZE = _HEADER.size + DIGEST_SIZE


@dataclass
class SnapshotUnusable(Exception):
    """A snapshot cannot be used; `reason` is one of REASONS."""

    reason: str


#: `foreign`: of another epoch, version or database.
REASONS = ("missing", "cut-short", "foreign", "corrupted")


class Contents(NamedTuple):
    """What a snapshot contains."""

    epoch_id: str
    #: Where in the log a reader of the snapshot continues.
    position: int
    marker: LogMarker
    #: Seconds since 1970.
    built_at: int


def filter_path(path: Path, marker: LogMarker) -> Path:
    """Return the path of a snapshot's filter; a worker may still use that of an older snapshot."""
    return path.with_suffix(f".{marker.seq}{FILTER_SUFFIX}")


def memory_bytes() -> int:
    """Return the memory of the host, or of the container (cgroup v2) if that is less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return memory


@dataclass(frozen=True)
class Snapshot:
    """A mapped file, used only after `verify`."""

    contents: Contents
    index: DigestIndex
    #: Distinguishes this file from the one that replaces it.
    identity: tuple[int, int]
    filter: DigestFilter | None
    _whole: mmap.mmap
    _blocks: bytes

    @classmethod
    def open(cls, path: Path, epoch_id: str) -> "Snapshot":
        """Map a file and verify its header; raises SnapshotUnusable."""
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
        beside = _open_filter(filter_path(path, contents.marker), count, filter_hash)
        return cls(contents, index, _identity(status), beside, whole, blocks)

    def find(self, digests: Words) -> Positions:
        """Return the position of each digest (n × 4 words) in the records, -1 if it is not there."""
        if self.filter is None:
            return self.index.find(digests)
        found = np.full(len(digests), -1, np.int64)
        candidates = self.filter.candidates(digests)
        found[candidates] = self.index.find(digests[candidates])
        return found

    def verify(self) -> Iterator[None]:
        """Verify every block, yielding after each; raises SnapshotUnusable."""
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
    """Return what distinguishes a file from others of the same name; raises SnapshotUnusable."""
    try:
        return _identity(path.stat())
    except FileNotFoundError:
        raise SnapshotUnusable("missing") from None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns


def _open_filter(path: Path, count: int, filter_hash: bytes) -> DigestFilter | None:
    if filter_hash == NO_FILTER:
        return None
    if not path.exists():
        raise SnapshotUnusable("missing")
    if file_hash(path) != filter_hash:
        raise SnapshotUnusable("corrupted")
    return DigestFilter(path, count)


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
    marker = LogMarker(seq, digest, History(cluster, timeline))
    contents = Contents(epoch_id, position, marker, built_at)
    return contents, count, bits, blocks, filter_hash


def write(
    path: Path, contents: Contents, pages: Iterable[bytes], *, memory: int | None = None
) -> int:
    """Write a snapshot, completely or not at all; return how many records it has.

    pages: records sorted by digest. memory: of the host, in bytes; a snapshot that takes more than half of it
    gets a filter. Only one process may write to a folder.
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
        if 2 * length > (memory_bytes() if memory is None else memory):
            filter_hash = _write_filter(file, count, filter_path(path, contents.marker))
        packed = _HEADER.pack(
            *(MAGIC, VERSION, bits, contents.epoch_id.encode(), count, contents.position),
            *(*contents.marker[:2], *contents.marker.history, contents.built_at, length),
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
    """Count the buckets block by block: memory holds the counts and never the records."""
    starts = np.zeros(2**bits + 1, np.uint32)
    for digests in _read_digests(file, count):
        buckets, sizes = np.unique(keys_of(digests) >> np.uint64(64 - bits), return_counts=True)
        starts[buckets.astype(np.intp) + 1] += sizes.astype(np.uint32)
    np.cumsum(starts, out=starts)
    file.seek(PAGE_SIZE + count * RECORD_SIZE)
    file.write(starts.tobytes())


def _write_filter(file: BinaryIO, count: int, path: Path) -> bytes:
    path.unlink(missing_ok=True)
    beside = DigestFilter(path, count)
    for digests in _read_digests(file, count):
        beside.add(digests)
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
