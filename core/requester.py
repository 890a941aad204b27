"""The requester: the client's address and its network.

Only proxies that the settings name are trusted, and only in the one header field that the settings name.
"""

import ipaddress
import re
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from core.forwarded import FIELDS, Address, Undisclosed, address_of

log = structlog.get_logger()

#: Between two warnings about unreadable hops.
WARNING_SECONDS = 60.0


class Requester(NamedTuple):
    """A client: an IPv4 address and its /24, or an IPv6 /64, within which a host chooses freely, and its /48.

    A service has a name and no subnet: it acts for many people.
    """

    network: str
    subnet: str | None

    @classmethod
    def service(cls, identity: str) -> "Requester":
        """Return the requester of a service that has a service token."""
        return cls(f"service:{identity}", None)


#: A unix socket has no address: all its clients share one quota.
LOCAL = Requester("local", "local")
#: Clients that a proxy does not name readably share one too, never the proxy's.
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
        #: The trusted header field; proxies pass other ones through from clients.
        self.field = field
        self._hops = FIELDS[field]
        self._clock = clock
        self._warn_at = float("-inf")

    def resolve(self, peer: str | None, forwarded: str | None) -> Requester:
        """Return the requester, by the peer's address and the header field of trusted proxies.

        Walks the field from the right past trusted proxies; the first other address is the client's, whatever
        it wrote further left.
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
        """Warn, once a minute, about a trusted proxy whose header field is unreadable."""
        now = self._clock()
        if now < self._warn_at:
            return
        self._warn_at = now + WARNING_SECONDS
        # Log its form only: the address in it is a person's.
        form = re.sub("[0-9]", "0", re.sub("[A-Za-z]", "a", forwarded[-64:]))
        log.warning("proxy.header_unreadable", proxy=str(proxy), field=self.field, form=form)


def _around(address: Address, bits: int) -> str:
    return str(ipaddress.ip_network((address, bits), strict=False))
