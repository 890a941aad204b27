"""What the stream refuses: by an answer what is well formed, by ending what is not."""

import threading

import pytest

from tests.api.stream.conftest import Open, message
from tests.conftest import Person
from tests.contract.openapi import ContractClient
from tests.sockets import JSON, MSGPACK, TestSocket

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
only_json = pytest.mark.parametrize("subprotocol", [JSON], indirect=True)
STRANGE = "7d9f3c1e-0000-4000-8000-000000000000"


def _refusal(socket: TestSocket) -> tuple[str | None, str, int]:
    frame = socket.expect("refused")
    problem = frame["problem"]
    return frame.get("client_id"), problem["type"].removeprefix("/problems/"), problem["status"]


def test_refused_frames_leave_the_socket_open(open_ready: Open, alice: Person, bob: Person) -> None:
    """Unknown devices and accounts, acknowledgements of the future and wrong fields are answered."""
    socket = open_ready(alice)
    wrong = message(bob, "a") | {"envelopes": [{"device_id": STRANGE, "content": b"x"}]}
    cases = [
        (wrong, ("a", "devices-mismatched", 409)),
        (message(bob, "b") | {"to": STRANGE}, ("b", "account-not-found", 404)),
        (message(bob, "c", b"x" * 65_537), ("c", "invalid-fields", 422)),
        (message(bob, "d", expires_in=0), ("d", "invalid-fields", 422)),
        (message(bob, "e", surprise=1), ("e", "invalid-fields", 422)),
        (message(bob, "f", group={"id": STRANGE, "version": 1}), ("f", "invalid-fields", 422)),
        (message(bob, ""), (None, "invalid-fields", 422)),
        ({"type": "ack", "through": 1}, (None, "acknowledgement-ahead", 422)),
        ({"type": "ack", "through": -1}, (None, "invalid-fields", 422)),
        ({"type": "ping", "id": 3}, (None, "invalid-fields", 422)),
    ]
    for frame, refusal in cases:
        socket.send(frame)
        assert _refusal(socket) == refusal
    assert socket.settled()


def test_a_refused_form_is_told_in_words(open_ready: Open, alice: Person, bob: Person) -> None:
    """A client id with a blank is refused with a pointer, and without a regular expression."""
    socket = open_ready(alice)
    socket.send(message(bob, "with a blank"))
    problem = socket.expect("refused")["problem"]
    (fault,) = problem["errors"]
    assert fault == {
        "pointer": "/client_id",
        "detail": "is not of the form that the page on messages gives for it",
    }
    assert "regex" not in problem["detail"]


def test_a_wrong_frame_does_not_spoil_its_neighbours(
    open_ready: Open, alice: Person, bob: Person
) -> None:
    """In an array each frame is judged by itself, and a fault says where it is."""
    socket = open_ready(alice)
    socket.send(message(bob, "1"), message(bob, "2", urgent="yes"), message(bob, "3"))
    answers = [socket.receive() for _ in range(3)]
    assert {a["client_id"] for a in answers if a["type"] == "accepted"} == {"1", "3"}
    (refused,) = [a for a in answers if a["type"] == "refused"]
    assert refused["client_id"] == "2"
    assert refused["problem"]["errors"][0]["pointer"] == "/urgent"


def test_unknown_frames_are_answered_and_the_others_done(
    open_ready: Open, alice: Person, bob: Person
) -> None:
    """A newer client's frame is refused by its type and name; the rest of the array goes on."""
    socket = open_ready(alice)
    socket.send(
        message(bob, "before"),
        {"type": "sticker", "client_id": "s1", "id": "other", "size": [1, 2]},
        {"type": "", "client_id": 3, "id": "x" * 65},
        {"type": "message", "client_id": "not a client id", "id": "m1"},
        {"type": "y" * 1000, "client_id": "y" * 65, "id": ["x"]},
        {"type": "ping", "id": "after"},
    )
    frames = [socket.receive() for _ in range(6)]
    refused = [frame for frame in frames if frame["type"] == "refused"]
    for frame in refused:
        problem = frame.pop("problem")
        assert (problem["type"], problem["status"]) == ("/problems/frame-unsupported", 422)
    assert refused == [
        {"type": "refused", "frame_type": "sticker", "client_id": "s1", "id": "other"},
        {"type": "refused", "frame_type": ""},
        {"type": "refused", "frame_type": "message", "id": "m1"},
        {"type": "refused", "frame_type": "y" * 64},
    ]
    assert [frame["client_id"] for frame in frames if frame["type"] == "accepted"] == ["before"]
    assert {"type": "pong", "id": "after"} in frames
    assert socket.settled()


def test_a_refusal_names_its_frame(open_ready: Open, alice: Person, bob: Person) -> None:
    """Each kind of frame is named in its refusal, with what it was called."""
    socket = open_ready(alice)
    for frame, name in (
        (message(bob, "a") | {"to": STRANGE}, {"frame_type": "send", "client_id": "a"}),
        (message(bob, "b", urgent=1), {"frame_type": "send", "client_id": "b"}),
        ({"type": "ack", "through": 9}, {"frame_type": "ack"}),
        ({"type": "ephemeral", "to": STRANGE, "envelopes": []}, {"frame_type": "ephemeral"}),
        ({"type": "ping", "id": "p", "more": 1}, {"frame_type": "ping", "id": "p"}),
    ):
        socket.send(frame)
        refused = socket.expect("refused")
        assert refused.pop("problem")["status"] in (404, 422)
        assert refused == name


def test_null_is_as_good_as_left_out(
    open_ready: Open, client: ContractClient, alice: Person, bob: Person
) -> None:
    """Fields that say nothing when they are left out may be null, in frames and in bodies."""
    nothing = dict.fromkeys(("group", "content", "devices"))
    socket, to_bob = open_ready(alice), open_ready(bob)
    envelope = {"device_id": bob.device_id, "content": b"hello", "registration_id": None}
    socket.send(message(bob, "frame", envelopes=[envelope], **nothing))
    socket.expect("accepted")
    body = {
        "to": bob.account_id,
        "client_id": "body",
        "envelopes": [envelope | {"content": "aGVsbG8"}],
    }
    answer = client.post("/v1/messages", json=body | nothing, headers=alice.headers)
    assert answer.status_code == 202, answer.text
    for name in ("urgent", "expires_in"):
        socket.send(message(bob, name, **{name: None}))
        assert _refusal(socket) == (name, "invalid-fields", 422)
        refused = client.post("/v1/messages", json=body | {name: None}, headers=alice.headers)
        assert refused.status_code == 422
    socket.send({"type": "ping", "id": None})
    assert socket.expect("pong") == {}
    assert [to_bob.expect("message")["seq"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(
    ("kind", "garbage", "code"),
    [
        (JSON, "{", 1007),
        (JSON, "", 1007),
        (JSON, "3", 1007),
        (JSON, '[{"type":"ping"},3]', 1007),
        (JSON, '{"type":3}', 1007),
        (JSON, '{"to":"nobody"}', 1007),
        (JSON, "[" * 100_000, 1007),
        (JSON, b"\x81\xa4type\xa4ping", 1003),
        (JSON, "[" + ",".join(['{"type":"ping"}'] * 257) + "]", 1009),
        (MSGPACK, b"\xc1", 1007),
        (MSGPACK, b"\x81\xa4type", 1007),
        (MSGPACK, b"\xdd\xff\xff\xff\xff", 1007),
        (MSGPACK, b"\x91" * 100_000, 1007),
        (MSGPACK, b"\x81\xa4type\xa4pin\xff", 1007),
        (MSGPACK, '{"type":"ping"}', 1003),
    ],
)
@only_json
def test_garbage_ends_the_socket(
    open_socket: Open, alice: Person, kind: str, garbage: str | bytes, code: int
) -> None:
    """What is not a frame of the subprotocol closes the socket, with a reason."""
    socket = open_socket(alice, subprotocol=kind)
    socket.send_raw(garbage)
    closed = socket.closing()
    assert closed.code == code
    assert closed.reason


def _frame(payload: bytes, *, first: bool = True, last: bool = True) -> bytes:
    """Write a WebSocket frame of a client with a mask of zeros."""
    opcode = (0x1 if first else 0x0) | (0x80 if last else 0)
    return bytes((opcode, 0xFF)) + len(payload).to_bytes(8) + bytes(4) + payload


@pytest.mark.parametrize("fragments", [1, 160])
@only_json
def test_a_message_of_ten_megabytes_ends_the_socket(
    open_socket: Open, alice: Person, fragments: int
) -> None:
    """A message over `max_message_bytes` closes with 1009 before it is whole, in one piece or in many."""
    socket = open_socket(alice)
    size = 10_485_760 // fragments

    def write() -> None:
        # The service may hang up before all of it was written.
        try:
            for n in range(fragments):
                last = n == fragments - 1
                socket.wire.sendall(_frame(b" " * size, first=n == 0, last=last))
        except OSError:
            pass

    writer = threading.Thread(target=write)
    writer.start()
    assert socket.closing().code == 1009
    writer.join()


@only_json
def test_endless_fragments_end_the_socket(open_socket: Open, alice: Person) -> None:
    """Fragments of no bytes are too many at some time."""
    socket = open_socket(alice)
    empty = bytes((0x00, 0x80)) + bytes(4)
    socket.wire.sendall(bytes((0x01, 0x80)) + bytes(4) + empty * 5000)
    assert socket.closing().code == 1009


@only_json
def test_half_a_frame_does_nothing(open_ready: Open, alice: Person) -> None:
    """Whoever hangs up in the middle of a frame leaves no socket behind."""
    socket = open_ready(alice)
    socket.wire.sendall(bytes((0x81, 0x80 | 100)) + bytes(4) + b'{"type":"pi')
    socket.close()
    other = open_ready(alice)
    assert other.settled()


@only_json
def test_what_is_not_a_websocket_ends_the_socket(open_socket: Open, alice: Person) -> None:
    """A frame without a mask, and text that is not UTF-8, close it."""
    for data, code in ((b"\x81\x02{}", 1002), (b"\x81\x82\0\0\0\0\xff\xfe", 1007)):
        socket = open_socket(alice)
        socket.wire.sendall(data)
        assert socket.closing().code == code
