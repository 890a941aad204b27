"""The mailbox: in order, until acknowledged or expired, and never over its bound."""

import pytest

from tests.api.messages.conftest import DAY, numbers
from tests.conftest import problem_code


@pytest.mark.parametrize(("life", "default"), [(60, False), (30 * DAY, True)])
def test_a_message_expires(app, ben, send, fetch, life, default):
    """After its time a message is not delivered any more: 30 days when none was named."""
    send(ben, **({} if default else {"expires_in": life}))
    app.extensions["kith"].runtime.clock.advance(life - 1)
    assert numbers(fetch(ben)) == [1]
    app.extensions["kith"].runtime.clock.advance(1)
    assert fetch(ben) == {"messages": [], "more": False, "missed": None}


def test_an_expired_message_leaves_the_others_in_order(app, ben, send, fetch, acknowledge):
    """A gap in the numbers is no reason to stop, before and after it is cleaned up."""
    kith = app.extensions["kith"]
    send(ben)
    send(ben, expires_in=60)
    send(ben)
    kith.runtime.clock.advance(60)
    assert numbers(fetch(ben)) == [1, 3]
    assert kith.maintenance.run()["envelopes"] == 1
    assert numbers(fetch(ben)) == [1, 3]
    assert acknowledge(ben, 2).status_code == 204
    assert numbers(fetch(ben)) == [3]


@pytest.fixture
def room_for_two(client, anna, ben, bound):
    """Have Ben know Anna, whose share of his mailbox is two messages."""
    bound(max_messages=4)
    path = f"/v1/contacts/{anna.account_id}"
    assert client.put(path, json={"state": "accepted"}, headers=ben.headers).status_code == 204


def test_a_full_mailbox_refuses_for_all_devices(app, ben, link, send, fetch, room_for_two):
    """If one device has no room, nothing is stored for any, and the sender is told to wait."""
    send(ben)
    send(ben)
    second = link(ben)
    response = send(ben, ben, second, client_id="1")
    assert (response.status_code, problem_code(response)) == (429, "mailbox-full")
    assert response.headers["Retry-After"] == str(response.json["retry_after"])
    assert numbers(fetch(ben)) == [1, 2]
    assert fetch(second)["messages"] == []


def test_an_acknowledgement_makes_room(app, ben, send, fetch, acknowledge, room_for_two):
    """The bound is on what waits, not on what ever came; the refused message may come again."""
    for _ in range(3):
        send(ben)
    acknowledge(ben, 1)
    assert send(ben, client_id="1").status_code == 202
    assert send(ben).status_code == 429
    assert numbers(fetch(ben)) == [2, 3]


def test_expiry_makes_room(app, ben, send, fetch, room_for_two):
    """Expired messages count no more once cleaned up, though an older one still waits."""
    kith = app.extensions["kith"]
    send(ben)
    send(ben, expires_in=60)
    kith.runtime.clock.advance(60)
    kith.maintenance.run()
    assert send(ben).status_code == 202
    assert send(ben).status_code == 429
    assert numbers(fetch(ben)) == [1, 3]


def test_acknowledging_again_or_less_changes_nothing(ben, send, fetch, acknowledge):
    """Acknowledgements are cumulative and may repeat and come late."""
    for _ in range(3):
        send(ben)
    statuses = [acknowledge(ben, through).status_code for through in (2, 2, 1, 0)]
    assert statuses == [204] * 4
    assert numbers(fetch(ben)) == [3]


@pytest.mark.parametrize("through", [2, 2**63 - 1])
def test_the_future_cannot_be_acknowledged(ben, send, fetch, acknowledge, through):
    """A number that was not given out yet is refused, and what waits stays."""
    send(ben)
    response = acknowledge(ben, through)
    assert (response.status_code, problem_code(response)) == (422, "acknowledgement-ahead")
    assert numbers(fetch(ben)) == [1]


def test_a_device_acknowledges_only_its_own_messages(anna, ben, link, send, fetch, acknowledge):
    """Another device's messages stay, whatever is acknowledged elsewhere."""
    second = link(ben)
    send(ben, ben, second)
    acknowledge(second, 1)
    assert problem_code(acknowledge(anna, 1)) == "acknowledgement-ahead"
    assert numbers(fetch(ben)) == [1]


def test_envelopes_are_counted(app, ben, send, fetch, acknowledge):
    """The metrics tell what was stored, acknowledged and expired."""
    kith = app.extensions["kith"]
    send(ben)
    send(ben, expires_in=60)
    acknowledge(ben, 1)
    acknowledge(ben, 1)
    kith.runtime.clock.advance(60)
    kith.maintenance.run()
    metrics = kith.runtime.metrics.render().decode()
    assert 'kith_envelopes_total{step="stored"} 2.0' in metrics
    assert 'kith_envelopes_total{step="acknowledged"} 1.0' in metrics
    assert 'kith_envelopes_total{step="expired"} 1.0' in metrics


def test_a_page_has_so_many_bytes(ben, send, fetch, acknowledge):
    """Large messages come few at a time, whatever the limit is: a reader may take the answer slowly."""
    for _ in range(20):
        assert send(ben, content=bytes(65_536)).status_code == 202
    first = fetch(ben, limit=100)
    assert (numbers(first), first["more"]) == (list(range(1, 17)), True)
    acknowledge(ben, 16)
    rest = fetch(ben, limit=100)
    assert (numbers(rest), rest["more"]) == ([17, 18, 19, 20], False)
