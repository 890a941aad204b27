"""Messages over the stream: sent, delivered in order, acknowledged, and no more than the window at once."""

from tests.api.stream.conftest import Open, message
from tests.conftest import Person


def test_a_message_is_sent_delivered_and_acknowledged(
    open_ready: Open, open_socket: Open, alice: Person, bob: Person
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
