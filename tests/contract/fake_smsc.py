"""A local SMSC that speaks SMPP 3.4 over real TCP, and misbehaves as it is told.

The other side of the protocol. It parses with smpplib, so foreign code reads what the provider writes.
"""

import socket
import ssl
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from smpplib import command_codes, consts, smpp
from smpplib.client import SimpleSequenceGenerator

SYSTEM_ID, PASSWORD = "kith", "s3cret"
PATIENCE = 5.0


class Session:
    """One connection of an ESME."""

    def __init__(self, fake: "FakeSmsc", connected: socket.socket) -> None:
        self.fake = fake
        self._socket = connected
        self._writing = threading.Lock()
        self._buffer = b""
        self.bound = False

    def serve(self) -> None:
        """React to each PDU until the connection ends."""
        with suppress(OSError, EOFError):
            while True:
                self._react(self._read())
        self.hang_up()
        self._socket.close()

    def _read(self) -> Any:
        head = self._take(4)
        length = struct.unpack(">L", head)[0]
        return smpp.parse_pdu(
            head + self._take(length - 4),
            client=SimpleSequenceGenerator(),
            allow_unknown_opt_params=True,
        )

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            octets = self._socket.recv(65_536)
            if not octets:
                raise EOFError
            self._buffer += octets
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _react(self, pdu: Any) -> None:
        fake = self.fake
        with fake.changed:
            if pdu.command == "submit_sm":
                fake.submitted.append(pdu)
                fake.outstanding += 1
                fake.peak = max(fake.peak, fake.outstanding)
            fake.received.append(pdu)
            scripted = fake.reactions[pdu.command]
            reaction = scripted.popleft() if scripted else fake.usual.get(pdu.command, accept)
            fake.changed.notify_all()
        reaction(self, pdu)

    def say(self, octets: bytes) -> None:
        """Write octets, whatever they are."""
        with self._writing, suppress(OSError):
            self._socket.sendall(octets)

    def send(self, command: str, sequence: int, **fields: Any) -> None:
        """Write a PDU."""
        self.say(pdu_octets(command, sequence, **fields))

    def hang_up(self) -> None:
        """End the connection."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End the connection as a crash does: with a reset, and what is unread is lost."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


Reaction = Callable[[Session, Any], None]


def pdu_octets(command: str, sequence: int, **fields: Any) -> bytes:
    """Write a PDU with smpplib."""
    pdu = smpp.make_pdu(command, sequence=sequence, **fields)
    pdu.sequence = sequence
    octets: bytes = pdu.generate()
    return octets


def accept(session: Session, pdu: Any) -> None:
    """Do what the request asks for, as an SMSC should."""
    fake = session.fake
    if pdu.command == "bind_transceiver":
        login = (pdu.system_id.decode(), pdu.password.decode())
        refused = login != (SYSTEM_ID, PASSWORD)
        status = consts.SMPP_ESME_RINVPASWD if refused else consts.SMPP_ESME_ROK
        session.send("bind_transceiver_resp", pdu.sequence, status=status, system_id="fake")
        with fake.changed:
            session.bound = not refused
            fake.changed.notify_all()
    elif pdu.command == "submit_sm":
        answer_submit(session, pdu, fake.next_id())
    elif pdu.command in ("enquire_link", "unbind"):
        session.send(f"{pdu.command}_resp", pdu.sequence)


def answer_submit(session: Session, pdu: Any, message_id: str) -> None:
    """Take a text under this id."""
    with session.fake.changed:
        session.fake.outstanding -= 1
    session.send("submit_sm_resp", pdu.sequence, message_id=message_id)


def accept_as(message_id: str) -> Reaction:
    """Take a text under this id."""
    return lambda session, pdu: answer_submit(session, pdu, message_id)


def refuse(status: int) -> Reaction:
    """Refuse a request with this status, in a header and nothing else."""

    def react(session: Session, pdu: Any) -> None:
        number = command_codes.get_command_code(f"{pdu.command}_resp")
        session.say(struct.pack(">LLLL", 16, number, status, pdu.sequence))

    return react


def hang_up(session: Session, pdu: Any) -> None:
    """End the connection instead of answering."""
    session.hang_up()


def reset(session: Session, pdu: Any) -> None:
    """Break the connection instead of answering."""
    session.reset()


def stall(session: Session, pdu: Any) -> None:
    """Say nothing."""


def say(octets: bytes) -> Reaction:
    """Write these octets instead of an answer."""
    return lambda session, pdu: session.say(octets)


def accept_twice(session: Session, pdu: Any) -> None:
    """Answer a text twice under its number, the second time with another id."""
    accept(session, pdu)
    session.send("submit_sm_resp", pdu.sequence, message_id="4711")


def answer_otherwise(command: str, shift: int = 0, **fields: Any) -> Reaction:
    """Answer with another PDU, or under another sequence number."""
    return lambda session, pdu: session.send(command, pdu.sequence + shift, **fields)


def answer_together(number: int) -> Reaction:
    """Answer nobody before so many texts wait for their answer at once; then all of them."""
    waiting: list[tuple[Session, Any]] = []

    def react(session: Session, pdu: Any) -> None:
        waiting.append((session, pdu))
        if len(waiting) == number:
            for each in waiting:
                accept(*each)
            waiting.clear()

    return react


def receipt(message_id: str, state: str = "DELIVRD", error: str = "000", text: str = "") -> bytes:
    """Write the text of a receipt (SMPP 3.4, appendix B)."""
    return (
        f"id:{message_id} sub:001 dlvrd:001 submit date:2603011200 done date:2603011201"
        f" stat:{state} err:{error} text:{text}"
    ).encode()


@dataclass(frozen=True)
class _Listener:
    socket: socket.socket
    thread: threading.Thread


class FakeSmsc:
    """An SMSC on a free port of the loopback; use as a context manager."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        #: Guards what follows, and tells of its changes.
        self.changed = threading.Condition()
        self.received: list[Any] = []
        self.submitted: list[Any] = []
        self.outstanding = self.peak = 0
        self.reactions: dict[str, deque[Reaction]] = defaultdict(deque)
        self.usual: dict[str, Reaction] = {}
        self.sessions: list[Session] = []
        self.port = 0
        self._tls = tls
        self._ids = self._sequence = 0
        self._listener: _Listener | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "FakeSmsc":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port each time."""
        listening = socket.create_server(("127.0.0.1", self.port), backlog=128)
        listening.settimeout(0.01)
        self.port = listening.getsockname()[1]
        self._listener = _Listener(listening, threading.Thread(target=self._accept))
        self._listener.thread.start()

    def stop(self) -> None:
        """Go away, as a restart does: every connection ends."""
        listener, self._listener = self._listener, None
        assert listener
        listener.thread.join()
        listener.socket.close()
        for session in self.sessions:
            session.hang_up()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while listener := self._listener:
            try:
                connected, _ = listener.socket.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connected,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connected: socket.socket) -> None:
        connected.settimeout(None)
        if self._tls:
            try:
                connected = self._tls.wrap_socket(connected, server_side=True)
            except OSError:
                connected.close()
                return
        session = Session(self, connected)
        with self.changed:
            self.sessions.append(session)
            self.changed.notify_all()
        session.serve()

    def next_id(self) -> str:
        """Name the next message."""
        with self.changed:
            self._ids += 1
            return str(self._ids)

    def next(self, command: str, *reactions: Reaction) -> None:
        """React so to the next requests; after them, everything is accepted again."""
        self.reactions[command].extend(reactions)

    def deliver(self, *, options: bytes = b"", session: int = -1, **fields: Any) -> int:
        """Deliver to the newest session; give the sequence number that it is to be answered with."""
        with self.changed:
            self._sequence += 1
            sequence = self._sequence
        values = {"esm_class": 4, "source_addr": "4915112345678", "destination_addr": "Kith"}
        octets = pdu_octets("deliver_sm", sequence, **(values | fields)) + options
        self.sessions[session].say(struct.pack(">L", len(octets)) + octets[4:])
        return sequence

    def answered(self, sequence: int) -> int:
        """Wait for the answer to a delivery and give its status."""
        self.wait_for(lambda: self._answer(sequence) is not None)
        answer = self._answer(sequence)
        assert answer
        return int(answer.status)

    def _answer(self, sequence: int) -> Any:
        for pdu in self.received:
            if pdu.command == "deliver_sm_resp" and pdu.sequence == sequence:
                return pdu
        return None

    def commands(self) -> list[str]:
        """Name what was received, in its order."""
        return [pdu.command for pdu in self.received]

    def wait_for(self, condition: Callable[[], Any]) -> None:
        """Wait until something has been received."""
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), "it never came"
