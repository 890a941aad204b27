"""Addresses of hosts that strangers name: resolved once and checked before anything connects.

Only addresses of the public Internet are allowed, and those of networks that the operator allows: no
loopback, private or link-local address, and none that leads to one.
"""

import ipaddress
import socket
from collections.abc import Sequence

from core.name_resolver import PATIENCE_SECONDS, NameResolver, Resolve

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Never connected to, whatever is allowed: link-local addresses, and the metadata services of clouds, which
#: return credentials (AWS, Google, Azure, Alibaba, Oracle).
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
#: For protocols, not hosts (RFC 6890); relays of 6to4, deprecated (RFC 7526); documentation (RFC 9637).
#: Depending on its version, `ipaddress` calls some of them global.
_NO_HOSTS = [
    ipaddress.ip_network(network) for network in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")
]
#: Allows every address but `_NEVER`.
EVERYWHERE = ("0.0.0.0/0", "::/0")
#: Global unicast addresses of IPv6 (RFC 4291).
_UNICAST = ipaddress.IPv6Network("2000::/3")
#: Addresses that carry an IPv4 address, which decides where they lead (RFC 6052).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


class HostNotFound(Exception):
    """The host has no address."""


class AddressNotAllowed(Exception):
    """None of the host's addresses may be connected to."""


def resolve(host: str) -> list[str]:
    """Return the addresses of a host as the system's resolver does."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class HostResolver:
    """Resolves a host to an address that may be connected to."""

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
        """Return an allowed address of a host name or address.

        Connect to this address: resolving again could return another one (DNS rebinding). Raises
        HostNotFound or AddressNotAllowed.
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
        """Return whether an address is public or allowed, and not in `_NEVER`."""
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
    """Return the IPv4 address that an IPv6 address leads to, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)
