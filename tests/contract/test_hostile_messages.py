"""What is wrong with messages, sockets, keys and groups is refused clearly, and holds nobody else up.

On the server as it is served: after each of these, and while a socket that was misused is still open, two
others write to each other as before.
"""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import httpx
import pytest

from bench.people import Person, settle
from core.base64url import encode
from tests.databases import fresh_database_url
from tests.device_keys import DeviceKeys
from tests.server import running_server
from tests.sockets import JSON, MSGPACK, Frame, TestSocket

pytestmark = pytest.mark.slow

NOBODY = "00000000-0000-4000-8000-000000000000"
TEN_MEGABYTES, LARGEST = 10_485_760, 1_048_576


class Town:
    """A server, two who write to each other, and others who come to disturb them."""

    def __init__(self, address: tuple[str, int], people: list[Person], stack: ExitStack) -> None:
        self._address = address
        host, port = address
        self._client = stack.enter_context(httpx.Client(base_url=f"http://{host}:{port}/v1"))
        self.ben, self.carla, *self.others = people
        self._stack = stack
        self._ends = [self.open(self.ben, JSON), self.open(self.carla, MSGPACK)]

    def open(self, person: Person, subprotocol: str = JSON, **options: int) -> TestSocket:
        """Open a socket, which stays open."""
        socket = TestSocket(
            self._address, subprotocol, Authorization=f"Bearer {person.token}", **options
        )
        self._stack.enter_context(socket)
        socket.expect("ready")
        socket.expect("caught_up")
        return socket

    def call(self, person: Person, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send a request."""
        headers = {"Authorization": f"Bearer {person.token}"}
        return self._client.request(method, path, json=body, headers=headers)

    def link(self, person: Person) -> Person:
        """Link one more device."""
        code = self.call(person, "POST", "/device-links").json()["link_code"]
        redeeming = {"link_code": code, "device": {}}
        joined = self.call(person, "POST", "/device-links/redeem", redeeming).json()
        return Person(person.account_id, UUID(joined["device_id"]), joined["device_token"])

    def goes_on(self) -> None:
        """Have both write to each other, receive and acknowledge."""
        for sender, recipient, person in zip(
            self._ends, reversed(self._ends), (self.carla, self.ben), strict=True
        ):
            sender.send(message(person, b"as before"))
            sender.expect("accepted")
            came = recipient.expect("message")
            assert came["content"] == b"as before"
            recipient.send({"type": "ack", "through": came["seq"]})
            recipient.expect("acked")


def message(to: Person, content: bytes, device_id: UUID | str | None = None) -> Frame:
    """Write a message to somebody's device."""
    envelope = {"device_id": str(device_id or to.device_id), "content": content}
    return {
        "type": "send",
        "to": str(to.account_id),
        "client_id": secrets.token_hex(),
        "envelopes": [envelope],
    }


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """One town for all of this."""
    directory = tmp_path_factory.mktemp("town")
    url = fresh_database_url("sqlite", directory)
    people = settle(url, 120)
    environment = {"KITH_DATA_DIR": str(directory), "KITH_DATABASE_URL": url}
    with (
        running_server(environment, directory / "server.log") as server,
        ExitStack() as stack,
    ):
        yield Town(server.address, people, stack)
    assert "Traceback" not in (directory / "server.log").read_text()


@pytest.fixture
def mallory(town: Town) -> Iterator[Person]:
    """Somebody else each time; when she is done, the others go on as before."""
    yield town.others.pop()
    town.goes_on()


def _refusal(socket: TestSocket) -> Frame:
    problem = dict(socket.expect("refused")["problem"])
    problem["type"] = problem["type"].removeprefix("/problems/")
    return problem


def _code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["type"]).removeprefix("/problems/")


def test_an_unknown_device(town: Town, mallory: Person) -> None:
    """The refusal names it, and who is missing."""
    socket = town.open(mallory)
    socket.send(message(town.ben, b"x", NOBODY))
    problem = _refusal(socket)
    assert (problem["type"], problem["extra"]) == ("devices-mismatched", [NOBODY])
    assert problem["missing"] == [str(town.ben.device_id)]


def test_a_device_of_ones_own_left_out(town: Town, mallory: Person) -> None:
    """A message to the own account is for each other device, and for those alone."""
    second, third = town.link(mallory), town.link(mallory)
    socket = town.open(mallory)
    socket.send(message(mallory, b"x", second.device_id))
    problem = _refusal(socket)
    assert (problem["type"], problem["missing"]) == ("devices-mismatched", [str(third.device_id)])


def test_what_is_anothers_or_yet_to_come_acknowledged(town: Town, mallory: Person) -> None:
    """A device acknowledges what it was given, and others keep theirs."""
    writer, reader = town.open(town.others.pop()), town.open(mallory)
    writer.send(message(mallory, b"x"))
    writer.expect("accepted")
    assert reader.expect("message")["seq"] == 1
    for through in (1, 2**63 - 1):
        writer.send({"type": "ack", "through": through})
        assert _refusal(writer)["type"] == "acknowledgement-ahead"
    reader.send({"type": "ack", "through": 2})
    assert _refusal(reader)["type"] == "acknowledgement-ahead"
    (kept,) = town.call(mallory, "GET", "/messages").json()["messages"]
    assert kept["seq"] == 1


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
def test_a_message_of_ten_megabytes(town: Town, mallory: Person, subprotocol: str) -> None:
    """The socket ends as soon as too much of it has come."""
    socket = town.open(mallory, subprotocol)
    opcode = 0x81 if subprotocol == JSON else 0x82
    head = bytes((opcode, 0xFF)) + TEN_MEGABYTES.to_bytes(8) + bytes(4)
    socket.wire.sendall(head + bytes(LARGEST + 1))
    assert socket.closing().code == 1009


def test_half_a_frame(town: Town, mallory: Person) -> None:
    """It is waited for, by nobody else; with the other half it is a frame as ever."""
    socket = town.open(mallory)
    frame = b'{"type":"ping"}'
    socket.wire.sendall(bytes((0x81, 0x80 | len(frame))) + bytes(4) + frame[:7])
    town.goes_on()
    socket.wire.sendall(frame[7:])
    assert socket.receive() == {"type": "pong"}


def test_garbage(town: Town, mallory: Person) -> None:
    """What is no frame ends the socket, which says why."""
    for subprotocol, garbage, code in (
        (JSON, "{", 1007),
        (JSON, b"{}", 1003),
        (JSON, '{"drop": "table", "table": "messages"}', 1007),
        (MSGPACK, b"\xc1", 1007),
        (MSGPACK, "{}", 1003),
    ):
        socket = town.open(mallory, subprotocol)
        socket.send_raw(garbage)
        closed = socket.closing()
        assert closed.code == code
        assert closed.reason


def test_a_socket_that_never_reads(town: Town, mallory: Person) -> None:
    """What it does not read is kept for it, and costs those who write to it nothing."""
    deaf = town.link(mallory)
    town.open(deaf, receive_buffer=4096)
    writer = town.open(mallory)
    for _ in range(120):
        writer.send(message(deaf, bytes(65_536)))
        writer.expect("accepted")
    town.goes_on()
    page = town.call(deaf, "GET", "/messages?limit=1").json()
    assert page["messages"][0]["seq"] == 1


def test_invalid_signatures(town: Town, mallory: Person) -> None:
    """Each one is named, and nothing of the upload is kept."""
    body = DeviceKeys().first(0, 3)
    body["signed_prekey"]["signature"] = encode(bytes(64))
    body["one_time_kem_prekeys"][2]["signature"] = encode(bytes(64))
    answer = town.call(mallory, "PUT", "/keys", body)
    assert _code(answer) == (422, "invalid-fields")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [
        "/signed_prekey/signature",
        "/one_time_kem_prekeys/2/signature",
    ]
    taken = town.call(town.ben, "GET", f"/keys/{mallory.account_id}").json()
    assert taken == {"devices": [], "without_keys": [str(mallory.device_id)]}


def test_bundles_asked_for_without_end(town: Town, mallory: Person) -> None:
    """Ten are given; after that nothing, so that enough are left for others."""
    assert town.call(town.ben, "PUT", "/keys", DeviceKeys().first(30)).status_code == 204
    answers = [town.call(mallory, "GET", f"/keys/{town.ben.account_id}") for _ in range(500)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 490
    assert _code(answers[-1]) == (429, "too-many-key-fetches")
    assert int(answers[-1].headers["Retry-After"]) > 0
    left = town.call(town.ben, "GET", "/keys/count").json()["one_time_prekeys"]
    assert left == 20


def test_a_group_of_strangers(town: Town, mallory: Person) -> None:
    """They are invited and hear nothing; and there is an end to inviting."""
    *first, last = [str(person.account_id) for person in town.others[:101]]
    made = town.call(mallory, "POST", "/groups", {"name": "Friends", "members": first})
    assert made.status_code == 201, made.text
    group = made.json()
    states = {member["account_id"]: member["state"] for member in group["members"]}
    assert states == {str(mallory.account_id): "joined"} | dict.fromkeys(first, "invited")
    found = town.call(mallory, "GET", f"/groups/{group['id']}/devices").json()
    assert found["devices"] == []
    shared = {
        "group": {"id": group["id"], "version": group["version"]},
        "client_id": "1",
        "content": encode(b"advertising"),
        "devices": found["digest"],
    }
    assert town.call(mallory, "POST", "/messages", shared).status_code == 202
    assert town.call(town.others[0], "GET", "/messages").json()["messages"] == []
    more = {"version": group["version"], "account_ids": [last]}
    answer = town.call(mallory, "POST", f"/groups/{group['id']}/members", more)
    assert _code(answer) == (429, "group-rate-limited")
