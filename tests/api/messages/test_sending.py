"""Sending: to every device of an account or to none, and once for a client id."""

from datetime import datetime
from types import SimpleNamespace

import pytest

from tests.api.messages.conftest import BEN, DAY, NOBODY, encode, numbers
from tests.conftest import problem_code


def test_a_message_arrives_and_goes_when_acknowledged(anna, ben, send, fetch, acknowledge):
    """What was sent is fetched until it is acknowledged, and never after."""
    sent = send(ben, content=b"\x00\xff ciphertext")
    assert sent.status_code == 202
    page = fetch(ben)
    assert page == fetch(ben)
    assert page == {
        "messages": [
            {
                "seq": 1,
                "id": sent.json["id"],
                "from_account_id": anna.account_id,
                "from_device_id": anna.device_id,
                "content": encode(b"\x00\xff ciphertext"),
                "sent_at": sent.json["accepted_at"],
                "request": True,
                "group": None,
            }
        ],
        "more": False,
        "missed": None,
    }
    assert datetime.fromisoformat(sent.json["accepted_at"]).utcoffset().total_seconds() == 0
    assert acknowledge(ben, 1).status_code == 204
    assert fetch(ben) == {"messages": [], "more": False, "missed": None}


def test_each_device_gets_its_envelope(anna, ben, client, link, fetch):
    """One message is one envelope for each device, under one id."""
    second = link(ben)
    body = {
        "to": ben.account_id,
        "client_id": "1",
        "envelopes": [
            {"device_id": ben.device_id, "content": encode(b"first")},
            {"device_id": second.device_id, "content": encode(b"second")},
        ],
    }
    sent = client.post("/v1/messages", json=body, headers=anna.headers).json
    (one,), (two,) = fetch(ben)["messages"], fetch(second)["messages"]
    assert (one["id"], one["content"]) == (sent["id"], encode(b"first"))
    assert (two["id"], two["content"]) == (sent["id"], encode(b"second"))


def test_messages_come_in_order_and_in_pages(ben, send, fetch, acknowledge):
    """The oldest come first; `more` tells that others wait behind them."""
    ids = [send(ben).json["id"] for _ in range(5)]
    first = fetch(ben, limit=2)
    assert (numbers(first), first["more"]) == ([1, 2], True)
    acknowledge(ben, 2)
    rest = fetch(ben, limit=3)
    assert (numbers(rest), rest["more"]) == ([3, 4, 5], False)
    assert [message["id"] for message in first["messages"] + rest["messages"]] == ids


def test_a_device_left_out_or_made_up_stores_nothing(ben, link, send, fetch):
    """The list of devices must be exact, else the sender is told which to add and to leave."""
    second = link(ben)
    stranger = SimpleNamespace(device_id=NOBODY)
    response = send(ben, ben, stranger)
    assert (response.status_code, problem_code(response)) == (409, "devices-mismatched")
    assert response.json["missing"] == [second.device_id]
    assert response.json["extra"] == [NOBODY]
    assert response.json["stale"] == []
    assert fetch(ben)["messages"] == []


def test_a_refused_message_leaves_its_client_id_free(ben, link, send, fetch):
    """After a mismatch the corrected message may be sent under the same client id."""
    second = link(ben)
    assert send(ben, client_id="1").status_code == 409
    assert send(ben, ben, second, client_id="1").status_code == 202
    assert numbers(fetch(second)) == [1]


def test_a_removed_device_is_extra(client, ben, link, send, fetch):
    """A device that is gone is named, and needs no envelope any more."""
    second = link(ben)
    send(ben, ben, second)
    client.delete(f"/v1/devices/{second.device_id}", headers=ben.headers)
    response = send(ben, ben, second)
    assert (problem_code(response), response.json["extra"]) == (
        "devices-mismatched",
        [second.device_id],
    )
    assert send(ben, ben).status_code == 202
    assert numbers(fetch(ben)) == [1, 2]


def test_a_message_to_the_own_account_goes_to_the_other_devices(anna, link, send, fetch):
    """The sending device needs no envelope, and must not have one."""
    second = link(anna)
    response = send(anna, anna, second)
    assert (problem_code(response), response.json["extra"]) == (
        "devices-mismatched",
        [anna.device_id],
    )
    assert send(anna, second).status_code == 202
    assert numbers(fetch(second)) == [1]
    assert fetch(anna)["messages"] == []


def test_there_is_no_message_to_nobody(client, ben, send):
    """An account that never was, or was deleted, is not found."""
    nobody = SimpleNamespace(account_id=NOBODY, device_id=NOBODY)
    assert (send(nobody).status_code, problem_code(send(nobody))) == (404, "account-not-found")
    client.delete("/v1/account", headers=ben.headers)
    assert (send(ben).status_code, problem_code(send(ben))) == (404, "account-not-found")


def test_registering_again_empties_the_mailbox(register, ben, send, fetch):
    """What waited for the devices before is not for whoever registered the number now."""
    send(ben)
    again = register(BEN)
    assert again.account_id == ben.account_id
    assert fetch(again)["messages"] == []
    assert send(ben, ben).json["missing"] == [again.device_id]
    assert send(again).status_code == 202
    assert numbers(fetch(again)) == [1]


def test_a_message_sent_twice_is_stored_once(app, ben, link, send, fetch):
    """The same client id gives the same answer, in whatever order the envelopes come."""
    second = link(ben)
    first = send(ben, ben, second, client_id="1")
    app.extensions["kith"].runtime.clock.advance(60)
    again = send(ben, second, ben, client_id="1")
    assert (again.status_code, again.json) == (first.status_code, first.json)
    assert numbers(fetch(ben)) == numbers(fetch(second)) == [1]


def test_a_message_sent_again_is_answered_after_the_devices_changed(ben, link, send, fetch):
    """What was accepted stays accepted, though now it would be a mismatch."""
    first = send(ben, client_id="1")
    link(ben)
    assert send(ben, client_id="1").json == first.json
    assert numbers(fetch(ben)) == [1]


@pytest.mark.parametrize(
    "changes", [{"content": b"other"}, {"expires_in": 60}], ids=["content", "expiry"]
)
def test_another_message_under_a_used_client_id_is_refused(ben, send, fetch, changes):
    """A client id names one message."""
    send(ben, client_id="1")
    response = send(ben, client_id="1", **changes)
    assert (response.status_code, problem_code(response)) == (409, "client-id-reused")
    assert numbers(fetch(ben)) == [1]


def test_client_ids_belong_to_the_sending_device(anna, ben, link, send, fetch):
    """Another device may use the same one."""
    second = link(anna)
    send(ben, client_id="1")
    assert send(ben, client_id="1", sender=second).status_code == 202
    assert numbers(fetch(ben)) == [1, 2]


def test_a_client_id_is_free_again_after_a_day(app, ben, send, fetch):
    """The memory of what was sent ends with the periodic work a day later."""
    kith = app.extensions["kith"]
    send(ben, client_id="1")
    kith.runtime.clock.advance(DAY - 1)
    kith.maintenance.run()
    assert send(ben, client_id="1").status_code == 202
    assert numbers(fetch(ben)) == [1]
    kith.runtime.clock.advance(2)
    kith.maintenance.run()
    assert send(ben, client_id="1").status_code == 202
    assert numbers(fetch(ben)) == [1, 2]
