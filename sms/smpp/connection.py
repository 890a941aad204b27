"""One bind to an SMSC: its requests, the window of unanswered ones, and their responses.

A request that was written and not answered may have been carried out; it is never written again.
"""

import re
import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

from smpplib import consts

from sms.provider import Ambiguous, SendFailure, Unavailable
from sms.smpp import pdus
from sms.smpp.codes import send_failure
from sms.smpp.pdu_socket import ConnectionClosed, PduSocket, SmscAddress
from sms.smpp.pdus import InvalidPdu, PduHeader

MAX_SEQUENCE = 0x7FFFFFFF
BIND_SEQUENCE = 1


@dataclass(frozen=True)
class SmppCredentials:
    """Credentials of the bind; SMPP allows 15, 8 and 12 characters."""

    system_id: str
    password: str = field(repr=False)
    system_type: str = ""


@dataclass(frozen=True)
class SmppTimeouts:
    """Timeouts in seconds."""

    #: To connect and bind, and for a place in the window.
    connect: float
    #: For each response, and for the rest of a PDU.
    response: float
    #: Without a PDU, before an enquire_link.
    idle: float
    #: Before the first reconnect, and before any.
    first_retry: float = 1.0
    max_retry: float = 60.0


class SubmitResponse(NamedTuple):
    """The response to a submit_sm; `message_id` is None if it is missing or invalid."""

    status: int
    message_id: str | None


class DeliveryHandler(Protocol):
    """Processes deliver_sm and late responses without blocking the reading thread."""

    def handle_deliver_sm(self, connection: "SmppConnection", sequence: int, octets: bytes) -> None:
        """Process the body of a deliver_sm and answer it."""
        ...

    def handle_late_response(self, reference: str, response: SubmitResponse) -> None:
        """Process the response to a submit_sm that nobody waits for."""
        ...


@dataclass
class _Request:
    """An unanswered request; `reference` names the send of a submit_sm."""

    answered_by: str
    reference: str | None
    settled: threading.Event = field(default_factory=threading.Event)
    response: SubmitResponse | None = None
    abandoned: bool = False


class SmppConnection:
    """A bound transceiver, used until it ends."""

    def __init__(
        self, socket: PduSocket, timeouts: SmppTimeouts, window: int, handler: DeliveryHandler
    ) -> None:
        self._socket = socket
        self._timeouts = timeouts
        self._window_size = window
        self._window = threading.BoundedSemaphore(window)
        self._handler = handler
        self._lock = threading.Lock()
        self._requests: dict[int, _Request] = {}
        self._abandoned = 0
        self._sequence = BIND_SEQUENCE
        self._reason: str | None = None

    @classmethod
    def bind(
        cls,
        address: SmscAddress,
        credentials: SmppCredentials,
        timeouts: SmppTimeouts,
        window: int,
        handler: DeliveryHandler,
    ) -> Self:
        """Connect and bind within `timeouts.connect`; raises Unavailable."""
        deadline = time.monotonic() + timeouts.connect
        socket = PduSocket.connect(address, timeouts.connect)
        try:
            _bind(socket, credentials, deadline)
        except BaseException:
            socket.close()
            raise
        return cls(socket, timeouts, window, handler)

    def submit(self, reference: str, seconds: float, **fields: object) -> SubmitResponse:
        """Submit a text and return the response; waits at most `seconds` for a place in the window.

        Raises Unavailable if it certainly was not submitted, Ambiguous if it may have been.
        """
        if not self._window.acquire(timeout=seconds):
            raise Unavailable("window-full")
        try:
            return self._ask("submit_sm", reference, fields)
        finally:
            self._window.release()

    def unbind(self) -> None:
        """Unbind, and end the connection whatever the SMSC answers."""
        try:
            self._ask("unbind", None, {})
        except SendFailure:
            pass
        finally:
            self.end("closed")

    def answer(self, name: str, sequence: int, status: int = consts.SMPP_ESME_ROK) -> None:
        """Answer a request of the SMSC; it repeats the request if the connection has ended."""
        octets = pdus.write(name, sequence, status=status)
        try:
            self._socket.write(octets, time.monotonic() + self._timeouts.response)
        except SendFailure as fault:
            self.end(fault.error_code or "connection-lost")

    def end(self, reason: str) -> None:
        """End the connection; the first reason is kept."""
        with self._lock:
            self._reason = self._reason or reason
        self._socket.shutdown()

    def run(self) -> str:
        """Read until the connection ends and return the reason; all waiting requests end too."""
        reason = "connection-lost"
        try:
            while True:
                self._take(*self._read())
        except ConnectionClosed:
            reason = "connection-closed"
        except InvalidPdu:
            reason = "protocol-error"
        except (OSError, SendFailure):
            pass
        finally:
            self.end(reason)
            self._socket.close()
            with self._lock:
                waiting, self._requests = self._requests, {}
                ended_by = self._reason or reason
            for request in waiting.values():
                request.settled.set()
        return ended_by

    def _ask(self, name: str, reference: str | None, fields: dict[str, object]) -> SubmitResponse:
        deadline = time.monotonic() + self._timeouts.response
        sequence, request = self._register(name, reference)
        try:
            self._socket.write(pdus.write(name, sequence, **fields), deadline)
        except SendFailure:
            with self._lock:
                self._requests.pop(sequence, None)
            raise
        request.settled.wait(max(0.0, deadline - time.monotonic()))
        with self._lock:
            if request.response:
                return request.response
            if self._reason:
                raise Ambiguous(
                    "protocol-error" if self._reason == "protocol-error" else "connection-lost"
                )
            # A late response still settles the send.
            request.abandoned = True
            self._abandoned += 1
            stalled = self._abandoned >= self._window_size
        if stalled:
            self.end("stalled")
        raise Ambiguous("response-timeout")

    def _register(self, name: str, reference: str | None) -> tuple[int, _Request]:
        request = _Request(f"{name}_resp", reference)
        with self._lock:
            if self._reason:
                raise Unavailable("connection-lost")
            self._sequence = self._sequence % MAX_SEQUENCE + 1
            self._requests[self._sequence] = request
            return self._sequence, request

    def _read(self) -> tuple[PduHeader, bytes]:
        """Read the next PDU; send an enquire_link when idle, and end the connection without a response."""
        try:
            return self._socket.read(self._timeouts.idle, self._timeouts.response)
        except TimeoutError:
            sequence, request = self._register("enquire_link", None)
            request.abandoned = True
            self._socket.write(
                pdus.write("enquire_link", sequence), time.monotonic() + self._timeouts.response
            )
        try:
            return self._socket.read(self._timeouts.response, self._timeouts.response)
        except TimeoutError:
            self.end("enquire-link-timeout")
            raise

    def _take(self, header: PduHeader, octets: bytes) -> None:
        name, sequence = header.command, header.sequence
        if name == "enquire_link":
            self.answer("enquire_link_resp", sequence)
        elif name == "deliver_sm":
            self._handler.handle_deliver_sm(self, sequence, octets)
        elif name == "unbind":
            self.answer("unbind_resp", sequence)
            raise ConnectionClosed
        elif name and (name == "generic_nack" or name.endswith("_resp")):
            self._settle(header, octets)
        elif name != "alert_notification":
            self.answer("generic_nack", sequence, consts.SMPP_ESME_RINVCMDID)

    def _settle(self, header: PduHeader, octets: bytes) -> None:
        """Hand a response to its request; raises InvalidPdu if it answers none of ours."""
        response = _parse_response(header, octets)
        with self._lock:
            request = self._requests.get(header.sequence)
            if request is None:
                if header.sequence > self._sequence or header.command == "generic_nack":
                    raise InvalidPdu("a response to no request")
                # A second response to one request.
                return
            if header.command not in (request.answered_by, "generic_nack"):
                raise InvalidPdu("a response to another kind of request")
            del self._requests[header.sequence]
            request.response = response
            late = request.abandoned and request.reference
            self._abandoned -= bool(late)
        request.settled.set()
        if late:
            self._handler.handle_late_response(late, response)


def _parse_response(header: PduHeader, octets: bytes) -> SubmitResponse:
    """Return a response; the body of a refusal is useless and often missing."""
    if header.status or header.command != "submit_sm_resp":
        return SubmitResponse(header.status, None)
    message_id = pdus.read_body("submit_sm_resp", octets).fields["message_id"]
    readable = re.fullmatch(rb"[!-~]{1,64}", message_id)
    return SubmitResponse(header.status, message_id.decode() if readable else None)


def _bind(socket: PduSocket, credentials: SmppCredentials, deadline: float) -> None:
    """Bind as a transceiver before a deadline; raises Unavailable."""
    request = pdus.write(
        "bind_transceiver",
        BIND_SEQUENCE,
        system_id=credentials.system_id,
        password=credentials.password,
        system_type=credentials.system_type,
    )
    try:
        socket.write(request, deadline)
        left = max(0.0, deadline - time.monotonic())
        header, _ = socket.read(left, left)
    except TimeoutError as fault:
        raise Unavailable("bind-timeout") from fault
    except ConnectionClosed as fault:
        raise Unavailable("connection-closed") from fault
    except InvalidPdu as fault:
        raise Unavailable("protocol-error") from fault
    except (OSError, SendFailure) as fault:
        raise Unavailable("connection-lost") from fault
    if header.command not in ("bind_transceiver_resp", "generic_nack"):
        raise Unavailable("protocol-error")
    if header.status:
        raise Unavailable(send_failure(header.status).error_code)
    if (header.command, header.sequence) != ("bind_transceiver_resp", BIND_SEQUENCE):
        raise Unavailable("protocol-error")
