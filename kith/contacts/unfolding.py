"""Joins folded vCard lines: white space (RFC 6350 §3.2) and quoted-printable soft breaks (vCard 2.1).

Photos, notes and whatever else holds no name or number are not gathered, however long they are.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from kith.contacts import words
from kith.contacts.lines import Line

LONGEST_KEPT = 64 * 1024
LONGEST_HEADER = 4096

# A line that begins like this is never taken for the rest of the line before, whatever its
# indentation says: better a broken note than a lost number. TEL counts in capitals only, since
# "tel:" also begins a folded URI.
_ALWAYS_NEW = re.compile(
    rb"[ \t]*(?:[\w-]+\.)*(?:(?i:BEGIN|END):(?i:VCARD)|TEL[;:]|X-MS-TEL[;:]|FN[;:])"
)
_HEADER_END = re.compile(rb"[;:]")
_WORTH_KEEPING = frozenset({"BEGIN", "END", "FN", "N", "NICKNAME", "ORG", "EMAIL", "AGENT"})
#: Properties of RFC 6350, of vCard 2.1 and 3.0, and of iCalendar: they hold no phone number.
_STANDARD_NAMES = """
    SOURCE KIND XML PHOTO BDAY ANNIVERSARY GENDER ADR IMPP LANG TZ GEO TITLE ROLE LOGO MEMBER RELATED
    CATEGORIES NOTE PRODID REV SOUND UID CLIENTPIDMAP URL VERSION KEY FBURL CALADRURI CALURI
    LABEL MAILER NAME PROFILE SORT-STRING CLASS DTSTART DTEND SUMMARY DESCRIPTION LOCATION
"""
_STANDARD = _WORTH_KEEPING.union(_STANDARD_NAMES.split())
_PHONE_ENDINGS = frozenset({"TEL", "PHONE", "TELEPHONE", "MOBILE", "CELL"})
_MESSENGERS = frozenset({"SIGNAL", "WHATSAPP", "VIBER", "THREEMA"})
#: Properties that hold a number where their value is the URI of one, or names a messenger that has them.
ADDRESSES = frozenset({"IMPP", "URL", "X-IMPP", "X-URL"}) | {f"X-{name}" for name in _MESSENGERS}


@dataclass
class LogicalLine:
    """One property line with its folds undone; only the start of it when its content does not
    matter.
    """

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
    """Return whether such a property holds a number: TEL, X-MS-TEL, X-…-PHONE and the like, and any
    name of no standard that a table would have above a column of phones, such as "Cell phone".
    """
    if name == "TEL":
        return True
    if name.startswith("X-"):
        return name.rpartition("-")[2] in _PHONE_ENDINGS
    return is_strange(name) and words.is_phone(words.plain(name))


def is_strange(name: str) -> bool:
    """Return whether a property is of no standard, and no extension of a program either."""
    return name not in _STANDARD and name != "TEL" and not name.startswith("X-")


def logical_lines(lines: Iterable[Line]) -> Iterator[LogicalLine]:
    """Yield the property lines of a vCard file; a blank line ends a property as well."""
    gathered: _Gathered | None = None
    for line in lines:
        if gathered is not None and gathered.takes(line.content):
            gathered.add(line)
            continue
        if gathered is not None:
            yield gathered.whole()
        gathered = _Gathered(line) if line.content.strip() else None
    if gathered is not None:
        yield gathered.whole()


@dataclass
class _Gathered:
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
        name = property_name(start[:LONGEST_HEADER])
        self.keeps = (
            name in _WORTH_KEEPING
            or name in ADDRESSES
            or is_strange(name)
            or is_phone(name)
            or _HEADER_END.search(start[:LONGEST_HEADER]) is None
        )
        self._append(start, self.first.cut)

    def takes(self, content: bytes) -> bool:
        if _ALWAYS_NEW.match(content) or not content.strip():
            return False
        return self.soft_break or content[:1] in (b" ", b"\t")

    def add(self, line: Line) -> None:
        self._append(b"\n" + line.content if self.soft_break else line.content[1:], line.cut)

    def whole(self) -> LogicalLine:
        return LogicalLine(self.first.number, b"".join(self.parts), self.cut)

    def _append(self, content: bytes, cut: bool) -> None:
        if b":" not in self.header and len(self.header) < LONGEST_HEADER:
            self.header += content[:LONGEST_HEADER]
            before_value = self.header.partition(b":")[0].lower()
            self.quoted_printable = b"quoted-printable" in before_value
        self.soft_break = self.quoted_printable and content.endswith(b"=")
        if not self.keeps and self.parts:
            return
        room = LONGEST_KEPT - self.size
        self.parts.append(content[:room])
        self.size += min(len(content), room)
        self.cut = self.cut or cut or len(content) > room
