"""Server names and user ids of Matrix (appendices of the specification)."""

import ipaddress
import re
from functools import cache
from typing import Any, NamedTuple

MAX_LENGTH = 255
_SERVER = r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,255})(?::([0-9]{1,5}))?"
#: A user id; the part before the colon allows what old homeservers allowed.
USER_ID_PATTERN = rf"^@[!-9;-~]+:{_SERVER}$"
_SERVER_NAME = re.compile(_SERVER)
_USER_ID = re.compile(USER_ID_PATTERN)


class ServerName(NamedTuple):
    """A host name, or an address without brackets, and the port if it is named."""

    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "ServerName | None":
        """Parse a server name; None if it is invalid."""
        found = _SERVER_NAME.fullmatch(text)
        if not found or len(text) > MAX_LENGTH:
            return None
        host, port = found[1].strip("[]"), int(found[2]) if found[2] else None
        if port is not None and not 1 <= port <= 65_535:
            return None
        if found[1].startswith("[") and not _is_address(host):
            return None
        return cls(host, port)

    @property
    def text(self) -> str:
        """The name as Matrix writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def is_address(self) -> bool:
        """Whether it is an address and not a host name."""
        return _is_address(self.host)


def is_user_id(text: str) -> bool:
    """Return whether a text is a user id."""
    found = _USER_ID.fullmatch(text)
    return found is not None and len(text) <= MAX_LENGTH and server_of(text) is not None


def server_of(user_id: str) -> str | None:
    """Return the server name of a user id; None if it is invalid."""
    name = user_id.partition(":")[2]
    return name if ServerName.parse(name) else None


def registrable_domain(host: str) -> str:
    """Return the registered domain of a host, or the subnet of an address: /24, or /48 of IPv6.

    Its owner can create any number of hosts in it. Only suffixes of registries count (the ICANN part of the
    Public Suffix List): names below a dynamic DNS service are as free as hosts, so it is one domain. A host
    that is a suffix itself, or has no dot, is returned as it is.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _registered(host.lower().strip(".")) or host.lower()
    bits = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, bits), strict=False))


@cache
def _suffixes() -> Any:
    # Imported on first use: it takes 60 ms, and many services do not enable Matrix.
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
