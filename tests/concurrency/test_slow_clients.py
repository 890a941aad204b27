"""The real server against clients that are slow, many, or no HTTP: everybody else is served as ever."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.people import Person, settle
from tests.databases import fresh_database_url
from tests.server import RunningServer, running_server
from tests.sockets import TestSocket

PATIENCE = 10
PER_ADDRESS, PER_DEVICE, MOST = 20, 4, 100
NUMBER = "+4915112345678"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server has its data."""
    return tmp_path_factory.mktemp("slow")


@pytest.fixture(scope="module")
def database_url(directory: Path) -> str:
    """A database, of which nothing here depends on the kind."""
    return fresh_database_url("sqlite", directory)


@pytest.fixture(scope="module")
def people(database_url: str) -> list[Person]:
    """Two people."""
    return settle(database_url, 2)


@pytest.fixture(scope="module")
def metrics_port() -> int:
    """A port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def server(
    people: list[Person], database_url: str, directory: Path, metrics_port: int
) -> Iterator[RunningServer]:
    """A server with narrow bounds."""
    environment = {
        "KITH_DATA_DIR": str(directory),
        "KITH_DATABASE_URL": database_url,
        "KITH_METRICS_PORT": str(metrics_port),
        "KITH_MAX_CONNECTIONS": str(MOST),
        "KITH_CONNECTIONS_PER_ADDRESS": str(PER_ADDRESS),
        "KITH_CONNECTIONS_PER_DEVICE": str(PER_DEVICE),
        "KITH_HEAD_SECONDS": "1",
        "KITH_LOG_LEVEL": "debug",
    }
    with running_server(environment, directory / "server.log") as running:
        yield running
    assert "Traceback" not in running.log.read_text()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Close what a test opens."""
    with ExitStack() as stack:
        yield stack


def connect(stack: ExitStack, server: RunningServer, source: str = "127.0.0.1") -> socket.socket:
    """Open a connection from an address of this host."""
    wire = socket.create_connection(server.address, PATIENCE, (source, 0))
    return stack.enter_context(wire)


def ask(wire: socket.socket, request: bytes) -> http.client.HTTPResponse:
    """Send bytes, and read an answer."""
    wire.sendall(request)
    answer = http.client.HTTPResponse(wire)
    answer.begin()
    return answer


def livez(wire: socket.socket) -> int:
    """Ask whether the server is well."""
    answer = ask(wire, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    answer.read()
    return answer.status


def half_a_body(person: Person) -> bytes:
    """Give a request of a device whose body does not come."""
    return (
        f"POST /v1/messages/ack HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {person.token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    ).encode()


def test_a_full_server_takes_whoever_comes(server: RunningServer, stack: ExitStack) -> None:
    """Three times as many half requests as it has room for, of each kind, from many addresses."""
    start = b"POST /v1/verifications HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for number in range(3 * MOST):
        wire = connect(stack, server, f"127.0.1.{number % 200 + 1}")
        wire.sendall((b"GET", start, start + b"Content-Length: 9\r\n\r\n{")[number % 3])
    assert livez(connect(stack, server)) == 200


def test_an_address_has_its_share(server: RunningServer, stack: ExitStack) -> None:
    """Beyond it connections are hung up on; other addresses have theirs."""
    wires = [connect(stack, server, "127.0.1.1") for _ in range(PER_ADDRESS)]
    assert livez(wires[-1]) == 200
    assert connect(stack, server, "127.0.1.1").recv(1) == b""
    assert livez(connect(stack, server, "127.0.1.2")) == 200
    wires[0].close()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        wire = connect(stack, server, "127.0.1.1")
        wire.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        if wire.recv(100):
            return
    raise AssertionError("a connection that ended is counted still")


def test_a_device_has_its_share(
    people: list[Person], server: RunningServer, stack: ExitStack
) -> None:
    """Sockets and requests together; other devices have theirs."""
    mine, other = people
    for _ in range(PER_DEVICE - 1):
        connect(stack, server).sendall(half_a_body(mine))
    headers = {"Authorization": f"Bearer {mine.token}"}
    one = stack.enter_context(TestSocket(server.address, **headers))
    one.expect("ready")
    fetch = "GET /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n"
    answer = ask(connect(stack, server), fetch.format(mine.token).encode())
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "1"
    assert json.loads(answer.read())["type"] == "/problems/too-many-connections"
    assert ask(connect(stack, server), fetch.format(other.token).encode()).status == 200
    one.close()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if ask(connect(stack, server), fetch.format(mine.token).encode()).status == 200:
            return
        time.sleep(0.2)
    raise AssertionError("a socket that ended is counted still")


def test_a_head_that_does_not_come_is_answered(server: RunningServer, stack: ExitStack) -> None:
    """After its time, in words; a connection on which nothing was sent is kept."""
    idle = connect(stack, server)
    answer = ask(connect(stack, server), b"GET /livez HTTP/1.1\r\nHost: ")
    assert answer.status == 408
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answer.read())["type"] == "/problems/request-timeout"
    assert livez(idle) == 200


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-1\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}XX0\r\n\r\n",
        b"2;\x00=1\r\n{}\r\n0\r\n\r\n",
        b"\r\n",
        b"2\r\n{}\r\n0\r\nbad trailer\r\n\r\n",
    ],
)
@pytest.mark.parametrize(
    "path", ["/v1/verifications", "/v1/callbacks/twilio", "/one-time-password-sms/v1/send-code"]
)
def test_malformed_chunks_are_the_clients_fault(
    server: RunningServer, stack: ExitStack, chunks: bytes, path: str
) -> None:
    """400 or what the route says before it reads, never 500; and the connection is not used again."""
    wire = connect(stack, server)
    answer = ask(
        wire,
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n".encode()
        + chunks,
    )
    document = json.loads(answer.read())
    if path == "/v1/verifications":
        assert (answer.status, document["type"]) == (400, "/problems/malformed-request")
    assert answer.status < 500
    assert wire.recv(1) == b""


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer %s\r\n\r\n", 400),
        (b"GET /livez?token=%s\n\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nBearer %s\r\n\r\n", 400),
        (b"GET /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %s\r\n\r\n", 501),
        (b"GET /" + b"x" * 9000 + b"%s HTTP/1.1\r\n\r\n", 414),
        (b"GET /x HTTP/1.1\r\n" + b"X: y\r\n" * 70 + b"A: %s\r\n\r\n", 431),
        (b"GET /x HTTP/1.1\r\nHost: x\r\nExpect: %s\r\n\r\n", 417),
    ],
)
def test_what_is_no_request_is_refused_in_words(
    people: list[Person],
    server: RunningServer,
    stack: ExitStack,
    request_line: bytes,
    status: int,
) -> None:
    """By a document that repeats nothing; nothing of it is logged whole."""
    secret = people[0].token
    answer = ask(connect(stack, server), request_line % f"{secret}{NUMBER}".encode())
    assert answer.status == status
    text = answer.read().decode()
    assert json.loads(text)["status"] == status
    for whole in (secret, NUMBER):
        assert whole not in text
        assert whole not in server.log.read_text()


def test_the_metrics_have_a_port_of_their_own(
    server: RunningServer, stack: ExitStack, metrics_port: int
) -> None:
    """They are nowhere else, and nothing else is there; what was refused is counted."""
    metrics = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    ask(connect(stack, server), b"no\r\n\r\n").read()
    assert ask(connect(stack, server), metrics).status == 404
    wire = stack.enter_context(socket.create_connection(("127.0.0.1", metrics_port), PATIENCE))
    answer = ask(wire, metrics)
    assert answer.status == 200
    assert 'kith_connections_refused_total{reason="answered-400"}' in answer.read().decode()
    assert livez(wire) == 404
