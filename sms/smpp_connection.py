"""One bind to an SMSC, from connect to hang-up: who asked what, and what it was answered.

Owns the window of requests without an answer. Refuses to guess: a request that was written and not
answered may have been carried out, and is never written again, on this connection or on the next.
"""

import re
import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

from smpplib import consts

from sms import smpp_pdus
from sms.provider import Ambiguous, SendFailure, Unavailable
from sms.smpp_codes import send_failure
from sms.smpp_pdus import InvalidPdu, PduHeader
from sms.smpp_socket import ConnectionClosed, PduSocket, SmscAddress

MAX_SEQUENCE = 0x7FFFFFFF
BIND_SEQUENCE = 1


@dataclass(frozen=True)
class SmppCredentials:
    """Who we are to the SMSC; its fields are bounded by SMPP at 15, 8 and 12 characters."""

    system_id: str
    password: str = field(repr=False)
    system_type: str = ""


@dataclass(frozen=True)
class SmppTimeouts:
    """How long to wait, in seconds."""

    #: To be connected and bound, and for a send until it is its turn.
    connect: float
    #: For each answer, and for the rest of a PDU that has begun.
    response: float
    #: Of silence, before the SMSC is asked whether it is there.
    idle: float
    #: Before the first reconnect, and at most.
    first_retry: float = 1.0
    longest_retry: float = 60.0


class SubmitResponse(NamedTuple):
    """What a submit_sm was answered; `message_id` is the SMSC's name of the text, if it is readable."""

    status: int
    message_id: str | None


class Inbox(Protocol):
    """Takes what the SMSC says by itself, without keeping the thread that reads."""

    def handle_deliver_sm(self, connection: "SmppConnection", sequence: int, octets: bytes) -> None:
        """Take the body of a deliver_sm, and answer it when that can be done."""
        ...

    def handle_late_response(self, reference: str, answer: SubmitResponse) -> None:
        """Take the answer to a submit_sm that nobody waits for any more."""
        ...


@dataclass
class _Request:
    """A request without an answer; `reference` names the send, if it is one."""

    answered_by: str
    reference: str | None
    settled: threading.Event = field(default_factory=threading.Event)
    answer: SubmitResponse | None = None
    abandoned: bool = False


class SmppConnection:
    """A bound transceiver; it is used until it ends, and then another one is made."""

    def __init__(self, socket: PduSocket, times: SmppTimeouts, window: int, inbox: Inbox) -> None:
        self._socket = socket
        self._times = times
        self._window_size = window
        self._window = threading.BoundedSemaphore(window)
        self._inbox = inbox
        self._lock = threading.Lock()
        self._requests: dict[int, _Request] = {}
        self._abandoned = 0
        self._sequence = BIND_SEQUENCE
        self._reason: str | None = None

    @classmethod
    def bind(
        cls,
        address: SmscAddress,
        login: SmppCredentials,
        times: SmppTimeouts,
        window: int,
        inbox: Inbox,
    ) -> Self:
        """Connect and bind, all within `times.connect`; raises Unavailable."""
        deadline = time.monotonic() + times.connect
        socket = PduSocket.connect(address, times.connect)
        try:
            _log_in(socket, login, deadline)
        except BaseException:
            socket.close()
            raise
        return cls(socket, times, window, inbox)

    def submit(self, reference: str, seconds: float, **fields: object) -> SubmitResponse:
        """Submit a text and wait for the answer; at most `seconds` for a place in the window.

        Raises Unavailable when for certain it was not submitted, Ambiguous when it may have been.
        """
        if not self._window.acquire(timeout=seconds):
            raise Unavailable("window-full")
        try:
            return self._ask("submit_sm", reference, fields)
        finally:
            self._window.release()

    def unbind(self) -> None:
        """Take leave, and end the connection whatever the SMSC says to it."""
        try:
            self._ask("unbind", None, {})
        except SendFailure:
            pass
        finally:
            self.end("closed")

    def answer(self, name: str, sequence: int, status: int = consts.SMPP_ESME_ROK) -> None:
        """SubmitResponse a request of the SMSC, which asks again if the connection has ended."""
        octets = smpp_pdus.write(name, sequence, status=status)
        try:
            self._socket.write(octets, time.monotonic() + self._times.response)
        except SendFailure as fault:
            self.end(fault.error_code or "connection-lost")

    def end(self, reason: str) -> None:
        """End the connection; the first reason given is the one that stays."""
        with self._lock:
            self._reason = self._reason or reason
        self._socket.shut()

    def run(self) -> str:
        """Read until the connection ends, and say why it did; nobody waits for an answer after that."""
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
        deadline = time.monotonic() + self._times.response
        sequence, request = self._register(name, reference)
        try:
            self._socket.write(smpp_pdus.write(name, sequence, **fields), deadline)
        except SendFailure:
            with self._lock:
                self._requests.pop(sequence, None)
            raise
        request.settled.wait(max(0.0, deadline - time.monotonic()))
        with self._lock:
            if request.answer:
                return request.answer
            if self._reason:
                raise Ambiguous(
                    "protocol-error" if self._reason == "protocol-error" else "connection-lost"
                )
            # Its answer may still come, and then says what became of it.
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
        """Read the next PDU; ask a silent SMSC whether it is there, and give up one that is not."""
        try:
            return self._socket.read(self._times.idle, self._times.response)
        except TimeoutError:
            sequence, request = self._register("enquire_link", None)
            request.abandoned = True
            self._socket.write(
                smpp_pdus.write("enquire_link", sequence), time.monotonic() + self._times.response
            )
        try:
            return self._socket.read(self._times.response, self._times.response)
        except TimeoutError:
            self.end("enquire-link-timeout")
            raise

    def _take(self, header: PduHeader, octets: bytes) -> None:
        name, sequence = header.command, header.sequence
        if name == "enquire_link":
            self.answer("enquire_link_resp", sequence)
        elif name == "deliver_sm":
            self._inbox.handle_deliver_sm(self, sequence, octets)
        elif name == "unbind":
            self.answer("unbind_resp", sequence)
            raise ConnectionClosed
        elif name and (name == "generic_nack" or name.endswith("_resp")):
            self._settle(header, octets)
        elif name != "alert_notification":
            self.answer("generic_nack", sequence, consts.SMPP_ESME_RINVCMDID)

    def _settle(self, header: PduHeader, octets: bytes) -> None:
        """Give an answer to who waits for it; raises InvalidPdu when it answers no request of ours."""
        answer = _read_answer(header, octets)
        with self._lock:
            request = self._requests.get(header.sequence)
            if request is None:
                if header.sequence > self._sequence or header.command == "generic_nack":
                    raise InvalidPdu("an answer to a request that nobody made")
                # A second answer to one request.
                return
            if header.command not in (request.answered_by, "generic_nack"):
                raise InvalidPdu("an answer to another kind of request")
            del self._requests[header.sequence]
            request.answer = answer
            late = request.abandoned and request.reference
            self._abandoned -= bool(late)
        request.settled.set()
        if late:
            self._inbox.handle_late_response(late, answer)


def _read_answer(header: PduHeader, octets: bytes) -> SubmitResponse:
    """Read what a request was answered; the body of a refusal is no use, and often missing."""
    if header.status or header.command != "submit_sm_resp":
        return SubmitResponse(header.status, None)
    message_id = smpp_pdus.read_body("submit_sm_resp", octets).fields["message_id"]
    readable = re.fullmatch(rb"[!-~]{1,64}", message_id)
    return SubmitResponse(header.status, message_id.decode() if readable else None)


def _log_in(socket: PduSocket, login: SmppCredentials, deadline: float) -> None:
    """Bind a connection as a transceiver until a moment; raises Unavailable."""
    request = smpp_pdus.write(
        "bind_transceiver",
        BIND_SEQUENCE,
        system_id=login.system_id,
        password=login.password,
        system_type=login.system_type,
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
