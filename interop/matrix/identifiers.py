"""Names in Matrix: server names and user ids, as the specification's appendices write them.

Owns their grammar and their bounds. Refuses what cannot be one before anything is done with it.
"""

import ipaddress
import re
from typing import NamedTuple

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


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
