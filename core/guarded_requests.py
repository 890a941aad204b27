"""Requests to hosts that strangers name, safe from SSRF: an adapter for the requests library.

The connection goes to the very address that `core/host_resolver.py` checked. Connecting and the head of a
response have one deadline each, so a host that sends byte by byte blocks nobody.
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
    """A connection to a checked address, with deadlines."""

    addresses: HostResolver
    #: Seconds to connect, handshake included, and again for the head of a response.
    seconds: float
    #: Ports that may be connected to; None: any.
    ports: frozenset[int] | None = None
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        port = self.port or self.default_port
        if self.ports is not None and port not in self.ports:
            log.warning("outbound.port_blocked")
            raise NewConnectionError(self, "the port is refused")
        try:
            address = self.addresses.resolve(self.host)
        except HostNotFound:
            raise NewConnectionError(self, "the host has no address") from None
        except AddressNotAllowed:
            log.warning("outbound.address_blocked")
            raise NewConnectionError(self, "the host's address is refused") from None
        seconds = self.timeout if isinstance(self.timeout, int | float) else self.seconds
        try:
            plain = socket.create_connection((str(address), port), seconds)
        except TimeoutError:
            raise ConnectTimeoutError(self, "no connection in time") from None
        except OSError:
            raise NewConnectionError(self, "no connection") from None
        # TLS detaches the socket from its object; a second handle can still shut it down.
        self._handle = plain.dup()
        return plain

    def connect(self) -> None:
        """Connect, TLS handshake included."""
        with self._deadline():
            super().connect()

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        """Read the head of a response."""
        with self._deadline():
            return super().getresponse()

    def close(self) -> None:
        """Close the connection."""
        super().close()
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        # The time-out is for each read; a host that sends byte by byte would get many.
        late = threading.Event()
        end = threading.Timer(self.seconds, self._end, (late,))
        end.daemon = True
        end.start()
        try:
            yield
        finally:
            end.cancel()
        if late.is_set():
            # http.client accepts a head that was cut short.
            raise TimeoutError

    def _end(self, late: threading.Event) -> None:
        late.set()
        handle = self._handle
        # The connection may be closed at the same moment.
        with suppress(OSError):
            if handle is not None:
                handle.shutdown(socket.SHUT_RDWR)


class GuardedAdapter(HTTPAdapter):
    """Sends the requests of a `requests.Session` to hosts that strangers name.

    connections: kept per host. ports: allowed ports; None: any.
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
        """Create pools of guarded connections."""
        super().init_poolmanager(*args, **kwargs)
        plain = type("GuardedPlain", (_Guarded,), self._reach)
        secure = type("GuardedSecure", (_Guarded, HTTPSConnection), self._reach)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
