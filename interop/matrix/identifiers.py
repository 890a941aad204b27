"""Names in Matrix: server names and user ids, as the specification's appendices write them.

Owns their grammar and their bounds. Refuses what cannot be one before anything is done with it.
"""

import ipaddress
import re
from functools import cache
from typing import Any, NamedTuple

LONGEST = 255
_SERVER = r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,255})(?::([0-9]{1,5}))?"
#: A user id; its part before the colon as wide as old homeservers allowed it.
USER_ID_PATTERN = rf"^@[!-9;-~]+:{_SERVER}$"
_SERVER_NAME = re.compile(_SERVER)
_USER_ID = re.compile(USER_ID_PATTERN)


class ServerName(NamedTuple):
    """A host name or an address without brackets, and the port if one is named."""

    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "ServerName | None":
        """Read a server name; None for what cannot be one."""
        found = _SERVER_NAME.fullmatch(text)
        if not found or len(text) > LONGEST:
            return None
        host, port = found[1].strip("[]"), int(found[2]) if found[2] else None
        if port is not None and not 1 <= port <= 65_535:
            return None
        if found[1].startswith("[") and not _is_address(host):
            return None
        return cls(host, port)

    @property
    def text(self) -> str:
        """The name as it is written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def is_address(self) -> bool:
        """Whether it names an address and no host."""
        return _is_address(self.host)


def is_user_id(text: str) -> bool:
    """Say whether a text is a user id."""
    found = _USER_ID.fullmatch(text)
    return found is not None and len(text) <= LONGEST and server_of(text) is not None


def server_of(user_id: str) -> str | None:
    """Give the server name of a user id; None when it is none."""
    name = user_id.partition(":")[2]
    return name if ServerName.parse(name) else None


def registrable_domain(host: str) -> str:
    """Give the domain that was registered for a host, or the network around an address: /24, or /48 of IPv6.

    Whoever has one makes any number of hosts in it. Suffixes are those of registries (the ICANN part of the
    Public Suffix List): names below a dynamic DNS service are as free as hosts, so it counts as one domain. A
    host that is a suffix itself, or has no dot, is its own.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _registered(host.lower().strip(".")) or host.lower()
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, bits), strict=False))


@cache
def _suffixes() -> Any:
    # Read when it is first needed, for it takes 60 ms, and most services keep this door closed.
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(only_icann=True)


def _registered(host: str) -> str | None:
    found: str | None = _suffixes().privatesuffix(host)
    return found


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
