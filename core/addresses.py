"""Addresses of hosts that strangers name: resolved once, judged, and only then connected to.

Owns which addresses are the public Internet's. Refuses the ones inside (loopback, private, link-local and
whatever leads there), but in the networks that it is told to allow.
"""

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Gives the addresses of a host, as text; raises OSError when it has none.
Resolve = Callable[[str], Sequence[str]]

#: Names resolved at once, and seconds to wait for a turn. gevent has ten threads for that and for SQLite's
#: commits, and strangers' name servers may be as slow as they like.
LOOKUPS, LONGEST_QUEUE = 4, 5.0
#: For who may go everywhere.
EVERYWHERE = ("0.0.0.0/0", "::/0")
#: All of IPv6 that is given out for use by everybody (RFC 4291).
_UNICAST = ipaddress.IPv6Network("2000::/3")
#: Addresses that carry an IPv4 address within, which decides where they lead (RFC 6052).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


class NoAddress(Exception):
    """A host has no address."""


class AddressRefused(Exception):
    """None of a host's addresses may be connected to."""


def resolve(host: str) -> list[str]:
    """Give the addresses of a host as the system's resolver does."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Addresses:
    """Finds the address of a host that may be connected to."""

    def __init__(
        self,
        resolver: Resolve,
        allowed_networks: Sequence[str],
        *,
        longest_queue: float = LONGEST_QUEUE,
    ) -> None:
        self._resolve = resolver
        self._allowed = [ipaddress.ip_network(network) for network in allowed_networks]
        self._longest_queue = longest_queue
        self._turns = threading.BoundedSemaphore(LOOKUPS)

    def of(self, host: str) -> Address:
        """Give an address of a host, which is a name or an address itself; it is resolved this once.

        Whoever resolved it again could be told another. Raises NoAddress or AddressRefused.
        """
        try:
            addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in self._texts(host)]
        except (OSError, ValueError):
            raise NoAddress from None
        for address in addresses:
            if self.may_connect(address):
                return address
        raise AddressRefused if addresses else NoAddress

    def _texts(self, host: str) -> Sequence[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        if not self._turns.acquire(timeout=self._longest_queue):
            raise OSError("others resolve for too long")
        try:
            return self._resolve(host)
        finally:
            self._turns.release()

    def may_connect(self, address: Address) -> bool:
        """Say whether an address is public or allowed."""
        inner = _innermost(address)
        if any(inner in network for network in self._allowed):
            return True
        unicast = inner.version == 4 or inner in _UNICAST
        return unicast and inner.is_global and not inner.is_multicast and not inner.is_reserved


def _innermost(address: Address) -> Address:
    """Give the IPv4 address that an IPv6 address leads to, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)
