"""The socket of an SMPP connection: reads and writes whole PDUs in bounded time, with or without TLS.

It tells a PDU that never left this host, which another provider may send, from one that left in part.
"""

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ssl import SSLCertVerificationError, SSLContext, SSLWantReadError, SSLWantWriteError
from typing import Self, TypeVar

import structlog

from sms.provider import Ambiguous, Unavailable
from sms.smpp import pdus
from sms.smpp.pdus import HEADER_SIZE, InvalidPdu, PduHeader

log = structlog.get_logger()

Result = TypeVar("Result")

CHUNK = 65_536


@dataclass(frozen=True)
class SmscAddress:
    """The address of the SMSC; `tls` is the context that verifies it, None for a plain connection."""

    host: str
    port: int
    tls: SSLContext | None = None


class ConnectionClosed(Exception):
    """The SMSC closed the connection."""


class PduSocket:
    """Reads in one thread (a greenlet under gevent) and writes in any.

    The socket does not block. Each call is made under a lock, because OpenSSL does not allow two at a time;
    waiting happens outside of the lock.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.setblocking(False)
        self._calling = threading.Lock()
        self._writing = threading.Lock()
        self._shut = False
        self._buffer = b""

    @classmethod
    def connect(cls, address: SmscAddress, seconds: float) -> Self:
        """Connect, with a TLS handshake if there is a context; raises Unavailable."""
        try:
            connected = socket.create_connection((address.host, address.port), seconds)
        except TimeoutError as fault:
            raise Unavailable("connect-timeout") from fault
        except OSError as fault:
            raise Unavailable("connect-failed") from fault
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.tls:
                connected = address.tls.wrap_socket(connected, server_hostname=address.host)
            return cls(connected)
        except OSError as fault:
            connected.close()
            if isinstance(fault, SSLCertVerificationError):
                log.error("smpp.refused", error_code="certificate-invalid")
                raise Unavailable("certificate-invalid") from fault
            raise Unavailable("connect-failed") from fault

    def read(self, idle: float, seconds: float) -> tuple[PduHeader, bytes]:
        """Read one PDU and return its header and body.

        idle: seconds to wait for its first octet, then TimeoutError.
        seconds: seconds to wait for the rest, then InvalidPdu.
        Raises ConnectionClosed, OSError, and InvalidPdu for an invalid or incomplete PDU.
        """
        if not self._buffer:
            self._fill(time.monotonic() + idle)
        try:
            deadline = time.monotonic() + seconds
            header = pdus.read_header(self._take(HEADER_SIZE, deadline))
            return header, self._take(header.length - HEADER_SIZE, deadline)
        except TimeoutError as fault:
            raise InvalidPdu("an incomplete PDU") from fault

    def write(self, octets: bytes, deadline: float) -> None:
        """Write one PDU before a deadline of the monotonic clock.

        Raises Unavailable if not an octet was written, and Ambiguous if some were.
        """
        if not self._writing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Unavailable("write-timeout")
        left = memoryview(octets)
        try:
            while left:
                left = left[self._send(left, deadline) :]
        except OSError as fault:
            # The next PDU would be read as the rest of this one.
            self.shutdown()
            raise (Unavailable if len(left) == len(octets) else Ambiguous)(
                "connection-lost"
            ) from fault
        finally:
            self._writing.release()

    def shutdown(self) -> None:
        """Shut the connection down in both directions, which wakes waiting threads."""
        with self._calling, suppress(OSError):
            self._shut = True
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; only the reading thread does, when it is done."""
        self.shutdown()
        # The file descriptor is reused once it is closed, so no thread may still wait on it.
        with self._writing, self._calling:
            self._socket.close()

    def _take(self, size: int, deadline: float) -> bytes:
        while len(self._buffer) < size:
            self._fill(deadline)
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _fill(self, deadline: float) -> None:
        octets = self._when_ready(lambda: self._socket.recv(CHUNK), select.POLLIN, deadline)
        if not octets:
            raise ConnectionClosed
        self._buffer += octets

    def _send(self, octets: memoryview, deadline: float) -> int:
        return self._when_ready(lambda: self._socket.send(octets), select.POLLOUT, deadline)

    def _when_ready(self, call: Callable[[], Result], event: int, deadline: float) -> Result:
        """Make a call as soon as the socket is ready for it."""
        while True:
            with self._calling:
                if self._shut:
                    raise ConnectionAbortedError
                try:
                    result = call()
                    # gevent's TLS socket returns 0 where Python's raises.
                    if result != 0:
                        return result
                    wanted = event
                except BlockingIOError:
                    wanted = event
                except SSLWantReadError:
                    wanted = select.POLLIN
                except SSLWantWriteError:
                    wanted = select.POLLOUT
            self._await(wanted, deadline)

    def _await(self, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._socket, event)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError
