"""From a byte stream to numbered lines in an ASCII-compatible encoding, in bounded memory.

Lines end with LF, CR LF, CR, or the CR CR LF that a file gets when it is copied in text mode twice.
Lines stay bytes because vCard folding may cut a UTF-8 character in two; `decode` is for whole ones.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from kith.contacts.encodings import WESTERN, guess, is_utf8

BLOCK = 64 * 1024
LONGEST_LINE = 1024 * 1024  # a photo on one line may be longer; nobody reads it

#: "BEGIN:VCARD" in UTF-16: so many bytes tell it from a few stray zeros.
PLAIN_START = 22

_BOM = "\ufeff".encode()


@dataclass(frozen=True, slots=True)
class Line:
    """One physical line without its end; `cut` says that it was longer than LONGEST_LINE."""

    number: int
    content: bytes
    cut: bool = False


class Source(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        ...


def physical_lines(blocks: Iterable[bytes]) -> Iterator[Line]:
    """Yield the lines of what `plain_blocks` yields, numbered from 1."""
    for number, (content, cut) in enumerate(_split(blocks), start=1):
        yield Line(number, content.removeprefix(_BOM), cut)


def decode(content: bytes) -> str:
    """Return `content` as text: UTF-8 where it is, else what it looks like, mostly Windows-1252,
    which Outlook writes.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode(guess(content) or WESTERN, errors="replace")


def plain_blocks(stream: Source) -> Iterator[bytes]:
    """Yield what a stream holds, UTF-16 and UTF-32 and what is recognised of older encodings as
    UTF-8.
    """
    block = stream.read(BLOCK)
    encoding = _wide_encoding(block[:PLAIN_START])
    while block and encoding is None:
        if not block.isascii() and not is_utf8(block):
            # Where it looks like Windows-1252, line by line is better: some may be UTF-8.
            encoding = guess(block)
        if encoding is None:
            yield block
            block = stream.read(BLOCK)
    if encoding is None:
        return
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    while block:
        yield decoder.decode(block).encode("utf-8")
        block = stream.read(BLOCK)
    yield decoder.decode(b"", final=True).encode("utf-8")


def _wide_encoding(start: bytes) -> str | None:
    if start[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        return "utf-32"
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if len(start) < 4:
        return None
    # Without a mark: every other byte of a plain beginning is zero, and no byte between them.
    if all(start[0::2]) and not any(start[1::2]):
        return "utf-16-le"
    return "utf-16-be" if all(start[1::2]) and not any(start[0::2]) else None


def _split(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    start, pending, cut = b"", b"", False
    for block in blocks:
        *complete, pending = (pending + block).split(b"\n")
        for piece in complete:
            if cut:
                yield start, True
                start, cut = b"", False
            else:
                for content in piece.rstrip(b"\r").split(b"\r"):
                    yield content, False
        # A lone CR ends a line too, but one at the very end may yet become CR LF.
        last = pending.rstrip(b"\r").rfind(b"\r")
        if last >= 0 and not cut:
            for content in pending[:last].split(b"\r"):
                yield content, False
            pending = pending[last + 1 :]
        if len(pending) > LONGEST_LINE:
            start = start if cut else pending[:LONGEST_LINE]
            pending, cut = b"", True
    if cut:
        yield start, True
    elif pending:
        for content in pending.rstrip(b"\r").split(b"\r"):
            yield content, False
