"""What the stream refuses: by an answer what is well formed, by ending what is not."""

import threading

import pytest

from tests.api.stream.conftest import Open, message
from tests.conftest import Person
from tests.sockets import JSON, MSGPACK, TestSocket

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
only_json = pytest.mark.parametrize("form", [JSON], indirect=True)
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


@pytest.mark.parametrize(
    ("kind", "garbage", "code"),
    [
        (JSON, "{", 1007),
        (JSON, "", 1007),
        (JSON, "3", 1007),
        (JSON, '[{"type":"ping"},3]', 1007),
        (JSON, '{"type":"nonsense"}', 1007),
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
    socket = open_socket(alice, form=kind)
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
    """A message over `largest` closes with 1009 before it is whole, in one piece or in many."""
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
