"""Which encoding a text is in that is not UTF-8 and does not say so: what older programs export.

Numbers are ASCII in all of them; only names depend on the guess.
"""

import re

from kith.contacts import words

WESTERN = "cp1252"
#: Told apart by the words above columns, which are known; the first of equals.
_BY_WORDS = (
    *(WESTERN, "cp1251", "cp932", "gb18030", "big5", "cp949", "euc-jp", "koi8-r"),
    *("cp1253", "cp1255", "cp1256", "cp1250", "cp1254", "cp874"),
)

_FOLD = re.compile(rb"\r?\n[ \t]")
_CELL_END = re.compile(r"[,;\t|\r\n:]")
_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
#: A word of no other letters, with a capital at most at its beginning.
_CYRILLIC_WORDS = {
    "cp1251": re.compile(
        rb"(?<![A-Za-z\x80-\xff])[\xc0-\xff\xa8\xaa\xaf\xb2][\xe0-\xff\xb3\xb8\xba\xbf]+"
    ),
    "koi8-r": re.compile(rb"(?<![A-Za-z\x80-\xff])[\xc0-\xff\xb3][\xc0-\xdf\xa3]+"),
}
_HALF_WIDTH = re.compile("[\uff61-\uff9f]")
_JAPANESE = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_LEAD_BYTES = re.compile(rb"[\x81-\x9f][\x40-\x7e\x80-\xfc]")
_MOST_HEADER = 4096
_FEWEST_LETTERS = 4


def guess(content: bytes) -> str | None:
    """Return Python's name of the encoding, None when it looks like Windows-1252 or like none.

    content: some lines that are not UTF-8.
    """
    content = _FOLD.sub(b"", content)
    encoding = _by_words(content[:_MOST_HEADER]) or _by_shape(content)
    return None if encoding == WESTERN else encoding


def is_utf8(block: bytes) -> bool:
    """Return whether a block of a file is UTF-8, with characters cut at its ends or not."""
    # What a block begins with may belong to the character that the one before ends with.
    start = next((n for n in range(min(4, len(block))) if block[n] & 0xC0 != 0x80), 0)
    try:
        _FOLD.sub(b"", block[start:]).decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def _by_words(start: bytes) -> str | None:
    best, most = None, 0
    for encoding in _BY_WORDS:
        try:
            text = start.splitlines()[0].decode(encoding) if start.strip() else ""
        except UnicodeDecodeError:
            continue
        cells = (cell for cell in _CELL_END.split(text) if not cell.isascii())
        known = sum(words.is_known(words.plain(cell)) for cell in cells)
        if known > most:
            best, most = encoding, known
    return best


def _by_shape(content: bytes) -> str | None:
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
    if found[encoding] < _FEWEST_LETTERS or found[encoding] * 5 < high * 4:
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
