"""Property lines of vCard: unfolding (RFC 6350 §3.2, quoted-printable soft breaks of vCard 2.1) and
parsing. Photos, notes and other long values are not kept.

vobject's `parseLine` is not used: it rejects lines that phones write (a bare parameter with an umlaut or a
space, as in "TEL;home phone:"), raises on half of the exported books in `tests/data/vcards`, and its regular
expression takes exponential time on a run of commas in a parameter (docs/adr/0007).
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from kith.contacts import vocabulary
from kith.contacts.lines import Line, decode

MAX_VALUE_BYTES = 64 * 1024
MAX_NAME_BYTES = 4096

# Such a line never continues the line before, even if it is indented: better a broken note than a lost
# number. TEL counts in capitals only, since a folded URI may begin with "tel:".
_ALWAYS_NEW = re.compile(
    rb"[ \t]*(?:[\w-]+\.)*(?:(?i:BEGIN|END):(?i:VCARD)|TEL[;:]|X-MS-TEL[;:]|FN[;:])"
)
_HEADER_END = re.compile(rb"[;:]")
_KEPT_NAMES = frozenset({"BEGIN", "END", "FN", "N", "NICKNAME", "ORG", "EMAIL", "AGENT"})
#: Properties of RFC 6350, vCard 2.1 and 3.0, and iCalendar without phone numbers.
_STANDARD_NAMES = """
    SOURCE KIND XML PHOTO BDAY ANNIVERSARY GENDER ADR IMPP LANG TZ GEO TITLE ROLE LOGO MEMBER RELATED
    CATEGORIES NOTE PRODID REV SOUND UID CLIENTPIDMAP URL VERSION KEY FBURL CALADRURI CALURI
    LABEL MAILER NAME PROFILE SORT-STRING CLASS DTSTART DTEND SUMMARY DESCRIPTION LOCATION
"""
_STANDARD = _KEPT_NAMES.union(_STANDARD_NAMES.split())
_PHONE_ENDINGS = frozenset({"TEL", "PHONE", "TELEPHONE", "MOBILE", "CELL"})
_MESSENGERS = frozenset({"SIGNAL", "WHATSAPP", "VIBER", "THREEMA"})
#: Properties whose value may be the URI of a number, or an address at a messenger that uses numbers.
ADDRESSES = frozenset({"IMPP", "URL", "X-IMPP", "X-URL"}) | {f"X-{name}" for name in _MESSENGERS}


@dataclass
class LogicalLine:
    """An unfolded property line; only its beginning when its content does not matter."""

    number: int
    content: bytes
    cut: bool = False


def property_name(header: bytes) -> str:
    """Return the property's name in capitals, without groups ("item1."), with "_" as "-".

    A group that is itself the name of a phone, as in "PHONE.WORK", is the name.
    """
    name = _HEADER_END.split(header, maxsplit=1)[0].decode("utf-8", errors="replace")
    group, _, last = name.strip().upper().replace("_", "-").rpartition(".")
    return group if group in _PHONE_ENDINGS and last not in _STANDARD else last.strip()


@lru_cache(maxsize=1024)
def is_phone(name: str) -> bool:
    """Return whether a property is a phone number: TEL, X-MS-TEL, X-…-PHONE and similar, and any
    custom name that means a phone in a table, such as "Cell phone".
    """
    if name == "TEL":
        return True
    if name.startswith("X-"):
        return name.rpartition("-")[2] in _PHONE_ENDINGS
    return is_unknown_property(name) and vocabulary.is_phone(vocabulary.normalize_name(name))


def is_unknown_property(name: str) -> bool:
    """Return whether a property is neither standard nor a program's extension."""
    return name not in _STANDARD and name != "TEL" and not name.startswith("X-")


def logical_lines(lines: Iterable[Line]) -> Iterator[LogicalLine]:
    """Yield the property lines of a vCard file; a blank line also ends a property."""
    gathered: _FoldedLine | None = None
    for line in lines:
        if gathered is not None and gathered.continues(line.content):
            gathered.add(line)
            continue
        if gathered is not None:
            yield gathered.logical_line()
        gathered = _FoldedLine(line) if line.content.strip() else None
    if gathered is not None:
        yield gathered.logical_line()


@dataclass
class _FoldedLine:
    first: Line
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    header: bytes = b""
    quoted_printable: bool = False
    keeps: bool = True
    soft_break: bool = False
    cut: bool = False

    def __post_init__(self) -> None:
        start = self.first.content.lstrip()
        name = property_name(start[:MAX_NAME_BYTES])
        self.keeps = (
            name in _KEPT_NAMES
            or name in ADDRESSES
            or is_unknown_property(name)
            or is_phone(name)
            or _HEADER_END.search(start[:MAX_NAME_BYTES]) is None
        )
        self._append(start, self.first.cut)

    def continues(self, content: bytes) -> bool:
        if _ALWAYS_NEW.match(content) or not content.strip():
            return False
        return self.soft_break or content[:1] in (b" ", b"\t")

    def add(self, line: Line) -> None:
        self._append(b"\n" + line.content if self.soft_break else line.content[1:], line.cut)

    def logical_line(self) -> LogicalLine:
        return LogicalLine(self.first.number, b"".join(self.parts), self.cut)

    def _append(self, content: bytes, cut: bool) -> None:
        if b":" not in self.header and len(self.header) < MAX_NAME_BYTES:
            self.header += content[:MAX_NAME_BYTES]
            before_value = self.header.partition(b":")[0].lower()
            self.quoted_printable = b"quoted-printable" in before_value
        self.soft_break = self.quoted_printable and content.endswith(b"=")
        if not self.keeps and self.parts:
            return
        room = MAX_VALUE_BYTES - self.size
        self.parts.append(content[:room])
        self.size += min(len(content), room)
        self.cut = self.cut or cut or len(content) > room


_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_FIELD_END = re.compile(r"(?<!\\);")
# Only character sets of address books: Python also has "encodings" that are slow, or no character sets.
_CHARSETS = re.compile(
    r"us-ascii|iso-?8859-\d{1,2}|windows-125\d|cp125\d|koi8-[ru]|shift[_-]jis|gb2312|gbk|gb18030"
    r"|big5|euc-(?:jp|kr)|iso-2022-jp",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Property:
    """A property: its name in capitals without group, its encoded value, and the encoding."""

    name: str
    value: bytes
    quoted_printable: bool
    base64: bool
    charset: str | None

    def text(self) -> str:
        """Return the value decoded, with its backslash escapes."""
        value = self.value
        if self.quoted_printable:
            value = binascii.a2b_qp(value)
        elif self.base64:
            value = _from_base64(value)
        if self.charset is None or (value is self.value and _is_utf8(value)):
            # A file that was converted as a whole still declares the encoding before.
            return decode(value)
        try:
            return value.decode(self.charset)
        except (UnicodeError, LookupError):
            return decode(value)


def parse_property(content: bytes) -> Property | None:
    """Return the property of an unfolded line, None without a colon after its name."""
    colon = _colon(content)
    if colon < 0:
        return None
    header = content[:colon].decode("latin-1")
    encodings, charset = set(), None
    for parameter in header.split(";")[1:]:
        key, equals, value = (part.strip(' "').upper() for part in parameter.partition("="))
        if not equals or key == "ENCODING":
            encodings.add(value or key)
        elif key == "CHARSET" and _CHARSETS.fullmatch(value):
            charset = value
    return Property(
        name=property_name(content[:colon]),
        value=content[colon + 1 :],
        quoted_printable="QUOTED-PRINTABLE" in encodings,
        base64=bool(encodings & {"BASE64", "B"}),
        charset=charset,
    )


def unescape(text: str) -> str:
    r"""Return `text` with \\n, \\, and \\; undone."""
    return _ESCAPED.sub(lambda match: "\n" if match[1] in "nN" else match[1], text)


def fields(text: str) -> list[str]:
    """Return the parts of a structured value (N, ORG), unescaped."""
    return [unescape(part) for part in _FIELD_END.split(text)]


def _colon(content: bytes) -> int:
    inside = False
    for position, byte in enumerate(content):
        if byte == 0x22:
            inside = not inside
        elif byte == 0x3A and not inside:
            return position
    # Every colon follows an unclosed quotation mark, which then means nothing.
    return content.find(b":")


def _is_utf8(value: bytes) -> bool:
    if value.isascii():  # ISO-2022-JP is too
        return False
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _from_base64(value: bytes) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return value
