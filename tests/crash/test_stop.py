"""SIGTERM of the real server: whoever waits is told, whoever is served is served, and it is gone soon."""

import http.client
import json
import signal
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.people import Person, settle
from core.base64url import encode
from tests.server import RunningServer, running_server
from tests.sockets import TestSocket

#: Far less than the server gives to requests that are under way (30 seconds).
SOON = 8
LONG_POLL = 60
PATIENCE = 10

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
]


@pytest.fixture
def people(database_url: str) -> list[Person]:
    """Three people who are in touch."""
    return settle(database_url, 3)


@pytest.fixture
def server(people: list[Person], database_url: str, tmp_path: Path) -> Iterator[RunningServer]:
    """The server, whose log is looked at when it has ended."""
    environment = {"KITH_DATA_DIR": str(tmp_path), "KITH_DATABASE_URL": database_url}
    with running_server(environment, tmp_path / "server.log") as running:
        yield running
    assert "Traceback" not in running.log.read_text()


@pytest.fixture
def ended(server: RunningServer) -> Callable[[], None]:
    """Wait until the server has ended, which has to be soon."""

    def wait() -> None:
        server.process.wait(SOON)
        assert server.process.returncode == 0

    return wait


def stop(server: RunningServer) -> None:
    """Tell it to stop."""
    server.process.send_signal(signal.SIGTERM)


def await_refusal(address: tuple[str, int]) -> None:
    """Wait until nobody listens any more."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        try:
            socket.create_connection(address, 1).close()
        except ConnectionError:
            return
        time.sleep(0.01)
    raise AssertionError("it still listens")


def bearer(person: Person) -> dict[str, str]:
    """Give what authenticates somebody."""
    return {"Authorization": f"Bearer {person.token}"}


def test_open_sockets_end_when_nobody_listens_any_more(
    people: list[Person], server: RunningServer, ended: Callable[[], None]
) -> None:
    """Each gets 1001; a client that connects again at once is not taken by the server that stops."""
    sockets = [TestSocket(server.address, **bearer(person)) for person in people]
    for one in sockets:
        one.expect("ready")
    stop(server)
    assert [one.closing().code for one in sockets] == [1001] * 3
    with pytest.raises(ConnectionError):
        socket.create_connection(server.address, PATIENCE)
    for one in sockets:
        one.close()
    ended()
    assert server.log.read_text().count('"event": "stream.closed"') == 3


def test_a_long_poll_is_answered_empty(
    people: list[Person], server: RunningServer, ended: Callable[[], None]
) -> None:
    """It does not wait for its time, nor is it cut off."""
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
    connection.request("GET", f"/v1/messages?wait={LONG_POLL}", headers=bearer(people[0]))
    time.sleep(0.5)
    stop(server)
    answer = connection.getresponse()
    assert (answer.status, json.load(answer)["messages"]) == (200, [])
    # Judged when the head is written: the stop came after the request.
    assert answer.getheader("Connection") == "close"
    ended()
    connection.close()


def test_connections_without_a_request_do_not_hold_it_up(
    server: RunningServer, ended: Callable[[], None]
) -> None:
    """One that was used, one that never was, and one that sent half a head."""
    used = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
    used.request("GET", "/livez")
    assert used.getresponse().read()
    unused = socket.create_connection(server.address, PATIENCE)
    half = socket.create_connection(server.address, PATIENCE)
    half.sendall(b"GET /livez HTTP/1.1\r\nHost: ")
    time.sleep(0.2)
    stop(server)
    ended()
    assert unused.recv(1) == b""
    assert half.recv(65_536).startswith(b"HTTP/1.1 408 ")
    for one in (used, unused, half):
        one.close()


def test_what_is_under_way_is_served(
    people: list[Person], server: RunningServer, ended: Callable[[], None]
) -> None:
    """An upload over a slow link goes on, though nobody else is let in; its connection is not used again."""
    body = json.dumps({"through": 0}).encode()
    head = (
        f"POST /v1/messages/ack HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {people[0].token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(server.address, PATIENCE)
    connection.sendall(head.encode() + body[:5])
    time.sleep(0.5)
    stop(server)
    await_refusal(server.address)
    for byte in body[5:]:
        time.sleep(0.1)
        connection.sendall(bytes([byte]))
    assert connection.recv(65_536).startswith(b"HTTP/1.1 204 ")
    ended()
    connection.close()


def test_a_provider_that_hangs_does_not_hold_it_up(
    people: list[Person], database_url: str, tmp_path: Path
) -> None:
    """A wake-up that is under way is repeated by another process, if there was no answer to it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {
            "KITH_DATA_DIR": str(tmp_path),
            "KITH_DATABASE_URL": database_url,
            "KITH_PUSH": "webhook",
            "KITH_PUSH_WEBHOOK_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/wake",
            "KITH_PUSH_WEBHOOK_SECRET": f"whsec_{b64encode(bytes(32)).decode()}",
        }
        with running_server(environment, tmp_path / "server.log") as server:
            connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
            to = people[1]
            envelope = {"device_id": str(to.device_id), "content": encode(b"hello")}
            message = {"to": str(to.account_id), "client_id": "1", "envelopes": [envelope]}
            headers = {"Content-Type": "application/json"} | bearer(people[0])
            connection.request("POST", "/v1/messages", json.dumps(message), headers)
            assert connection.getresponse().status == 202
            silent.settimeout(PATIENCE)
            hanging, _ = silent.accept()
            stop(server)
            server.process.wait(SOON)
            hanging.close()
            connection.close()


def test_kept_connections_lose_no_request(
    people: list[Person], server: RunningServer, ended: Callable[[], None]
) -> None:
    """Busy ones are answered until an answer says that it was the last; only then do they end."""
    lost: list[str] = []
    served = threading.Semaphore(0)

    def ask(person: Person) -> None:
        connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
        while True:
            try:
                connection.request("GET", "/v1/messages", headers=bearer(person))
                answer = connection.getresponse()
                answer.read()
            except OSError as error:
                lost.append(repr(error))
                break
            served.release()
            if answer.will_close:
                break
            time.sleep(0.02)

        connection.close()

    threads = [threading.Thread(target=ask, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for _ in range(30):
        served.acquire()
    stop(server)
    ended()
    for thread in threads:
        thread.join()
    assert lost == []
