"""Who is asking, as far as the network tells: the client's address and the network around it.

Proxies are believed about it if the settings name them, in the one header field that the settings name.
"""

import ipaddress
import re
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from core.forwarded import FIELDS, Address, Undisclosed, address_of

log = structlog.get_logger()

#: Between two warnings about hops that cannot be read.
WARNING_SECONDS = 60.0


class Requester(NamedTuple):
    """Whoever asks: an IPv4 address and its /24, or the /64 an IPv6 host is free in and its /48.

    A service that asks for people of its own has a name and no network around it.
    """

    network: str
    subnet: str | None

    @classmethod
    def service(cls, identity: str) -> "Requester":
        """Name a service that was given a token, which asks for many people from one address."""
        return cls(f"service:{identity}", None)


#: A unix socket has no address: all its clients share one quota.
LOCAL = Requester("local", "local")
#: Whom a proxy does not name, or not readably: they share one too, and never the proxy's.
UNKNOWN = Requester("unknown", "unknown")


class RequesterResolver:
    """Finds the client's address behind the proxies that the settings name."""

    def __init__(
        self,
        trusted_proxies: tuple[str, ...],
        field: str = "X-Forwarded-For",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trusted = [ipaddress.ip_network(network) for network in trusted_proxies]
        #: The header field that is believed; a proxy passes a client's own other one through.
        self.field = field
        self._hops = FIELDS[field]
        self._clock = clock
        self._warn_at = float("-inf")

    def resolve(self, peer: str | None, forwarded: str | None) -> Requester:
        """Say who asks, by the connection's other end and what proxies say of who is behind it.

        Walks the header field from the right, past trusted proxies only; the first address that no
        trusted proxy has is the client's, whatever it wrote further left itself.
        """
        address = address_of(peer or "")
        if address is None:
            return LOCAL
        if forwarded and self._is_trusted(address):
            for hop in self._hops(forwarded):
                if isinstance(hop, Undisclosed):
                    if hop is Undisclosed.UNREADABLE:
                        self._warn(address, forwarded)
                    return UNKNOWN
                address = hop
                if not self._is_trusted(address):
                    break
        if address.version == 4:
            return Requester(str(address), _around(address, 24))
        return Requester(_around(address, 64), _around(address, 48))

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _warn(self, proxy: Address, forwarded: str) -> None:
        """Tell operators, once a minute, of a proxy that is trusted and not understood."""
        now = self._clock()
        if now < self._warn_at:
            return
        self._warn_at = now + WARNING_SECONDS
        # Its form is what an operator needs; the address in it is a person's.
        form = re.sub("[0-9]", "0", re.sub("[A-Za-z]", "a", forwarded[-64:]))
        log.warning("requester.unreadable", proxy=str(proxy), field=self.field, form=form)


def _around(address: Address, bits: int) -> str:
    return str(ipaddress.ip_network((address, bits), strict=False))
