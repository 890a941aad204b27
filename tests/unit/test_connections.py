"""Connections of a worker: who is let in, who gives way, and who is too slow, on a clock that is turned."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import uuid4

import pytest

from core.serving.connection import Connection, TooSlow
from core.serving.connections import ConnectionLimits, Connections

BOUNDS = ConnectionLimits(
    most=4,
    most_open=10,
    an_address=3,
    a_device=2,
    unread_bytes=15_000_000,
    head_seconds=20.0,
)
KEEPALIVE = 75.0
PROXY = "10.0.0.1"
PATIENCE = 10.0


class Worker:
    """The connections, with a clock to turn, and peers on the other ends of them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reasons: Counter[str] = Counter()
        self.connections = Connections(
            BOUNDS,
            lambda address: address == PROXY,
            lambda reason: self.reasons.update([reason]),
            lambda: self.now,
        )
        self.wires: list[socket.socket] = []
        self.threads = ThreadPoolExecutor(16)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Give both ends of a connection, the worker's first."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.socket()
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            theirs.connect(listener.getsockname())
            ours, _ = listener.accept()
        theirs.settimeout(PATIENCE)
        # As under gevent: what does not fit is not waited for.
        ours.settimeout(PATIENCE)
        self.wires += (ours, theirs)
        return ours, theirs

    def connect(self, address: str = "192.0.2.1") -> tuple[Connection | None, socket.socket]:
        """Give a connection as the worker has it, and the peer's end."""
        ours, theirs = self.pair()
        return self.connections.admit(ours, address), theirs

    def idle(self, address: str = "192.0.2.1") -> tuple[Connection, socket.socket]:
        """Give one that waits for its first request."""
        connection, peer = self.connect(address)
        assert connection is not None
        connection.await_request(KEEPALIVE, has_begun=False)
        return connection, peer

    def serving(self, address: str = "192.0.2.1") -> tuple[Connection, socket.socket]:
        """Give one whose request is with the application."""
        connection, peer = self.idle(address)
        connection.serve()
        return connection, peer

    def later(self, seconds: float) -> None:
        """Let time pass, and look at who is late: the second look ends them."""
        self.now += seconds
        self.connections.look()
        self.connections.look()

    def begin(self, work: Callable[..., object], *arguments: object) -> Future[object]:
        """Begin something that waits."""
        begun = threading.Event()

        def run() -> object:
            begun.set()
            return work(*arguments)

        future = self.threads.submit(run)
        begun.wait(PATIENCE)
        with pytest.raises(TimeoutError):
            future.result(0.2)
        return future


def take(peer: socket.socket, size: int) -> None:
    """Read so many bytes."""
    while size:
        data = peer.recv(min(size, 65_536))
        assert data
        size -= len(data)


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker without connections."""
    worker = Worker()
    yield worker
    for wire in worker.wires:
        wire.close()
    worker.threads.shutdown()


def test_an_address_has_so_many_connections(worker: Worker) -> None:
    """One more is refused; another address, and a proxy that is trusted, are let in."""
    mine = [worker.connect()[0] for _ in range(BOUNDS.an_address)]
    assert None not in mine
    assert worker.connect()[0] is None
    assert worker.connect("192.0.2.2")[0] is not None
    assert worker.reasons == {"address": 1}
    assert mine[0] is not None
    worker.connections.leave(mine[0])
    assert worker.connect()[0] is not None


def test_an_ipv6_address_is_its_network(worker: Worker) -> None:
    """Who has a /64 has one allowance."""
    for number in range(BOUNDS.an_address):
        assert worker.connect(f"2001:db8::{number}")[0] is not None
    assert worker.connect("2001:db8::ffff:1")[0] is None
    assert worker.connect("2001:db8:0:1::1")[0] is not None


def test_a_trusted_proxy_has_no_bound_of_its_own(worker: Worker) -> None:
    """Its connections are those of many people."""
    assert all(worker.connect(PROXY)[0] is not None for _ in range(BOUNDS.most))


def test_who_has_waited_longest_gives_way(worker: Worker) -> None:
    """A full worker takes a newcomer; who is being served is not touched, a proxy's goes last."""
    proxy, _ = worker.idle(PROXY)
    served, _ = worker.serving("192.0.2.1")
    first, peer = worker.idle("192.0.2.2")
    second, _ = worker.idle("192.0.2.3")
    newcomer, _ = worker.connect("192.0.2.4")
    assert newcomer is not None
    assert peer.recv(1) == b""
    assert [one.was_cut for one in (proxy, served, first, second)] == [False, False, True, False]
    assert worker.connect("192.0.2.5")[0] is not None
    assert (second.was_cut, proxy.was_cut) == (True, False)
    assert worker.connect("192.0.2.6")[0] is not None
    assert proxy.was_cut
    # Nobody is left who waits.
    assert worker.connect("192.0.2.7")[0] is None
    assert worker.reasons == {"gave-way": 3, "full": 1}


def test_sockets_leave_room_for_requests(worker: Worker) -> None:
    """They count by themselves, up to what the process may have open, and never give way."""
    for number in range(BOUNDS.most_open - 1):
        connection, _ = worker.serving(f"192.0.2.{number}")
        connection.settimeout(20)
    assert worker.connect("192.0.2.100")[0] is not None
    assert worker.connect("192.0.2.101")[0] is None


def test_a_device_has_so_many_requests(worker: Worker) -> None:
    """On as many connections; one that comes to its next request is free again."""
    device = uuid4()
    connections = [worker.serving(f"192.0.2.{number}")[0] for number in range(3)]
    assert [one.hold_for(device) for one in connections] == [True, True, False]
    assert connections[0].hold_for(device)
    assert connections[2].hold_for(uuid4())
    connections[0].await_request(KEEPALIVE, has_begun=False)
    assert connections[2].hold_for(device)
    assert not connections[0].hold_for(device)
    connections[1].close()
    assert connections[0].hold_for(device)


def test_a_head_has_a_deadline(worker: Worker) -> None:
    """From its first byte, however many come; before that a connection is kept for the next request."""
    connection, peer = worker.idle()
    worker.later(KEEPALIVE - 1)
    peer.sendall(b"G")
    assert connection.recv(100) == b"G"
    for _ in range(19):
        worker.later(1)
        peer.sendall(b"E")
        assert connection.recv(100) == b"E"
    waiting = worker.begin(connection.recv, 100)
    worker.later(1)
    assert waiting.result(PATIENCE) == b""
    assert connection.was_cut
    assert worker.reasons == {"slow-head": 1}


def test_only_the_second_look_ends_a_connection(worker: Worker) -> None:
    """Between two looks a worker that is late reads what had come in time."""
    connection, peer = worker.idle()
    worker.now += KEEPALIVE
    worker.connections.look()
    peer.sendall(b"GET")
    assert connection.recv(100) == b"GET"
    worker.connections.look()
    worker.connections.look()
    assert not connection.was_cut


@pytest.mark.slow
def test_an_upload_over_a_slow_link_has_no_total_time(worker: Worker) -> None:
    """At 1 KiB a second it goes on for as long as it takes."""
    connection, peer = worker.serving()
    for _ in range(20):
        waiting = worker.begin(connection.recv, 65_536)
        worker.later(29)
        peer.sendall(bytes(30 * 1024))
        assert len(waiting.result(PATIENCE)) == 30 * 1024  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_body_that_dribbles_is_too_slow(worker: Worker) -> None:
    """What counts is the time that was waited for it, and what came meanwhile; the way out stays open."""
    connection, peer = worker.serving()
    for _ in range(29):
        waiting = worker.begin(connection.recv, 100)
        worker.now += 1
        peer.sendall(b"x")
        assert waiting.result(PATIENCE) == b"x"
        # What the application does meanwhile is not the peer's fault.
        worker.now += 100
    waiting = worker.begin(connection.recv, 100)
    worker.later(1)
    assert isinstance(waiting.exception(PATIENCE), TooSlow)
    connection.sendall(b"408")
    assert peer.recv(100) == b"408"


def test_a_reader_who_takes_nothing_is_cut_off(worker: Worker) -> None:
    """One who takes a little all the time is not."""
    connection, peer = worker.serving()
    writing = worker.begin(connection.sendall, bytes(16_000_000))
    for _ in range(10):
        worker.later(29)
        # Less than makes the kernel ask for more, but enough.
        take(peer, 100_000)
        time.sleep(0.05)
    assert not connection.was_cut
    # This look still sees what was taken last.
    worker.later(1)
    worker.later(30)
    assert isinstance(writing.exception(PATIENCE), TimeoutError)
    assert worker.reasons == {"slow-peer": 1}


def test_unread_answers_are_bounded(worker: Worker) -> None:
    """Over the bound, who has taken nothing for the longest is cut off, and the newest is served."""
    slow = [worker.serving(f"192.0.2.{number}")[0] for number in range(2)]
    writing = []
    for one in slow:
        writing.append(worker.begin(one.sendall, bytes(12_000_000)))
        worker.now += 1
    newest, peer = worker.serving("192.0.2.9")
    done = worker.threads.submit(newest.sendall, bytes(100_000))
    take(peer, 100_000)
    done.result(PATIENCE)
    another, _ = worker.serving("192.0.2.10")
    third = worker.begin(another.sendall, bytes(12_000_000))
    assert isinstance(writing[0].exception(PATIENCE), TimeoutError)
    assert worker.reasons["memory"] >= 1
    for wire in worker.wires:
        wire.close()
    assert all(one.exception(PATIENCE) for one in (*writing, third))


def test_a_late_answer_to_a_ping_is_read(worker: Worker) -> None:
    """A wait that ends looks once more: what came in time is not lost because the worker is late."""

    class Late(socket.socket):
        """A socket whose wait ends when the worker comes to it, with the bytes in the kernel."""

        def recv(self, size: int, flags: int = 0) -> bytes:
            if self.gettimeout():
                peer.sendall(b"pong")
                time.sleep(0.05)
                raise TimeoutError
            return super().recv(size, flags)

    ours, peer = worker.pair()
    connection = worker.connections.admit(Late(fileno=ours.detach()), "192.0.2.1")
    assert connection is not None
    connection.serve()
    connection.settimeout(20)
    assert connection.recv(100) == b"pong"
    assert connection.gettimeout() == 20
    connection.close()


def test_a_wait_for_a_ping_ends(worker: Worker) -> None:
    """When nothing came."""
    connection, _ = worker.serving()
    connection.settimeout(0.05)
    with pytest.raises(TimeoutError):
        connection.recv(100)


def test_a_stop_keeps_nobody_waiting(worker: Worker) -> None:
    """Connections without a request end soon, those that come to wait as well; who is served goes on."""
    idle, _ = worker.idle("192.0.2.1")
    served, _ = worker.serving("192.0.2.2")
    worker.connections.stop()
    worker.later(1)
    assert (idle.was_cut, served.was_cut) == (True, False)
    served.await_request(KEEPALIVE, has_begun=False)
    worker.later(1)
    assert served.was_cut
    assert not worker.connections.await_end(0.01)
    for one in (idle, served):
        worker.connections.leave(one)
    assert worker.connections.await_end(PATIENCE)
