"""Messages over the stream: sent, delivered in order, acknowledged, and no more than the window at once."""

from flask_openapi3 import OpenAPI

from messaging.stream.window import MAX_UNACKNOWLEDGED
from tests.api.stream.conftest import Open, message
from tests.conftest import Clock, Person
from tests.contract.openapi import ContractClient
from tests.sockets import TestSocket

Deliveries = list[tuple[int, bytes]]


def _take(socket: TestSocket, number: int) -> Deliveries:
    """Take so many messages; each is the next frame."""
    frames = [socket.expect("message") for _ in range(number)]
    return [(frame["seq"], frame["content"]) for frame in frames]


def _send_all(socket: TestSocket, to: Person, numbers: range) -> None:
    """Send numbered messages in one array, and wait until all are stored."""
    socket.send(*(message(to, str(n), str(n).encode()) for n in numbers))
    accepted = {socket.expect("accepted")["client_id"] for _ in numbers}
    assert accepted == {str(n) for n in numbers}


def test_a_message_is_sent_delivered_and_acknowledged(
    open_ready: Open, alice: Person, bob: Person
) -> None:
    """What Alice sends is accepted, Bob has it at once, and once he acknowledged it is gone."""
    to_bob, to_alice = open_ready(bob), open_ready(alice)
    to_alice.send(message(bob, "first", b"\x00hello"))
    accepted = to_alice.expect("accepted")
    assert accepted["client_id"] == "first"
    assert to_bob.expect("message") == {
        "seq": 1,
        "id": accepted["id"],
        "from_account_id": alice.account_id,
        "from_device_id": alice.device_id,
        "content": b"\x00hello",
        "sent_at": accepted["accepted_at"],
        "request": False,
    }
    to_bob.send({"type": "ack", "through": 1})
    assert to_bob.expect("acked") == {"through": 1}
    again = open_ready(bob)
    assert again.settled()


def test_the_first_message_after_a_reconnect(
    open_socket: Open, open_ready: Open, alice: Person, bob: Person
) -> None:
    """In a mailbox that was used and is empty the mark is its last number, and the next one comes at once."""
    to_alice, to_bob = open_ready(alice), open_ready(bob)
    _send_all(to_alice, bob, range(1, 4))
    _take(to_bob, 3)
    to_bob.send({"type": "ack", "through": 3})
    to_bob.expect("acked")
    to_bob.close()
    to_bob = open_socket(bob)
    to_bob.expect("ready")
    assert to_bob.expect("caught_up") == {"through": 3}
    _send_all(to_alice, bob, range(4, 5))
    assert _take(to_bob, 1) == [(4, b"4")]
    assert to_bob.settled()


def test_what_waited_comes_first_and_then_the_mark(
    open_socket: Open, open_ready: Open, alice: Person, bob: Person
) -> None:
    """A socket is greeted, told what waited in order, told that this was all, and then what is new."""
    to_alice = open_ready(alice)
    _send_all(to_alice, bob, range(1, 131))
    to_bob = open_socket(bob)
    ready = to_bob.expect("ready")
    assert (ready["device_id"], ready["max_unacknowledged"]) == (bob.device_id, 256)
    assert _take(to_bob, 130) == [(n, str(n).encode()) for n in range(1, 131)]
    assert to_bob.expect("caught_up") == {"through": 130}
    _send_all(to_alice, bob, range(131, 133))
    assert _take(to_bob, 2) == [(131, b"131"), (132, b"132")]


def test_a_message_over_the_window_waits_for_an_acknowledgement(
    open_ready: Open, alice: Person, bob: Person
) -> None:
    """256 messages come unacknowledged; the next ones come when there is room, none twice."""
    to_alice, to_bob = open_ready(alice), open_ready(bob)
    for begins in range(1, 401, 100):
        _send_all(to_alice, bob, range(begins, begins + 100))
    expected = [(n, str(n).encode()) for n in range(1, 401)]
    assert _take(to_bob, MAX_UNACKNOWLEDGED) == expected[:MAX_UNACKNOWLEDGED]
    assert to_bob.settled()
    to_bob.send({"type": "ack", "through": 10})
    frames = [to_bob.receive() for _ in range(11)]
    came = [frame["seq"] for frame in frames if frame["type"] == "message"]
    assert came == list(range(MAX_UNACKNOWLEDGED + 1, MAX_UNACKNOWLEDGED + 11))
    assert to_bob.settled()
    to_bob.send({"type": "ack", "through": 266})
    frames = [to_bob.receive() for _ in range(400 - 266 + 1)]
    assert [frame["seq"] for frame in frames if frame["type"] == "message"] == [*range(267, 401)]
    assert to_bob.settled()


def test_who_falls_behind_catches_up(open_ready: Open, alice: Person, bob: Person) -> None:
    """More than is kept for a socket comes out of the table, in order and once, and the mark comes again."""
    to_alice, to_bob = open_ready(alice), open_ready(bob)
    for begins in range(1, 601, 100):
        _send_all(to_alice, bob, range(begins, begins + 100))
    came: Deliveries = []
    while (frame := to_bob.receive()) != {"type": "caught_up", "through": 600}:
        if frame["type"] == "message":
            came.append((frame["seq"], frame["content"]))
            if len(came) % 50 == 0:
                to_bob.send({"type": "ack", "through": len(came)})
    assert came == [(n, str(n).encode()) for n in range(1, 601)]


def test_gaps_left_by_expiry_do_not_disturb_the_order(
    open_socket: Open, open_ready: Open, alice: Person, bob: Person, clock: Clock, app: OpenAPI
) -> None:
    """Messages that expired are passed over, at opening and after, and the others come in order."""
    to_alice = open_ready(alice)
    for n in (1, 2, 3):
        to_alice.send(message(bob, str(n), str(n).encode(), expires_in=10 if n == 2 else 1000))
        to_alice.expect("accepted")
    clock.advance(11)
    to_bob = open_socket(bob)
    to_bob.expect("ready")
    assert _take(to_bob, 2) == [(1, b"1"), (3, b"3")]
    assert to_bob.expect("caught_up") == {"through": 3}
    to_bob.close()
    to_alice.send(message(bob, "4", b"4", expires_in=10))
    to_alice.expect("accepted")
    to_bob = open_socket(bob)
    to_bob.expect("ready")
    assert [seq for seq, _ in _take(to_bob, 3)] == [1, 3, 4]
    to_bob.send({"type": "ack", "through": 4})
    to_bob.expect("caught_up")
    to_bob.expect("acked")
    to_bob.close()
    to_alice.send(message(bob, "5", b"5", expires_in=10))
    to_alice.expect("accepted")
    clock.advance(11)
    to_bob = open_ready(bob)
    _send_all(to_alice, bob, range(6, 8))
    assert _take(to_bob, 2) == [(6, b"6"), (7, b"7")]


def test_a_message_sent_again_is_answered_the_same(
    open_ready: Open, alice: Person, bob: Person
) -> None:
    """The same message under its client id is accepted as before and delivered once."""
    to_alice, to_bob = open_ready(alice), open_ready(bob)
    to_alice.send(message(bob, "one"))
    first = to_alice.expect("accepted")
    to_alice.send(message(bob, "one"))
    assert to_alice.expect("accepted") == first
    assert _take(to_bob, 1) == [(1, b"hello")]
    assert to_bob.settled()


def test_http_and_stream_are_one_mailbox(
    client: ContractClient, open_ready: Open, alice: Person, bob: Person
) -> None:
    """What is posted comes over the socket; what is acknowledged by post does not come again."""
    to_bob = open_ready(bob)
    envelopes = [{"device_id": bob.device_id, "content": "aGVsbG8"}]
    body = {"to": bob.account_id, "client_id": "1", "envelopes": envelopes}
    assert client.post("/v1/messages", json=body, headers=alice.headers).status_code == 202
    assert _take(to_bob, 1) == [(1, b"hello")]
    done = client.post("/v1/messages/ack", json={"through": 1}, headers=bob.headers)
    assert done.status_code == 204
    assert open_ready(bob).settled()


def test_a_poll_and_a_socket_live_side_by_side(
    client: ContractClient, open_ready: Open, alice: Person, bob: Person
) -> None:
    """A long poll closes no socket, gets what is there, and what is acknowledged over HTTP makes room."""
    to_alice, to_bob = open_ready(alice), open_ready(bob)
    for begins in (1, 101, 201):
        _send_all(to_alice, bob, range(begins, begins + 100))
    assert len(_take(to_bob, MAX_UNACKNOWLEDGED)) == MAX_UNACKNOWLEDGED
    page = client.get("/v1/messages?wait=20&limit=100", headers=bob.headers).json
    assert len(page["messages"]) == 100
    assert to_bob.settled()
    done = client.post("/v1/messages/ack", json={"through": 100}, headers=bob.headers)
    assert done.status_code == 204
    frames = [to_bob.receive() for _ in range(300 - MAX_UNACKNOWLEDGED)]
    came = [frame["seq"] for frame in frames if frame["type"] == "message"]
    assert came == [*range(MAX_UNACKNOWLEDGED + 1, 301)]
