"""How sockets end: replaced, ended from elsewhere, slow, silent, or with the server."""

import json
import os
import time
from collections.abc import Callable
from uuid import UUID

import pytest
from flask_openapi3 import OpenAPI
from prometheus_client import CollectorRegistry

from messaging.message_types import CloseCode
from tests.api.stream.conftest import Open, message
from tests.conftest import MakeApp, Person
from tests.sockets import JSON, TestSocket

pytestmark = [
    pytest.mark.parametrize("dialect", ["sqlite"], indirect=True),
    pytest.mark.parametrize("subprotocol", [JSON], indirect=True),
]
PATIENCE = 10.0


def _await_listeners(app: OpenAPI, number: int) -> None:
    """Wait until so many sockets are open."""
    registry = app.extensions["kith"].messaging.messages.registry
    ends = time.monotonic() + PATIENCE
    while len(registry.slots()) != number:
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_newer_socket_takes_the_place_of_the_older(
    open_ready: Open, alice: Person, bob: Person
) -> None:
    """The older one is closed with 4001; what comes goes to the newer one."""
    older = open_ready(bob)
    newer = open_ready(bob)
    assert older.closing().code == 4001
    open_ready(alice).send(message(bob))
    assert newer.expect("message")["seq"] == 1


@pytest.mark.parametrize("why", list(CloseCode))
def test_it_is_ended_from_elsewhere(
    open_ready: Open, app: OpenAPI, bob: Person, why: CloseCode
) -> None:
    """Whoever ends the listener of a device closes its socket with the code that says why."""
    socket = open_ready(bob)
    app.extensions["kith"].messaging.messages.registry.close(UUID(bob.device_id), why)
    assert socket.closing().code == why
    _await_listeners(app, 0)


def test_a_peer_that_never_reads_is_ended_from_elsewhere_too(
    open_ready: Open, app: OpenAPI, alice: Person, bob: Person
) -> None:
    """A write that does not get through holds up the end for no longer than a second."""
    _flood(open_ready(bob, receive_buffer=4096), open_ready(alice), bob)
    app.extensions["kith"].messaging.messages.registry.close(UUID(bob.device_id), CloseCode.REVOKED)
    # Its patience is 25 seconds.
    _await_listeners(app, 1)


def test_a_peer_that_never_reads_is_dropped(
    open_ready: Open, open_socket: Open, app: OpenAPI, alice: Person, bob: Person
) -> None:
    """Its socket is ended when a write does not get through, and nothing is lost."""
    streams = app.extensions["kith"].messaging.streams
    to_alice = open_ready(alice)
    usual, streams.ping_interval = streams.ping_interval, 0.3
    deaf = open_ready(bob, receive_buffer=4096)
    streams.ping_interval = usual
    _flood(deaf, to_alice, bob)
    _await_listeners(app, 1)
    again = open_socket(bob)
    again.expect("ready")
    assert again.expect("message")["seq"] == 1


def _flood(deaf: TestSocket, sender: TestSocket, to: Person) -> None:
    """Send more than the buffers of a connection hold."""
    content = os.urandom(65_536)
    for n in range(120):
        sender.send(message(to, str(n), content))
        sender.expect("accepted")


def test_a_silent_peer_is_asked_and_then_dropped(
    open_ready: Open, app: OpenAPI, bob: Person
) -> None:
    """Who answers pings stays; who answers nothing for as long again is gone."""
    app.extensions["kith"].messaging.streams.ping_interval = 0.2
    socket = open_ready(bob)
    socket.await_pings(3)
    # From here nobody reads.
    _await_listeners(app, 0)


def test_all_end_with_the_server(
    open_ready: Open, open_socket: Open, app: OpenAPI, alice: Person
) -> None:
    """Open sockets are closed with 1001, and one that is opened after that at once."""
    socket = open_ready(alice)
    app.extensions["kith"].messaging.streams.stop()
    assert socket.closing().code == 1001
    assert open_socket(alice).closing().code == 1001


def test_it_is_logged_and_counted(
    open_ready: Open, app: OpenAPI, alice: Person, bob: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    """Opening and end are in the log with a reason, never with a token; frames and ends are counted."""
    registry: CollectorRegistry = app.extensions["kith"].runtime.metrics.registry
    socket, other = open_ready(alice), open_ready(bob)
    assert registry.get_sample_value("kith_stream_sockets") == 2
    socket.send({"type": "ping"})
    socket.expect("pong")
    socket.send_raw("garbage")
    assert socket.closing().code == 1007
    other.close()
    _await_listeners(app, 0)
    count = registry.get_sample_value
    for _ in range(1000):
        if count("kith_stream_sockets") == 0:
            break
        time.sleep(0.01)
    assert count("kith_stream_frames_total", {"direction": "in", "type": "ping"}) == 1
    assert count("kith_stream_frames_total", {"direction": "out", "type": "pong"}) == 1
    assert count("kith_stream_closed_total", {"by": "1007"}) == 1
    assert count("kith_stream_closed_total", {"by": "nobody"}) == 1
    assert (
        count("kith_http_requests_total", {"method": "GET", "route": "/v1/stream", "status": "101"})
        == 2
    )
    output = capsys.readouterr().out
    assert alice.token not in output
    lines = [json.loads(line) for line in output.splitlines()]
    opened = [line for line in lines if line["event"] == "stream.opened"]
    closed = {line["request_id"]: line for line in lines if line["event"] == "stream.closed"}
    assert len(opened) == len(closed) == 2
    assert closed[opened[0]["request_id"]]["code"] == 1007
    assert closed[opened[0]["request_id"]]["by"] == "service"
    assert closed[opened[1]["request_id"]]["by"] == "nobody"


@pytest.fixture
def left(app: OpenAPI) -> list[tuple[UUID, bool]]:
    """Who is said to have left, and whether because the server stops."""
    told: list[tuple[UUID, bool]] = []
    streams = app.extensions["kith"].messaging.streams
    streams.on_left = lambda device_id, stopping: told.append((device_id, stopping))
    return told


def test_who_left_is_told_once(
    open_ready: Open, app: OpenAPI, bob: Person, left: list[tuple[UUID, bool]]
) -> None:
    """The last socket of a device tells that it ended, at once; one that was replaced does not."""
    bob_id = UUID(bob.device_id)
    older = open_ready(bob)
    newer = open_ready(bob)
    assert older.closing().code == 4001
    assert left == []
    newer.close()
    _await_listeners(app, 0)
    _until(lambda: left == [(bob_id, False)])


def test_who_is_told_to_come_back_and_who_is_gone(
    open_ready: Open, app: OpenAPI, alice: Person, bob: Person, left: list[tuple[UUID, bool]]
) -> None:
    """A device that is gone has nobody to wake; one that met a stopping server has its time."""
    to_bob = open_ready(bob)
    registry = app.extensions["kith"].messaging.messages.registry
    registry.close(UUID(bob.device_id), CloseCode.REVOKED)
    assert to_bob.closing().code == 4003
    to_alice = open_ready(alice)
    app.extensions["kith"].messaging.streams.stop()
    assert to_alice.closing().code == 1001
    _until(lambda: left == [(UUID(alice.device_id), True)])


def _until(what: Callable[[], bool]) -> None:
    """Wait for something that a thread of the server does."""
    ends = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_ping_comes_after_the_interval_that_is_set(make_app: MakeApp, subprotocol: str) -> None:
    """By default a silent peer is asked after 20 seconds, and gone after 40."""
    assert make_app().extensions["kith"].messaging.streams.ping_interval == 20
    assert make_app(ping_interval=7).extensions["kith"].messaging.streams.ping_interval == 7
