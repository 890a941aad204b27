"""Numbered lines of a byte stream in bounded memory, and the detection of its encoding.

Lines end with LF, CR LF, CR, or the CR CR LF of a file that was copied in text mode twice. They stay
bytes because vCard folding may cut a UTF-8 character in two; `decode` is for whole lines. In the older
encodings numbers are ASCII, so only names depend on the detection.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from kith.contacts import vocabulary

BLOCK = 64 * 1024
MAX_LINE_BYTES = 1024 * 1024  # a photo on one line may be longer

#: "BEGIN:VCARD" in UTF-16, enough to rule out a few stray zeros.
UTF16_PROBE_BYTES = 22

_BOM = "\ufeff".encode()


@dataclass(frozen=True, slots=True)
class Line:
    """A physical line without its end; `cut` is set when it was longer than MAX_LINE_BYTES."""

    number: int
    content: bytes
    cut: bool = False


def physical_lines(blocks: Iterable[bytes]) -> Iterator[Line]:
    """Yield the lines of `utf8_blocks`, numbered from 1."""
    for number, (content, cut) in enumerate(_split(blocks), start=1):
        yield Line(number, content.removeprefix(_BOM), cut)


def decode(content: bytes) -> str:
    """Return `content` as text: UTF-8, else the detected encoding, mostly Windows-1252 of Outlook."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode(detect_encoding(content) or WESTERN, errors="replace")


def utf8_blocks(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield blocks of a file, with UTF-16, UTF-32 and detected older encodings converted to UTF-8."""
    for number, block in enumerate(blocks):
        encoding = None if number else _wide_encoding(block[:UTF16_PROBE_BYTES])
        if encoding is None and not block.isascii() and not is_utf8(block):
            # Windows-1252 is decoded line by line, as some lines may be UTF-8.
            encoding = detect_encoding(block)
        if encoding is not None:
            decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
            for encoded in chain([block], blocks):
                yield decoder.decode(encoded).encode("utf-8")
            yield decoder.decode(b"", final=True).encode("utf-8")
            return
        yield block


def _wide_encoding(start: bytes) -> str | None:
    if start[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        return "utf-32"
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if len(start) < 4:
        return None
    # Without a byte order mark: every other byte of ASCII is zero.
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
        # A lone CR ends a line too, but one at the end of the block may be half of CR LF.
        last = pending.rstrip(b"\r").rfind(b"\r")
        if last >= 0 and not cut:
            for content in pending[:last].split(b"\r"):
                yield content, False
            pending = pending[last + 1 :]
        if len(pending) > MAX_LINE_BYTES:
            start = start if cut else pending[:MAX_LINE_BYTES]
            pending, cut = b"", True
    if cut:
        yield start, True
    elif pending:
        for content in pending.rstrip(b"\r").split(b"\r"):
            yield content, False


WESTERN = "cp1252"
#: Detected by known column names; the first of equals wins.
_BY_WORDS = (
    *(WESTERN, "cp1251", "cp932", "gb18030", "big5", "cp949", "euc-jp", "koi8-r"),
    *("cp1253", "cp1255", "cp1256", "cp1250", "cp1254", "cp874"),
)

_FOLD = re.compile(rb"\r?\n[ \t]")
_CELL_END = re.compile(r"[,;\t|\r\n:]")
_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
#: A word of these letters only, with a capital at most at its beginning.
_CYRILLIC_WORDS = {
    "cp1251": re.compile(
        rb"(?<![A-Za-z\x80-\xff])[\xc0-\xff\xa8\xaa\xaf\xb2][\xe0-\xff\xb3\xb8\xba\xbf]+"
    ),
    "koi8-r": re.compile(rb"(?<![A-Za-z\x80-\xff])[\xc0-\xff\xb3][\xc0-\xdf\xa3]+"),
}
_HALF_WIDTH = re.compile("[\uff61-\uff9f]")
_JAPANESE = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_LEAD_BYTES = re.compile(rb"[\x81-\x9f][\x40-\x7e\x80-\xfc]")
_MAX_HEADER_BYTES = 4096
_MIN_LETTERS = 4


def detect_encoding(content: bytes) -> str | None:
    """Return Python's name of the encoding of lines that are not UTF-8; None for Windows-1252 or
    none.
    """
    content = _FOLD.sub(b"", content)
    encoding = _detect_by_names(content[:_MAX_HEADER_BYTES]) or _detect_by_bytes(content)
    return None if encoding == WESTERN else encoding


def is_utf8(block: bytes) -> bool:
    """Return whether a block of a file is UTF-8; characters may be cut at its ends."""
    # The block may begin within a character of the block before.
    start = next((n for n in range(min(4, len(block))) if block[n] & 0xC0 != 0x80), 0)
    try:
        _FOLD.sub(b"", block[start:]).decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def _detect_by_names(start: bytes) -> str | None:
    best, most = None, 0
    for encoding in _BY_WORDS:
        try:
            text = start.splitlines()[0].decode(encoding) if start.strip() else ""
        except UnicodeDecodeError:
            continue
        cells = (cell for cell in _CELL_END.split(text) if not cell.isascii())
        known = sum(vocabulary.is_known(vocabulary.normalize_name(cell)) for cell in cells)
        if known > most:
            best, most = encoding, known
    return best


def _detect_by_bytes(content: bytes) -> str | None:
    high = sum(len(found) for found in _HIGH_BYTES.findall(content))
    if not high:
        return None
    if _is_japanese(content):
        return "cp932"
    found = {
        encoding: sum(len(word) for word in pattern.findall(content))
        for encoding, pattern in _CYRILLIC_WORDS.items()
    }
    encoding = max(found, key=lambda one: found[one])
    if found[encoding] < _MIN_LETTERS or found[encoding] * 5 < high * 4:
        return None
    return encoding


def _is_japanese(content: bytes) -> bool:
    try:
        text = content.decode("cp932")
    except UnicodeDecodeError as error:
        if error.end < len(content):
            return False
        text = content[: error.start].decode("cp932")
    japanese = len(_JAPANESE.findall(text))
    leads = len(_LEAD_BYTES.findall(content))
    return leads > 1 and leads * 2 >= japanese and len(_HALF_WIDTH.findall(text)) * 3 < japanese
