"""Addresses of hosts that strangers name: resolved once, judged, and only then connected to.

Owns which addresses are the public Internet's. Refuses the ones inside (loopback, private, link-local and
whatever leads there), but in the networks that it is told to allow.
"""

import ipaddress
import socket
from collections.abc import Sequence

from core.name_resolver import PATIENCE_SECONDS, NameResolver, Resolve

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Never gone to, whatever is allowed: link-local addresses, and where clouds tell a host its own credentials
#: (AWS, Google, Azure, Alibaba, Oracle).
_NEVER = [
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
        "168.63.129.16/32",
        "100.100.100.200/32",
        "192.0.0.192/32",
    )
]
#: Of protocols, not of hosts (RFC 6890); relays of 6to4, deprecated (RFC 7526); documentation (RFC 9637).
#: Some or all of each is public to `ipaddress`, by version.
_NO_HOSTS = [
    ipaddress.ip_network(network) for network in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")
]
#: For who may go everywhere.
EVERYWHERE = ("0.0.0.0/0", "::/0")
#: All of IPv6 that is given out for use by everybody (RFC 4291).
_UNICAST = ipaddress.IPv6Network("2000::/3")
#: HostResolver that carry an IPv4 address within, which decides where they lead (RFC 6052).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


class HostNotFound(Exception):
    """A host has no address."""


class AddressNotAllowed(Exception):
    """None of a host's addresses may be connected to."""


def resolve(host: str) -> list[str]:
    """Give the addresses of a host as the system's resolver does."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class HostResolver:
    """Finds the address of a host that may be connected to."""

    def __init__(
        self,
        resolver: Resolve,
        allowed_networks: Sequence[str],
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._names = NameResolver(resolver, patience)
        self._allowed = [ipaddress.ip_network(network) for network in allowed_networks]

    def resolve(self, host: str) -> Address:
        """Give an address of a host, which is a name or an address itself; it is resolved this once.

        Whoever resolved it again could be told another. Raises HostNotFound or AddressNotAllowed.
        """
        try:
            addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in self._texts(host)]
        except (OSError, ValueError):
            raise HostNotFound from None
        for address in addresses:
            if self.may_connect(address):
                return address
        raise AddressNotAllowed if addresses else HostNotFound

    def _texts(self, host: str) -> Sequence[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            return self._names.addresses(host)

    def may_connect(self, address: Address) -> bool:
        """Say whether an address is public or allowed, and not one that is never gone to."""
        inner = _innermost(address)
        if any(one in network for one in (address, inner) for network in _NEVER):
            return False
        if any(inner in network for network in self._allowed):
            return True
        if any(inner in network for network in _NO_HOSTS):
            return False
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
