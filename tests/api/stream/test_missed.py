"""Over the stream a device learns that messages were not stored for it."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from flask_openapi3 import OpenAPI

from tests.api.stream.conftest import Open
from tests.conftest import Person
from tests.contract.openapi import ContractClient


@pytest.fixture
def group(client: ContractClient, alice: Person, bob: Person) -> dict[str, object]:
    """Alice's group, which Bob joined."""
    body = {"name": "Family", "members": [bob.account_id]}
    made: dict[str, object] = client.post("/v1/groups", json=body, headers=alice.headers).json
    return made


@pytest.fixture
def write(client: ContractClient, alice: Person, bob: Person, group: dict[str, object]):
    """Have Alice write to the group."""

    def write() -> None:
        body = {
            "group": {"id": group["id"], "version": group["version"]},
            "client_id": uuid4().hex,
            "envelopes": [{"device_id": bob.device_id, "content": "aGVsbG8"}],
        }
        assert client.post("/v1/messages", json=body, headers=alice.headers).status_code == 202

    return write


def test_an_open_socket_hears_of_it(
    app: OpenAPI,
    bound: Callable[..., None],
    open_ready: Open,
    open_socket: Open,
    bob: Person,
    write: Callable[[], None],
) -> None:
    """At once, again when a socket opens, and no more once the number is acknowledged."""
    bound(max_messages=2)
    to_bob = open_ready(bob)
    write()
    assert to_bob.expect("message")["seq"] == 1
    write()
    missed = to_bob.expect("missed")
    assert missed["through"] == 2
    to_bob.close()
    to_bob = open_socket(bob)
    to_bob.expect("ready")
    assert to_bob.expect("missed") == missed
    assert to_bob.expect("message")["seq"] == 1
    assert to_bob.expect("caught_up") == {"through": 2}
    to_bob.send({"type": "ack", "through": 2})
    to_bob.expect("acked")
    write()
    assert to_bob.expect("message")["seq"] == 3
    to_bob.close()
    to_bob = open_socket(bob)
    to_bob.expect("ready")
    assert to_bob.expect("message")["seq"] == 3
