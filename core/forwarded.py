"""The header fields of proxies: `X-Forwarded-For`, and `Forwarded` (RFC 7239).

A field is read from the right: its end is the last proxy's, whatever a client wrote before it.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Undisclosed(Enum):
    """What a hop may be instead of an address."""

    #: `unknown`, or a name that a proxy made up (RFC 7239 sections 6.2 and 6.3).
    HIDDEN = "hidden"
    #: Anything else.
    UNREADABLE = "unreadable"


Hop = Address | Undisclosed

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
#: A value of RFC 7239, but proxies omit the quotes around IPv6 addresses and ports.
_VALUE = r'(?:"(?:[^"\\]|\\.)*"|[^\s",;]*)'
_PAIR = rf"({_TOKEN})=({_VALUE})"
_PAIRS = re.compile(_PAIR)
#: No blank matches in two places, or a client could cause exponential backtracking.
_ELEMENT = re.compile(rf"{_PAIR}[ \t]*(?:;[ \t]*(?:{_PAIR}[ \t]*)?)*")
#: Commas in the quoted strings of one element.
MAX_COMMAS = 8
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\S*)?|([^:]*):\S*")
_HIDDEN = re.compile(r"unknown|_[A-Za-z0-9._-]+", re.IGNORECASE)


def read_hop(text: str) -> Hop:
    """Return one hop: an address, with or without brackets, quotes and port."""
    text = _unquoted(text.strip()).strip()
    found = _WITH_PORT.fullmatch(text)
    address = address_of(text) or (found and address_of(found[1] or found[2]))
    if address:
        return address
    name = found[2] if found and found[2] else text
    return Undisclosed.HIDDEN if _HIDDEN.fullmatch(name) else Undisclosed.UNREADABLE


def address_of(text: str) -> Address | None:
    """Return an address without its zone, an IPv4-mapped one as IPv4; None if it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _x_forwarded_for(value: str) -> Iterator[Hop]:
    for hop in reversed(value.split(",")):
        if hop.strip():
            yield read_hop(hop)


def _forwarded(value: str) -> Iterator[Hop]:
    rest = value
    while rest := rest.rstrip(" \t,"):
        element, rest = _last_element(rest)
        if element is None:
            yield Undisclosed.UNREADABLE
            return
        # Pair by pair, so that nothing inside a quoted string counts.
        written = [(name.lower(), value) for name, value in _PAIRS.findall(element)]
        pairs = dict(written)
        if len(pairs) < len(written):
            # RFC 7239 section 4 forbids a parameter twice; one of the two may be a client's.
            yield Undisclosed.UNREADABLE
            return
        # A proxy may leave `for` out.
        yield read_hop(pairs["for"]) if "for" in pairs else Undisclosed.HIDDEN


def _last_element(value: str) -> tuple[str | None, str]:
    """Split a field before its last element; None if that is malformed.

    The element is the shortest match from the right, so a quotation mark that a client leaves open cannot
    swallow what its proxy wrote.
    """
    end = len(value)
    for _ in range(MAX_COMMAS):
        end = value.rfind(",", 0, end)
        element = value[end + 1 :].strip(" \t")
        if _ELEMENT.fullmatch(element):
            return element, value[: max(0, end)]
        if end < 0:
            break
    return None, ""


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


#: Return the hops of a field's value, the last one first.
FIELDS: Mapping[str, Callable[[str], Iterator[Hop]]] = {
    "X-Forwarded-For": _x_forwarded_for,
    "Forwarded": _forwarded,
}
