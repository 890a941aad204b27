"""The Matrix adapter behind a real Synapse: users register, bind, are found and invited, unbind and leave.

What a client does at an identity server it does here by itself; the rest Synapse does for it.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from werkzeug.serving import make_server

from tests.conftest import NUMBER, OTHER_NUMBER, MakeApp
from tests.matrix import SECRET, V2, MatrixClient, fault, homeserver_context, make_matrix_app
from tests.synapse import Synapse, SynapseMissing, SynapseUser, free_port, running_synapse

# One process has it, and starts it once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("synapse")]


@pytest.fixture
def dialect() -> str:
    """One database is enough: what Synapse does does not depend on it."""
    return "sqlite"


@pytest.fixture(scope="module")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """A homeserver."""
    try:
        with running_synapse(tmp_path_factory.mktemp("synapse")) as synapse:
            yield synapse
    except SynapseMissing as missing:
        pytest.skip(str(missing))


@dataclass
class Door:
    """Kith as Synapse reaches it."""

    app: OpenAPI
    id_server: str

    def client(self, user: SynapseUser) -> MatrixClient:
        """Register a user of the homeserver by their OpenID token."""
        answer = self.app.test_client().post(f"{V2}/account/register", json=user.openid())
        assert answer.status_code == 200, answer.text
        return MatrixClient(self.app, user.user_id, answer.json["token"])

    def bind(self, user: SynapseUser, client: MatrixClient, number: str, secret: str) -> None:
        """Validate a number here and have Synapse bind it."""
        body = {
            "sid": client.validated(number, client_secret=secret),
            "client_secret": secret,
            "id_server": self.id_server,
            "id_access_token": client.token,
        }
        assert user.post("/account/3pid/bind", body) == (200, {})

    def invite(
        self, user: SynapseUser, client: MatrixClient, room: str, number: str
    ) -> tuple[int, Any]:
        """Have Synapse invite a number to a room."""
        body = {
            "medium": "msisdn",
            "address": number[1:],
            "id_server": self.id_server,
            "id_access_token": client.token,
        }
        return user.post(f"/rooms/{room}/invite", body)


@pytest.fixture
def matrix_app(make_app: MakeApp) -> Iterator[Door]:
    """Kith with its Matrix adapter open, served with TLS on the loopback."""
    port = free_port()
    app = make_matrix_app(
        make_app,
        ports={"clock": lambda: datetime.now(UTC)},
        public_url=f"https://127.0.0.1:{port}",
    )
    server = make_server("127.0.0.1", port, app, threaded=True, ssl_context=homeserver_context())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Door(app, f"127.0.0.1:{port}")
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_user_binds_is_found_and_invited_and_unbinds(synapse: Synapse, matrix_app: Door) -> None:
    """Synapse binds with the session, invites by number whom it finds, and unbinds by its signature."""
    ada, bob = synapse.register("ada"), synapse.register("bob")
    adas, bobs = matrix_app.client(ada), matrix_app.client(bob)
    assert adas.get("/account").json == {"user_id": ada.user_id}
    matrix_app.bind(ada, adas, NUMBER, "adas")
    assert bobs.found(NUMBER, OTHER_NUMBER) == {NUMBER: ada.user_id}

    status, room = bob.post("/createRoom", {"preset": "private_chat"})
    assert status == 200, room
    assert matrix_app.invite(bob, bobs, room["room_id"], NUMBER) == (200, {})
    path = f"/rooms/{room['room_id']}/members?membership=invite"
    _, members = synapse.call("GET", path, token=bob.token)
    assert [event["state_key"] for event in members["chunk"]] == [ada.user_id]

    threepid = {"medium": "msisdn", "address": NUMBER[1:], "id_server": matrix_app.id_server}
    assert ada.post("/account/3pid/unbind", threepid) == (
        200,
        {"id_server_unbind_result": "success"},
    )
    assert bobs.found(NUMBER) == {}


def test_an_invitation_of_nobody_leaves_nothing(synapse: Synapse, matrix_app: Door) -> None:
    """It is looked up, refused, and no invitation is left in the room.

    Synapse answers 500 for whatever an identity server refuses `store-invite` with, so its users do not read
    the sentence that other homeservers pass on.
    """
    carla = synapse.register("carla")
    carlas = matrix_app.client(carla)
    _, room = carla.post("/createRoom", {"preset": "private_chat"})
    status, _ = matrix_app.invite(carla, carlas, room["room_id"], OTHER_NUMBER)
    assert status == 500
    _, state = synapse.call("GET", f"/rooms/{room['room_id']}/state", token=carla.token)
    assert "m.room.third_party_invite" not in {event["type"] for event in state}
    body = {"medium": "msisdn", "address": OTHER_NUMBER[1:]}
    room_and_sender = {"room_id": room["room_id"], "sender": carla.user_id}
    answer = carlas.post("/store-invite", body | room_and_sender)
    assert fault(answer) == (403, "M_FORBIDDEN")
    assert "Send them a link to the room instead." in answer.json["error"]  # type: ignore[index]


def test_a_user_leaves(synapse: Synapse, matrix_app: Door) -> None:
    """Whoever is deactivated is not found any more, though no client of theirs said so here."""
    dan, eve = synapse.register("dan"), synapse.register("eve")
    dans, eves = matrix_app.client(dan), matrix_app.client(eve)
    matrix_app.bind(dan, dans, NUMBER, SECRET)
    assert eves.found(NUMBER) == {NUMBER: dan.user_id}
    assert dan.deactivate() == (200, {"id_server_unbind_result": "success"})
    assert eves.found(NUMBER) == {}


def test_a_refusal_reaches_whoever_asked(synapse: Synapse, matrix_app: Door) -> None:
    """What a bind is refused with reaches the client as it was written."""
    fred = synapse.register("fred")
    freds = matrix_app.client(fred)
    sid = freds.session(client_secret="freds")
    body = {
        "sid": sid,
        "client_secret": "freds",
        "id_server": matrix_app.id_server,
        "id_access_token": freds.token,
    }
    status, refusal = fred.post("/account/3pid/bind", body)
    assert (status, refusal["errcode"]) == (400, "M_SESSION_NOT_VALIDATED")
