"""Reads a contact file in any supported format, chosen by its content first and its name second."""

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import BinaryIO, Literal

from kith.contacts.contact import Contact, Fault, looks_like_number, one_line, written_numbers
from kith.contacts.json_contacts import is_document, read_json
from kith.contacts.json_records import read_records
from kith.contacts.ldif import read_ldif
from kith.contacts.lines import BLOCK, Line, decode, physical_lines, utf8_blocks
from kith.contacts.table import read_table
from kith.contacts.vcard import read_vcards
from kith.contacts.xml_contacts import read_xml

SAMPLE_LINES = 50
MAX_GZIP_LAYERS = 3  # gzip inside gzip
MAX_FAULTS = 100  # of one reason that are yielded

Format = Literal["vcard", "csv", "jsonl", "json", "ldif", "xml", "whatsapp"]

_ELEMENT = re.compile(
    r"<(?:!--|!DOCTYPE\b|[A-Za-z][\w.:-]*(?:\s[^<>]*)?/?>|[A-Za-z][\w.:-]*\s[^<>]*\Z)"
)
_NOTHING = "no contact and no number is found in this file; export the contacts as vCard or CSV"
_GZIP = b"\x1f\x8b"
_GZIP_BITS = zlib.MAX_WBITS | 16
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

    name: the file's name, whose ending decides when the content does not. form: the format, instead
    of detection. Memory is bounded by the longest card, row or value. Faults with the same reason
    are yielded up to a limit, then counted. Raise only what the stream itself raises (OSError).
    """
    counts = Counter[str]()
    last = dict[str, Fault]()
    for item in _unpack_and_read(iter(partial(stream.read, BLOCK), b""), name, form):
        if isinstance(item, Fault):
            counts[item.reason] += 1
            if counts[item.reason] > MAX_FAULTS:
                last[item.reason] = item
                continue
        yield item
    for reason, fault in last.items():
        yield Fault(fault.line, f"{counts[reason] - MAX_FAULTS} more up to here: {reason}")


def _unpack_and_read(
    blocks: Iterator[bytes], name: str, form: Format | None
) -> Iterator[Contact | Fault]:
    start = next(blocks, b"")
    unpacked = list[_GzipBlocks]()
    while start.startswith(_GZIP) and len(unpacked) < MAX_GZIP_LAYERS:
        unpacked.append(_GzipBlocks(chain([start], blocks)))
        blocks = iter(unpacked[-1])
        start = next(blocks, b"")
        name = name.lower().removesuffix(".gz")
    found = has_content = False

    def watched() -> Iterator[bytes]:
        nonlocal has_content
        for block in chain([start], blocks):
            has_content = has_content or bool(block.strip())
            yield block

    reason = unsupported_binary(start)
    if reason is not None:
        yield Fault(1, reason)
    for item in () if reason is not None else _read(start, watched(), name, form):
        found = True
        yield item
    # An empty file is no fault.
    if has_content and not found:
        yield Fault(1, _NOTHING)
    if any(one.is_damaged for one in unpacked):
        yield Fault(1, "the compressed file is damaged; only its beginning is read")


def _read(
    start: bytes, blocks: Iterator[bytes], name: str, form: Format | None
) -> Iterator[Contact | Fault]:
    text = utf8_blocks(blocks)
    first = next(text, b"")
    reason = unsupported_text(first)
    if reason is not None and form is None:
        yield Fault(1, reason)
        return
    form = form or _form_of(first, name)
    if form == "xml":
        # The declaration gives the encoding, unless the content was converted.
        if first == start:
            yield from read_xml(chain([start], blocks))
        else:
            yield from read_xml(chain([first], text), "utf-8")
    elif form == "json":
        yield from read_json(chain([first], text))
    else:
        yield from _BY_LINES[form](physical_lines(chain([first], text)))


def _form_of(block: bytes, name: str) -> Format:
    text = decode(block).lstrip("\ufeff \t\r\n")
    lines = [line.strip() for line in text.splitlines()[:SAMPLE_LINES] if line.strip()]
    if any(line[:64].upper().startswith("BEGIN:VCARD") for line in lines):
        return "vcard"
    first = next((line for line in lines if not line.startswith("#")), "")
    if first.startswith("{"):
        return "json" if is_document(text) else "jsonl"
    if first.startswith("[") and not is_whatsapp_chat(lines):
        return "json"
    if first.startswith("<?xml") or _ELEMENT.match(first):
        return "xml"
    if first.lower().startswith(("dn: ", "dn:: ", "version: 1")):
        return "ldif"
    if is_whatsapp_chat(lines):
        return "whatsapp"
    return _ENDINGS.get(name.lower().rpartition(".")[2], "csv")


class _GzipBlocks:
    """The content of a gzip file in blocks, as far as it is undamaged."""

    def __init__(self, packed: Iterator[bytes]) -> None:
        self._packed = packed
        self.is_damaged = False

    def __iter__(self) -> Iterator[bytes]:
        waiting = next(self._packed, b"")
        # A file may have several members; what follows them is padding.
        while waiting.startswith(_GZIP):
            unpacker = zlib.decompressobj(wbits=_GZIP_BITS)
            while not unpacker.eof:
                try:
                    found = unpacker.decompress(waiting, BLOCK)
                except zlib.error:
                    found = waiting = b""
                if not found and not waiting:
                    self.is_damaged = True
                    return
                if found:
                    yield found
                if not unpacker.eof:
                    waiting = unpacker.unconsumed_tail or next(self._packed, b"")
            waiting = unpacker.unused_data or next(self._packed, b"")


_EXPORT = "export the contacts as vCard or CSV"
_STARTS: tuple[tuple[bytes | tuple[bytes, ...], str], ...] = (
    (b"PK\x03\x04", "this is a workbook or an archive; export it as CSV or vCard, or unpack it"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "this is an old Office file, such as Excel's .xls; save it as CSV, or export it as vCard",
    ),
    (b"%PDF", f"this is a PDF document; {_EXPORT}"),
    (
        b"SQLite format 3\x00",
        f"this is a database of a program (SQLite), such as macOS Contacts; {_EXPORT} there",
    ),
    (b"!BDN", f"this is an Outlook data file (.pst); {_EXPORT} in Outlook"),
    (b"\x9c\xcb\xcb\x8d", f"this is a Windows Address Book (.wab); {_EXPORT} there"),
    (b"bplist00", f"this is a property list of Apple's; {_EXPORT} in Contacts"),
    (b"{\\rtf", f"this is a text document (RTF); {_EXPORT}"),
    (b"\xfd7zXZ\x00", "this is compressed with xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "this is compressed with Zstandard; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "this is a 7-Zip archive; unpack it first"),
    (b"Rar!\x1a\x07", "this is a RAR archive; unpack it first"),
    ((b"\xff\xd8\xff", b"\x89PNG", b"GIF8"), f"this is a picture; {_EXPORT}"),
)
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")
_TAR = (b"ustar", 257)
_WEB_PAGE = re.compile(
    rb"\s*(?:<!doctype\s+html|<html\b|<head\b|<body\b|<table\b|<div\b|<meta\b|<style\b)",
    re.IGNORECASE,
)
_CALENDAR = re.compile(rb"\s*BEGIN\s*:\s*VCALENDAR", re.IGNORECASE)
_CARD = re.compile(rb"BEGIN\s*:\s*VCARD", re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b\x1a"))
_SAMPLE = 4096
_MAX_CONTROL_SHARE = 0.05


def unsupported_binary(start: bytes) -> str | None:
    """Return what to do with a file whose first bytes show an unsupported format, None for others."""
    for mark, reason in _STARTS:
        if start.startswith(mark):
            return reason
    if _BZIP2.match(start):
        return "this is compressed with bzip2; unpack it first"
    mark, place = _TAR
    if start[place : place + len(mark)] == mark:
        return "this is an archive (tar); unpack it first"
    return None


def unsupported_text(start: bytes) -> str | None:
    """Return the same for the beginning of a text in an ASCII-compatible encoding."""
    start = start.removeprefix(_BOM)[:_SAMPLE]
    if _WEB_PAGE.match(start):
        return f"this is a web page; {_EXPORT}, from Telegram as JSON"
    if _CALENDAR.match(start) and not _CARD.search(start):
        return f"this is a calendar; {_EXPORT}"
    if len(start.translate(None, _CONTROL)) < len(start) * (1 - _MAX_CONTROL_SHARE):
        return f"this is a binary file of a kind that is not known here; {_EXPORT}"
    return None


MAX_SENDERS = 10_000  # a group has 1,024

# "[28.11.26, 10:00:00] Ann: …" of an iPhone, "28/11/2026, 10:00 - Ann: …" of Android.
_MESSAGE = re.compile(
    r"[\u200e\u200f\ufeff]*\[?\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?\s\d{1,2}[:.]\d{2}(?:[:.]\d{2})?"
    r"(?:\s?[ap]\.?\s?m\.?)?(?:\]\s|\s-\s)[\u200e\u200f~\s]*([^:]{1,100}):\s",
    re.IGNORECASE,
)


def is_whatsapp_chat(lines: Iterable[str]) -> bool:
    """Return whether the first lines of a file are messages of a WhatsApp export."""
    return sum(_MESSAGE.match(line) is not None for line in lines) >= 2


def read_whatsapp_chat(lines: Iterable[Line]) -> Iterator[Contact | Fault]:
    """Yield every sender once; a sender who is a contact has a name and no number here."""
    seen = set[str]()
    for line in lines:
        found = _MESSAGE.match(decode(line.content[:400]))
        if found is None:
            continue
        sender = one_line(found[1])
        if sender not in seen and len(seen) < MAX_SENDERS:
            seen.add(sender)
            numbers = written_numbers(sender, line.number) if looks_like_number(sender) else []
            yield Contact("" if numbers else sender, tuple(numbers), line.number)


_BY_LINES: dict[Format, Callable[[Iterable[Line]], Iterator[Contact | Fault]]] = {
    "vcard": read_vcards,
    "csv": read_table,
    "jsonl": read_records,
    "ldif": read_ldif,
    "whatsapp": read_whatsapp_chat,
}
