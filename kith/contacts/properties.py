"""One vCard property line: name, encoding, character set, value.

vobject's `parseLine` is not used: it refuses lines that phones really write (a bare parameter with an
umlaut or a space, as in "TEL;home phone:"), raises on half of the exported books in `tests/data/vcards`,
and its regular expression takes exponential time on a run of commas in a parameter (docs/adr/0007).
"""

import base64
import binascii
import re
from dataclasses import dataclass

from kith.contacts.lines import decode
from kith.contacts.unfolding import property_name

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_FIELD_END = re.compile(r"(?<!\\);")
# Only character sets that address books use: Python also knows "encodings" that are slow, or none.
_CHARSETS = re.compile(
    r"us-ascii|iso-?8859-\d{1,2}|windows-125\d|cp125\d|koi8-[ru]|shift[_-]jis|gb2312|gbk|gb18030"
    r"|big5|euc-(?:jp|kr)|iso-2022-jp",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Property:
    """One property: its name in capitals without group, its still encoded value, and how that is
    encoded.
    """

    name: str
    value: bytes
    quoted_printable: bool
    base64: bool
    charset: str | None

    def text(self) -> str:
        """Return the value decoded, its backslash escapes still in place."""
        value = self.value
        if self.quoted_printable:
            value = binascii.a2b_qp(value)
        elif self.base64:
            value = _from_base64(value)
        if self.charset is None or (value is self.value and _is_utf8(value)):
            # A file that is recoded as a whole keeps what its properties say of the encoding before.
            return decode(value)
        try:
            return value.decode(self.charset)
        except (UnicodeError, LookupError):
            return decode(value)


def parse_property(content: bytes) -> Property | None:
    """Return the property that an unfolded line holds, or None when no colon ends its name."""
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
    # Every colon stands behind a quotation mark that is never closed: then the mark means nothing.
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
