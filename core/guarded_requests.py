"""The way to an endpoint that a stranger named, for the requests library.

Owns that the address connected to is the one that was judged, and that an endpoint which dribbles holds
nobody up: connecting and the head of an answer have one deadline each. Refuses addresses that
`core/host_resolver.py` does.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.response import HTTPResponse

from core.host_resolver import AddressNotAllowed, HostNotFound, HostResolver

log = structlog.get_logger()


class _Guarded(HTTPConnection):
    """A connection that goes where it may, in time."""

    addresses: HostResolver
    #: Seconds to be connected, the handshake included, and again for the head of an answer.
    seconds: float
    #: Ports that are gone to; None: any.
    ports: frozenset[int] | None = None
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        port = self.port or self.default_port
        if self.ports is not None and port not in self.ports:
            log.warning("port.refused")
            raise NewConnectionError(self, "the port is refused")
        try:
            address = self.addresses.resolve(self.host)
        except HostNotFound:
            raise NewConnectionError(self, "the host has no address") from None
        except AddressNotAllowed:
            log.warning("address.refused")
            raise NewConnectionError(self, "the host's address is refused") from None
        seconds = self.timeout if isinstance(self.timeout, int | float) else self.seconds
        try:
            plain = socket.create_connection((str(address), port), seconds)
        except TimeoutError:
            raise ConnectTimeoutError(self, "no connection in time") from None
        except OSError:
            raise NewConnectionError(self, "no connection") from None
        # TLS takes the socket away from whoever holds it; a second handle can still end it.
        self._handle = plain.dup()
        return plain

    def connect(self) -> None:
        """Connect, and shake hands where there is TLS."""
        with self._deadline():
            super().connect()

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        """Read the head of an answer."""
        with self._deadline():
            return super().getresponse()

    def close(self) -> None:
        """Let the connection go."""
        super().close()
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        # Each read has its time, and byte by byte they could be many: this ends them all.
        late = threading.Event()
        end = threading.Timer(self.seconds, self._end, (late,))
        end.daemon = True
        end.start()
        try:
            yield
        finally:
            end.cancel()
        if late.is_set():
            # http.client takes a head that was cut short for a whole one.
            raise TimeoutError

    def _end(self, late: threading.Event) -> None:
        late.set()
        handle = self._handle
        # It may be over in that very moment.
        with suppress(OSError):
            if handle is not None:
                handle.shutdown(socket.SHUT_RDWR)


class GuardedAdapter(HTTPAdapter):
    """Carries requests of a `requests.Session` to endpoints of strangers.

    connections: kept a host. ports: gone to; None: any.
    """

    def __init__(
        self,
        addresses: HostResolver,
        seconds: float,
        connections: int,
        ports: frozenset[int] | None = None,
    ) -> None:
        self._reach = {"addresses": addresses, "seconds": seconds, "ports": ports}
        super().__init__(pool_connections=connections, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make pools whose connections are guarded."""
        super().init_poolmanager(*args, **kwargs)
        plain = type("GuardedPlain", (_Guarded,), self._reach)
        secure = type("GuardedSecure", (_Guarded, HTTPSConnection), self._reach)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
