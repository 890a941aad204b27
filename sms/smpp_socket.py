"""The socket under an SMPP connection: whole PDUs in and out, each wait bounded, with or without TLS.

Owns the bytes. Tells apart what never left this host from what did in part, since only the first may be
handed to somebody else.
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

from sms import smpp_pdus
from sms.provider import Ambiguous, Unavailable
from sms.smpp_pdus import HEADER_SIZE, InvalidPdu, PduHeader

log = structlog.get_logger()

Result = TypeVar("Result")

CHUNK = 65_536


@dataclass(frozen=True)
class SmscAddress:
    """Where the SMSC listens; `tls` is the context to trust it by, None for a plain connection."""

    host: str
    port: int
    tls: SSLContext | None = None


class ConnectionClosed(Exception):
    """The other side ended the connection."""


class PduSocket:
    """Reads in one thread (a greenlet under gevent) and writes from any.

    The socket never blocks by itself: each of its calls is made under a lock, because OpenSSL does not
    bear two at a time, and whoever must wait does so outside of that lock.
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
        """Connect, and shake hands if it is TLS; raises Unavailable."""
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
        """Read one PDU: its header and its body.

        idle: seconds to wait for its first octet; TimeoutError when they are over.
        seconds: after that, until the rest must be there.
        Raises ConnectionClosed, OSError, and InvalidPdu for what is no PDU or comes in half.
        """
        if not self._buffer:
            self._fill(time.monotonic() + idle)
        try:
            deadline = time.monotonic() + seconds
            header = smpp_pdus.read_header(self._take(HEADER_SIZE, deadline))
            return header, self._take(header.length - HEADER_SIZE, deadline)
        except TimeoutError as fault:
            raise InvalidPdu("half a PDU") from fault

    def write(self, octets: bytes, deadline: float) -> None:
        """Write one PDU until a moment of the monotonic clock.

        Raises Unavailable when not an octet of it went out, and Ambiguous when some did.
        """
        if not self._writing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Unavailable("write-timeout")
        left = memoryview(octets)
        try:
            while left:
                left = left[self._send(left, deadline) :]
        except OSError as fault:
            # What follows half a PDU would be read as its other half.
            self.shut()
            raise (Unavailable if len(left) == len(octets) else Ambiguous)(
                "connection-lost"
            ) from fault
        finally:
            self._writing.release()

    def shut(self) -> None:
        """End the connection in both directions, which wakes whoever waits for it."""
        with self._calling, suppress(OSError):
            self._shut = True
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let the socket go; for the thread that reads, once it does no more."""
        self.shut()
        # Its number is another socket's as soon as it is closed, so nobody may still be waiting on it.
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
        """Make a call as soon as the socket lets it through."""
        while True:
            with self._calling:
                if self._shut:
                    raise ConnectionAbortedError
                try:
                    done = call()
                    # gevent's TLS socket says 0 where Python's raises.
                    if done != 0:
                        return done
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
