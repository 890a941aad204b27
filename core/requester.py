"""Who is asking, as far as the network tells: the client's address and the network around it.

Owns whom to believe about it. Refuses `X-Forwarded-For` from anyone the settings do not name.
"""

import ipaddress
from typing import NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Requester(NamedTuple):
    """Whoever asks: an IPv4 address and its /24, or the /64 an IPv6 host is free in and its /48.

    A service that asks for people of its own has a name and no network around it.
    """

    network: str
    wider: str | None

    @classmethod
    def service(cls, identity: str) -> "Requester":
        """Name a service that was given a token, which asks for many people from one address."""
        return cls(f"service:{identity}", None)


class RequesterResolver:
    """Finds the client's address behind the proxies that the settings name."""

    def __init__(self, trusted_proxies: tuple[str, ...]) -> None:
        self._trusted = [ipaddress.ip_network(network) for network in trusted_proxies]

    def resolve(self, peer: str | None, forwarded_for: str | None) -> Requester:
        """Say who asks, by the connection's other end and what proxies say of who is behind it.

        Walks `X-Forwarded-For` from the right, past trusted proxies only; the first address that no
        trusted proxy has is the client's, whatever it wrote further left itself.
        """
        address = _parse(peer or "")
        hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
        while address is not None and hops and self._is_trusted(address):
            hop = _parse(hops.pop())
            if hop is None:
                break
            address = hop
        if address is None:
            # A unix socket has no address: all its clients share one allowance.
            return Requester("local", "local")
        if address.version == 4:
            return Requester(str(address), _around(address, 24))
        return Requester(_around(address, 64), _around(address, 48))

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _around(address: Address, bits: int) -> str:
    return str(ipaddress.ip_network((address, bits), strict=False))


def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
