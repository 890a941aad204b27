"""Header fields in which proxies say for whom they ask: `X-Forwarded-For`, and `Forwarded` (RFC 7239).

A field is read from its right end: what stands there is the last proxy's, whatever a client wrote before it.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Undisclosed(Enum):
    """What may stand in an address's place."""

    #: `unknown`, or a name that a proxy made up (RFC 7239 sections 6.2 and 6.3).
    HIDDEN = "hidden"
    #: Anything else.
    UNREADABLE = "unreadable"


Hop = Address | Undisclosed

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
#: A value as RFC 7239 has it; proxies leave the quotes out around IPv6 addresses and ports.
_VALUE = r'(?:"(?:[^"\\]|\\.)*"|[^\s",;]*)'
_PAIR = rf"({_TOKEN})=({_VALUE})"
_PAIRS = re.compile(_PAIR)
#: No blank can be matched in two places, or a client's field could take exponential time.
_ELEMENT = re.compile(rf"{_PAIR}[ \t]*(?:;[ \t]*(?:{_PAIR}[ \t]*)?)*")
#: Commas that may stand in the quoted strings of one element.
MAX_COMMAS = 8
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\S*)?|([^:]*):\S*")
_HIDDEN = re.compile(r"unknown|_[A-Za-z0-9._-]+", re.IGNORECASE)


def read_hop(text: str) -> Hop:
    """Read one hop: an address, in brackets or quotes or not, with a port or not."""
    text = _unquoted(text.strip()).strip()
    found = _WITH_PORT.fullmatch(text)
    address = address_of(text) or (found and address_of(found[1] or found[2]))
    if address:
        return address
    name = found[2] if found and found[2] else text
    return Undisclosed.HIDDEN if _HIDDEN.fullmatch(name) else Undisclosed.UNREADABLE


def address_of(text: str) -> Address | None:
    """Read an address without its zone; an IPv4 address that was mapped into IPv6 is itself."""
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
        # Pairs are taken one after the other, so that a quoted string is never looked into.
        written = [(name.lower(), value) for name, value in _PAIRS.findall(element)]
        pairs = dict(written)
        if len(pairs) < len(written):
            # Of a parameter given twice, which RFC 7239 section 4 forbids, one may be a client's.
            yield Undisclosed.UNREADABLE
            return
        # Whom it asks for is the proxy's to tell or not.
        yield read_hop(pairs["for"]) if "for" in pairs else Undisclosed.HIDDEN


def _last_element(value: str) -> tuple[str | None, str]:
    """Split a field before its last element; None for one that is none.

    The fewest characters from the right that are an element: a quotation mark that a client leaves open
    further left cannot swallow what its proxy wrote.
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


#: The hops of each field's value, the last one first.
FIELDS: Mapping[str, Callable[[str], Iterator[Hop]]] = {
    "X-Forwarded-For": _x_forwarded_for,
    "Forwarded": _forwarded,
}
