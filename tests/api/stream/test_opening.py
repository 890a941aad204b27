"""Who may open a socket, and how: every refusal before the upgrade is a problem document."""

from typing import Any

import pytest

from tests.api.stream.conftest import Open
from tests.conftest import Person, problem_code
from tests.contract.openapi import ContractClient
from tests.sockets import JSON, MSGPACK, Refused

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
only_json = pytest.mark.parametrize("subprotocol", [JSON], indirect=True)


def test_the_offered_subprotocol_is_spoken(
    open_ready: Open, subprotocol: str, alice: Person
) -> None:
    """The handshake names the subprotocol, and the request."""
    socket = open_ready(alice)
    assert socket.headers["Sec-WebSocket-Protocol"] == subprotocol
    assert socket.headers["X-Request-Id"]
    assert socket.settled()


@only_json
def test_json_is_spoken_when_nothing_is_offered(open_ready: Open, alice: Person) -> None:
    """A client that names no subprotocol is not told of one either."""
    socket = open_ready(alice, Sec_WebSocket_Protocol="")
    assert socket.headers["Sec-WebSocket-Protocol"] is None
    assert socket.settled()


@only_json
def test_a_browser_offers_the_token_as_a_subprotocol(open_ready: Open, alice: Person) -> None:
    """The token is beside the codec, which alone is named in the answer."""
    offers = f"bearer.{alice.token}, {JSON}"
    socket = open_ready(alice, Authorization="", Sec_WebSocket_Protocol=offers)
    assert socket.headers["Sec-WebSocket-Protocol"] == JSON
    assert socket.settled()


@only_json
@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"Authorization": ""}, 401, "token-missing"),
        ({"Authorization": "Bearer kith_" + "A" * 91}, 401, "token-invalid"),
        (
            {"Authorization": "", "Sec_WebSocket_Protocol": f"{JSON}, bearer.kith_AAAA"},
            401,
            "token-invalid",
        ),
        (
            {"Authorization": "", "Sec_WebSocket_Protocol": f"bearer.a, bearer.b, {JSON}"},
            401,
            "token-missing",
        ),
        ({"Sec_WebSocket_Protocol": "kith.v9.json"}, 400, "subprotocol-unknown"),
        ({"Sec_WebSocket_Version": "12"}, 426, "upgrade-required"),
        ({"Upgrade": "h2c"}, 426, "upgrade-required"),
        ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400, "malformed-request"),
        ({"Sec_WebSocket_Key": "!"}, 400, "malformed-request"),
    ],
)
def test_other_handshakes_are_refused(
    open_socket: Open, alice: Person, fields: dict[str, Any], status: int, code: str
) -> None:
    """Without a token, with an unknown subprotocol, or of another kind, nothing is upgraded."""
    with pytest.raises(Refused) as refused:
        open_socket(alice, **fields)
    assert (refused.value.status, refused.value.code) == (status, code)


def test_an_ordinary_request_is_told_to_upgrade(client: ContractClient, alice: Person) -> None:
    """GET without an upgrade is 426 and says to what."""
    answer = client.get("/v1/stream", headers=alice.headers)
    assert (answer.status_code, problem_code(answer)) == (426, "upgrade-required")
    assert answer.headers["Upgrade"] == "websocket"
    assert answer.headers["Sec-WebSocket-Version"] == "13"
    assert MSGPACK in str(client.application.api_doc["paths"]["/v1/stream"])  # type: ignore[attr-defined]
