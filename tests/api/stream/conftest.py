"""The stream of an application that is really served, and people who open it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask_openapi3 import OpenAPI

from tests.conftest import OTHER_NUMBER, Person
from tests.people import put_in_touch
from tests.serving import served
from tests.sockets import JSON, MSGPACK, Frame, TestSocket

Open = Callable[..., TestSocket]


@pytest.fixture
def address(app: OpenAPI) -> Iterator[tuple[str, int]]:
    """Where the application is served, each request in a thread."""
    with served(app) as address:
        yield address


@pytest.fixture(params=[JSON, MSGPACK])
def subprotocol(request: pytest.FixtureRequest) -> str:
    """Each way to write frames."""
    return str(request.param)


@pytest.fixture
def open_socket(address: tuple[str, int], subprotocol: str) -> Iterator[Open]:
    """Open a person's socket, which is hung up at the end."""
    with ExitStack() as stack:

        def make(person: Person, **options: Any) -> TestSocket:
            fields = {
                "subprotocol": subprotocol,
                "Authorization": f"Bearer {person.token}",
            } | options
            return stack.enter_context(TestSocket(address, **fields))

        yield make


@pytest.fixture
def open_ready(open_socket: Open) -> Open:
    """Open a person's socket and wait until an empty mailbox is caught up with."""

    def make(person: Person, **options: Any) -> TestSocket:
        socket = open_socket(person, **options)
        socket.expect("ready")
        assert socket.receive()["type"] == "caught_up"
        return socket

    return make


@pytest.fixture
def alice(register: Callable[..., Person]) -> Person:
    """Somebody."""
    return register()


@pytest.fixture
def bob(register: Callable[..., Person], app: OpenAPI, alice: Person) -> Person:
    """Somebody else, who is in touch with Alice, as she is with him."""
    bob = register(OTHER_NUMBER)
    for one, other in ((alice, bob), (bob, alice)):
        put_in_touch(app.extensions["kith"], [one], other)
    return bob


def message(to: Person, client_id: str = "1", content: bytes = b"hello", **fields: Any) -> Frame:
    """Write a message to all devices of somebody who has one."""
    envelopes = [{"device_id": to.device_id, "content": content}]
    return {
        "type": "send",
        "to": to.account_id,
        "client_id": client_id,
        "envelopes": envelopes,
    } | fields
