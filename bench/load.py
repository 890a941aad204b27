"""The load generator: raw keep-alive sockets in one loop, so that the server is what is measured.

It sends, reads and times; a script decides what a connection sends next.
"""

import re
import select
import socket
import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import psutil

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
STALLED_SECONDS = 60


class Request(NamedTuple):
    """Bytes to send, and the name that their answer is counted under."""

    label: str
    data: bytes


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


#: Gives requests and is sent their answers, for as long as the load runs.
Script = Generator[Request, Answer, None]


@dataclass
class Measured:
    """What happened in the measured time."""

    seconds: float = 0.0
    #: Seconds of each answer (or of what a script timed itself), by label.
    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    #: Processor time of server and generator, in seconds of one core.
    server_cpu: float = 0.0
    client_cpu: float = 0.0


class Recorder:
    """Keeps what scripts and the loop time, once the warm-up is over."""

    def __init__(self) -> None:
        self.measured = Measured()
        self.recording = False

    def add(self, label: str, seconds: float) -> None:
        """Keep one timing."""
        if self.recording:
            self.measured.latencies[label].append(seconds)


class _Connection:
    def __init__(self, address: tuple[str, int], script: Script) -> None:
        self.socket = socket.create_connection(address, timeout=STALLED_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.script = script
        self.buffer = b""
        self.sent_at = 0.0
        self.send(next(script))

    def send(self, request: Request) -> None:
        self.request = request
        self.sent_at = time.perf_counter()
        self.socket.sendall(request.data)

    def receive(self) -> Answer | None:
        """Read what is there; give the answer once it is whole."""
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionError(f"the server closed the connection in {self.request.label}")
        self.buffer = self.buffer + data if self.buffer else data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return None
        length = _LENGTH.search(self.buffer, 0, head)
        end = head + 4 + (int(length.group(1)) if length else 0)
        if len(self.buffer) < end:
            return None
        answer = Answer(int(self.buffer[9:12]), self.buffer[head + 4 : end])
        self.buffer = self.buffer[end:]
        return answer


def drive(
    address: tuple[str, int],
    scripts: Sequence[Script],
    recorder: Recorder,
    seconds: float,
    warm_up: float,
    server_pid: int,
) -> Measured:
    """Run each script on a connection of its own, all at the same time, and time the answers."""
    server, client = family(server_pid), psutil.Process()
    connections = [_Connection(address, script) for script in scripts]
    poll = select.epoll()
    by_descriptor = {}
    for connection in connections:
        by_descriptor[connection.socket.fileno()] = connection
        poll.register(connection.socket.fileno(), select.EPOLLIN)
    now = time.perf_counter()
    begins, begun = now + warm_up, 0.0
    ends = begins + seconds
    used = (0.0, 0.0)
    while now < ends:
        if not recorder.recording and now >= begins:
            recorder.recording, begun = True, now
            used = (spent(server), spent([client]))
        for descriptor, _ in poll.poll(min(1.0, ends - now)):
            connection = by_descriptor[descriptor]
            answer = connection.receive()
            if answer is not None:
                recorder.add(connection.request.label, time.perf_counter() - connection.sent_at)
                connection.send(connection.script.send(answer))
        now = time.perf_counter()
    recorder.recording = False
    measured = recorder.measured
    measured.seconds = now - begun
    measured.server_cpu = spent(server) - used[0]
    measured.client_cpu = spent([client]) - used[1]
    poll.close()
    for connection in connections:
        connection.script.close()
        connection.socket.close()
    return measured


def request(
    method: str, path: str, body: bytes | None = None, headers: tuple[str, ...] = ()
) -> bytes:
    """Write a request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def once(address: tuple[str, int], data: bytes) -> Answer:
    """Send one request on a connection of its own and give the answer."""

    def script() -> Script:
        yield Request("once", data)

    connection = _Connection(address, script())
    try:
        while (answer := connection.receive()) is None:
            pass
        return answer
    finally:
        connection.socket.close()


def family(pid: int) -> list[psutil.Process]:
    """Give the processes of a server, by its master."""
    master = psutil.Process(pid)
    # The workers, and not what builds a snapshot beside them for a moment.
    return [master, *master.children()]


def spent(processes: Sequence[psutil.Process]) -> float:
    """Give the processor seconds that processes have used."""
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)
