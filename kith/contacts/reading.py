"""Chooses the reader of a contact file, by its content first and its name second."""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import BinaryIO, Literal

from kith.contacts import json_book
from kith.contacts.found import Contact, Fault
from kith.contacts.ldif import read_ldif
from kith.contacts.lines import BLOCK, Line, Source, decode, physical_lines, plain_blocks
from kith.contacts.recognise import unreadable, unreadable_text
from kith.contacts.records import read_records
from kith.contacts.table import read_table
from kith.contacts.vcard import read_vcards
from kith.contacts.whatsapp import is_chat, read_chat
from kith.contacts.xcard import read_xml

SAMPLE_LINES = 50
MOST_LAYERS = 3  # of gzip around gzip
MOST_FAULTS = 100  # with one reason that are told one by one

Format = Literal["vcard", "csv", "jsonl", "json", "ldif", "xml", "whatsapp"]

_ELEMENT = re.compile(
    r"<(?:!--|!DOCTYPE\b|[A-Za-z][\w.:-]*(?:\s[^<>]*)?/?>|[A-Za-z][\w.:-]*\s[^<>]*\Z)"
)
_NOTHING = "no contact and no number is found in this file; export the contacts as vCard or CSV"
_GZIP = b"\x1f\x8b"
_GZIP_BITS = zlib.MAX_WBITS | 16
_BY_LINES: dict[Format, Callable[[Iterable[Line]], Iterator[Contact | Fault]]] = {
    "vcard": read_vcards,
    "csv": read_table,
    "jsonl": read_records,
    "ldif": read_ldif,
    "whatsapp": read_chat,
}
_ENDINGS: dict[str, Format] = {
    "vcf": "vcard",
    "vcard": "vcard",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "ldif": "ldif",
    "ldi": "ldif",
}


def read_contacts(
    stream: BinaryIO, name: str = "", *, form: Format | None = None
) -> Iterator[Contact | Fault]:
    """Yield every contact of a file as it is read, and a Fault for what cannot be read.

    name: the file's name, whose ending decides when the content does not. form: how to read it
    whatever its content looks like. Memory stays bounded by the longest card, row or value. Faults
    of one kind are yielded one by one up to a bound, and counted then. Raise only what reading the
    stream itself raises (OSError).
    """
    counts = Counter[str]()
    last = dict[str, Fault]()
    for item in _unpack_and_read(stream, name, form):
        if isinstance(item, Fault):
            counts[item.reason] += 1
            if counts[item.reason] > MOST_FAULTS:
                last[item.reason] = item
                continue
        yield item
    for reason, fault in last.items():
        yield Fault(fault.line, f"{counts[reason] - MOST_FAULTS} more up to here: {reason}")


def _unpack_and_read(stream: Source, name: str, form: Format | None) -> Iterator[Contact | Fault]:
    start = stream.read(BLOCK)
    source: Source = _Ahead(start, stream)
    unpacked = list[_Unpacked]()
    while start.startswith(_GZIP) and len(unpacked) < MOST_LAYERS:
        unpacked.append(_Unpacked(source))
        start = unpacked[-1].read(BLOCK)
        source = _Ahead(start, unpacked[-1])
        name = name.lower().removesuffix(".gz")
    reason = unreadable(start)
    if reason is not None:
        yield Fault(1, reason)
    else:
        found, counted = False, _Counted(source)
        for item in _read(start, counted, name, form):
            found = True
            yield item
        # An empty file is no fault, compressed or not.
        if counted.size and not found:
            yield Fault(1, _NOTHING)
    if any(one.is_damaged for one in unpacked):
        yield Fault(1, "the compressed file is damaged; only its beginning is read")


def _read(
    start: bytes, source: Source, name: str, form: Format | None
) -> Iterator[Contact | Fault]:
    blocks = plain_blocks(source)
    first = next(blocks, b"")
    reason = unreadable_text(first)
    if reason is not None and form is None:
        yield Fault(1, reason)
        return
    form = form or _form_of(first, name)
    if form == "xml":
        # Its own declaration says which encoding it is in, unless it is recoded already.
        if first == start:
            yield from read_xml(_Ahead(start, source))
        else:
            yield from read_xml(_Joined(chain([first], blocks)), "utf-8")
    elif form == "json":
        yield from json_book.read_json(chain([first], blocks))
    else:
        yield from _BY_LINES[form](physical_lines(chain([first], blocks)))


def _form_of(block: bytes, name: str) -> Format:
    text = decode(block).lstrip("\ufeff \t\r\n")
    lines = [line.strip() for line in text.splitlines()[:SAMPLE_LINES] if line.strip()]
    if any(line[:64].upper().startswith("BEGIN:VCARD") for line in lines):
        return "vcard"
    first = next((line for line in lines if not line.startswith("#")), "")
    if first.startswith("{"):
        return "json" if json_book.is_document(text) else "jsonl"
    if first.startswith("[") and not is_chat(lines):
        return "json"
    if first.startswith("<?xml") or _ELEMENT.match(first):
        return "xml"
    if first.lower().startswith(("dn: ", "dn:: ", "version: 1")):
        return "ldif"
    if is_chat(lines):
        return "whatsapp"
    return _ENDINGS.get(name.lower().rpartition(".")[2], "csv")


class _Ahead:
    """A stream of which the beginning was read already."""

    def __init__(self, start: bytes, stream: Source) -> None:
        self._start = start
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        if self._start:
            start, self._start = self._start[:size], self._start[size:]
            return start
        return self._stream.read(size)


class _Counted:
    """A stream of which it is known how much was read that is no white space."""

    def __init__(self, stream: Source) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int, /) -> bytes:
        block = self._stream.read(size)
        self.size += len(block.strip()) if not self.size else 0
        return block


class _Joined:
    """Blocks as a stream."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks

    def read(self, _: int, /) -> bytes:
        return next(self._blocks, b"")


class _Unpacked:
    """What a gzip stream holds, as far as it is whole."""

    def __init__(self, packed: Source) -> None:
        self._packed = packed
        self._unpacker = zlib.decompressobj(wbits=_GZIP_BITS)
        self._waiting = b""
        self._ended = False
        self.is_damaged = False

    def read(self, size: int, /) -> bytes:
        while not self._ended:
            self._waiting = self._waiting or self._packed.read(BLOCK)
            try:
                found = self._unpacker.decompress(self._waiting, size)
            except zlib.error:
                self._ended = self.is_damaged = True
                return b""
            if not self._waiting and not found:
                self._ended = self.is_damaged = True
            self._waiting = self._unpacker.unconsumed_tail
            if self._unpacker.eof:
                self._next_member()
            if found:
                return found
        return b""

    def _next_member(self) -> None:
        """Begin the member that follows one that has ended; padding is none."""
        rest = self._unpacker.unused_data or self._packed.read(BLOCK)
        self._ended = not rest.startswith(_GZIP)
        self._unpacker, self._waiting = zlib.decompressobj(wbits=_GZIP_BITS), rest
