"""LDIF (RFC 2849), which Thunderbird, SOGo and directories export."""

import base64
from collections.abc import Iterable, Iterator

from kith.contacts import vocabulary
from kith.contacts.contact import (
    Contact,
    Fault,
    WrittenNumber,
    looks_like_number,
    numbers_in_name,
    one_line,
    quoted,
    written_numbers,
)
from kith.contacts.lines import Line, decode

MAX_VALUE_BYTES = 64 * 1024
MAX_NUMBERS = 1000  # of one entry

_NAMES = ("displayname", "cn", "o", "mail")
_PHONES = frozenset({"internationalisdnnumber", "homephone", "otherphone", "ipphone"})
#: Attributes of RFC 4519, of directories and of Mozilla whose digits are no phone numbers.
_OTHER = vocabulary.word_set("""
    dn version objectclass member uid uidnumber gidnumber employeenumber entryuuid entrycsn postalcode
    modifytimestamp createtimestamp birthyear birthmonth birthday mozillahomepostalcode l st c
    mozillaworkpostalcode jpegphoto usercertificate modifiersname creatorsname mozillauniqueid
""")


def read_ldif(lines: Iterable[Line]) -> Iterator[Contact | Fault]:
    """Yield the entries of an LDIF file in order, and a Fault for each invalid line."""
    entry: _LdifEntry | None = None
    for number, content in _unfolded(lines):
        if not content:
            if entry is not None:
                yield entry.contact()
            entry = None
            continue
        attribute, colon, rest = content.partition(b":")
        if not colon:
            yield Fault(number, "not an LDIF line: it has no colon")
            continue
        name = attribute.decode("latin-1").partition(";")[0].strip()
        if entry is None:
            if name.lower() == "version":
                continue
            entry = _LdifEntry(number)
        if name.lower() in _OTHER:
            continue
        try:
            entry.add(name, _value(rest), number)
        except ValueError:
            # A value that is too long to keep, such as a photo, has no number.
            if len(content) < MAX_VALUE_BYTES:
                yield Fault(number, f"{quoted(name)} is no base64, and is not read")
    if entry is not None:
        yield entry.contact()


class _LdifEntry:
    def __init__(self, line: int) -> None:
        self._line = line
        self._names = dict[str, str]()
        self._numbers = list[WrittenNumber]()

    def add(self, attribute: str, value: str, line: int) -> None:
        name = attribute.lower()
        self._names.setdefault(name, one_line(value))
        if len(self._numbers) >= MAX_NUMBERS:
            return
        if name in _PHONES or vocabulary.is_phone(vocabulary.normalize_name(attribute)):
            self._numbers += written_numbers(value, line)
        elif name not in _NAMES and looks_like_number(value):
            self._numbers += written_numbers(value, line, attribute)

    def contact(self) -> Contact:
        parts = " ".join(filter(None, map(self._names.get, ("givenname", "sn"))))
        names = [self._names.get(name) for name in _NAMES]
        name = next(filter(None, (*names[:2], parts, *names[2:])), "")
        numbers = self._numbers or numbers_in_name(name, self._line)
        return Contact(name, tuple(numbers), self._line)


def _unfolded(lines: Iterable[Line]) -> Iterator[tuple[int, bytes]]:
    """Yield the unfolded lines without comments; b"" ends an entry."""
    first, gathered, size = 0, list[bytes](), 0
    for line in lines:
        if line.content[:1] == b" " and gathered:
            if size < MAX_VALUE_BYTES and len(line.content) > 1:
                gathered.append(line.content[1 : 1 + MAX_VALUE_BYTES - size])
                size += len(gathered[-1])
            continue
        if gathered and gathered[0][:1] != b"#":
            yield first, b"".join(gathered)
        first, gathered = line.number, [line.content[:MAX_VALUE_BYTES]]
        size = len(gathered[0])
        if not line.content.strip():
            yield first, b""
            gathered = []
    if gathered and gathered[0][:1] != b"#":
        yield first, b"".join(gathered)


def _value(rest: bytes) -> str:
    """Return a value: text, base64 after a second colon, "" for a file reference; raise ValueError."""
    if rest[:1] == b":":
        return decode(base64.b64decode(rest[1:].strip(), validate=True))
    return "" if rest[:1] == b"<" else decode(rest).strip()
