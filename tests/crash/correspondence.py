"""Devices that write and read messages over several lives of the server, and hold it to its answers.

The load, what was acknowledged, and what a device may receive after that: readers check a message when it
arrives. A connection ends only when the server was killed, or at the very end.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from bench.people import Person
from core.base64url import encode
from messaging.mailbox.schemas import decode_content
from tests.sockets import Frame, TestSocket

#: Messages of one writer that wait for their answer: together more than one transaction takes.
MAX_IN_FLIGHT = 200
PATIENCE = 30.0
#: How likely a reader acknowledges after a message.
OFTEN = 0.05


class Killed(Exception):
    """The server was killed before somebody could begin."""


@dataclass
class Life:
    """One life of the server; on the last one nobody writes anything new, and everything is read."""

    address: tuple[str, int]
    is_last: bool = False
    #: Set with the first message that is answered.
    begun: threading.Event = field(default_factory=threading.Event)
    killed: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def socket(self, device: Person, subprotocol: str) -> Iterator[TestSocket]:
        """Open a device's socket, which breaks when the server is killed, and never before.

        Raises Killed when the server was killed before it was open.
        """
        try:
            opened = TestSocket(self.address, subprotocol, Authorization=f"Bearer {device.token}")
        except OSError as error:
            assert self.killed.is_set(), f"refused while the server was up: {error!r}"
            raise Killed from None
        with self._until_killed(), opened as socket:
            yield socket

    @contextmanager
    def client(self, device: Person) -> Iterator[httpx.Client]:
        """Give a device a client, whose connection breaks when the server is killed."""
        host, port = self.address
        headers = {"Authorization": f"Bearer {device.token}"}
        with (
            self._until_killed(),
            httpx.Client(
                base_url=f"http://{host}:{port}", headers=headers, timeout=PATIENCE
            ) as client,
        ):
            yield client

    @contextmanager
    def _until_killed(self) -> Iterator[None]:
        try:
            yield
        except (OSError, httpx.TransportError) as error:
            assert self.killed.is_set(), f"broke while the server was up: {error!r}"


class Writer:
    """Writes numbered messages, and again under their client ids those whose answer was lost."""

    def __init__(self, device: Person, recipients: Sequence[Sequence[Person]], seed: int) -> None:
        """Write to some accounts, each known by its devices."""
        self._device = device
        #: What all its texts begin with, and no others.
        self.prefix = f"{device.device_id}."
        self._recipients = recipients
        self._chance = random.Random(seed)
        #: The devices that each message is for, by its number.
        self.written: list[Sequence[Person]] = []
        #: The id that each message was accepted under, by its number.
        self.accepted: dict[int, str] = {}
        #: Messages that were sent and not answered when the server was killed, over all lives.
        self.unanswered = 0

    def text(self, number: int) -> str:
        """Give a message's client id, which is its content too."""
        return f"{self.prefix}{number}"

    def _next(self) -> int:
        self.written.append(self._chance.choice(self._recipients))
        return len(self.written) - 1

    def _again(self) -> list[int]:
        """Give the numbers that are sent again: all without an answer, in order, and one that has it."""
        lost = [number for number in range(len(self.written)) if number not in self.accepted]
        self.unanswered += len(lost)
        return sorted({*lost, *list(self.accepted)[-1:]})

    def _message(self, number: int, show: Callable[[bytes], Any]) -> dict[str, Any]:
        devices = self.written[number]
        content = show(self.text(number).encode())
        return {
            "to": str(devices[0].account_id),
            "client_id": self.text(number),
            "envelopes": [
                {"device_id": str(device.device_id), "content": content} for device in devices
            ],
        }

    def _answered(self, number: int, message_id: str, life: Life) -> None:
        assert self.accepted.setdefault(number, message_id) == message_id
        life.begun.set()

    def write_by_socket(self, life: Life, subprotocol: str) -> None:
        """Write as much as may be unanswered, in bursts."""
        due, in_flight = deque(self._again()), 0
        with life.socket(self._device, subprotocol) as socket:
            socket.expect("ready")
            socket.expect("caught_up")
            while due or in_flight or not life.is_last:
                room = MAX_IN_FLIGHT - in_flight
                if room > MAX_IN_FLIGHT // 2:
                    burst = self._burst(due, self._chance.randint(1, room), life)
                    socket.send(*({"type": "send"} | self._message(n, bytes) for n in burst))
                    in_flight += len(burst)
                answer = socket.expect("accepted")
                self._answered(_number(answer["client_id"]), answer["id"], life)
                in_flight -= 1

    def _burst(self, due: deque[int], size: int, life: Life) -> list[int]:
        burst = [due.popleft() for _ in range(min(size, len(due)))]
        if not life.is_last:
            burst += [self._next() for _ in range(size - len(burst))]
        return burst

    def write_by_http(self, life: Life) -> None:
        """Write one after the other."""
        due = deque(self._again())
        with life.client(self._device) as client:
            while due or not life.is_last:
                number = due.popleft() if due else self._next()
                answer = client.post("/v1/messages", json=self._message(number, encode))
                assert answer.status_code == 202, answer.text
                self._answered(number, answer.json()["id"], life)


class Reader:
    """Reads the mailbox of a device, and acknowledges now and then."""

    def __init__(self, device: Person, seed: int) -> None:
        self.device = device
        self._chance = random.Random(seed)
        #: The id and text of each message that was ever delivered; the first one has number 1.
        self.delivered: list[tuple[str, str]] = []
        #: Up to where it was acknowledged, and up to where that was answered.
        self._asked = self._acknowledged = 0
        #: The number that came last on this connection; 0 when none has.
        self._last = 0

    def read_by_socket(self, life: Life, subprotocol: str) -> None:
        """Read what comes, on the last day until everything has come and is acknowledged."""
        with life.socket(self.device, subprotocol) as socket:
            self._last, all_came = 0, False
            while True:
                frame = socket.receive()
                if frame["type"] == "message":
                    self._take(frame, frame["content"].decode())
                    if self._chance.random() < OFTEN:
                        socket.send({"type": "ack", "through": self._acknowledge()})
                elif frame["type"] == "caught_up" and life.is_last:
                    all_came = True
                    socket.send({"type": "ack", "through": self._acknowledge()})
                elif frame["type"] == "acked":
                    self._acknowledged = frame["through"]
                    if all_came and self._acknowledged == len(self.delivered):
                        return

    def read_by_polling(self, life: Life) -> None:
        """Read what comes without a socket, on the last day until nothing does."""
        with life.client(self.device) as client:
            while True:
                wait = 0 if life.is_last else 1
                page = client.get("/v1/messages", params={"limit": 100, "wait": wait}).json()
                self._last = 0
                for message in page["messages"]:
                    self._take(message, decode_content(message["content"]).decode())
                if life.is_last and not page["messages"]:
                    return
                if life.is_last or self._chance.random() < 0.5:
                    answer = client.post("/v1/messages/ack", json={"through": self._acknowledge()})
                    assert answer.status_code == 204, answer.text
                    self._acknowledged = self._asked

    def _take(self, message: Frame, text: str) -> None:
        """Judge a message: it follows the one before, and nothing acknowledged comes again."""
        number, delivered = message["seq"], (message["id"], text)
        before = max(self._last, self._acknowledged)
        # An acknowledgement whose answer was lost may be done only now, by what is left of a killed
        # server's transaction in PostgreSQL.
        assert before < number <= max(before, self._asked) + 1, (before, number, self._asked)
        self._last = number
        # What was delivered before the server was killed is on disk, and so the same after it.
        assert self.delivered[number - 1 : number] in ([], [delivered])
        if number > len(self.delivered):
            assert number == len(self.delivered) + 1
            self.delivered.append(delivered)

    def _acknowledge(self) -> int:
        """Give the number through which everything was delivered, to acknowledge it."""
        self._asked = len(self.delivered)
        return self._asked


def _number(text: str) -> int:
    return int(text.rpartition(".")[2])
