"""Devices in drawers: they make nobody unreachable, and learn what they missed."""

from datetime import timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest

from tests.api.messages.conftest import DAY, NOBODY, numbers
from tests.conftest import problem_code


@pytest.fixture
def second(ben, link):
    """Ben's second device."""
    return link(ben)


@pytest.fixture
def pass_days(app, anna, ben, client):
    """Let days pass on which Anna and Ben use their phones."""

    def pass_days(days, *users):
        for _ in range(days):
            app.extensions["kith"].runtime.clock.advance(DAY)
            for user in users:
                assert client.get("/v1/account", headers=user.headers).status_code == 200

    return pass_days


def test_an_idle_second_device_is_left_out(client, anna, ben, second, send, fetch, pass_days):
    """After 30 days unseen a message is for the other one alone, and keys are of that one alone."""
    assert client.get("/v1/messages", headers=second.headers).status_code == 200
    pass_days(29, anna, ben)
    assert problem_code(send(ben)) == "devices-mismatched"
    assert send(ben, ben, second).status_code == 202
    pass_days(1, anna, ben)
    assert send(ben).status_code == 202
    refused = send(ben, ben, second)
    assert (problem_code(refused), refused.json["extra"]) == (
        "devices-mismatched",
        [second.device_id],
    )
    bundles = client.get(f"/v1/keys/{ben.account_id}", headers=anna.headers).json
    assert bundles == {"devices": [], "without_keys": [ben.device_id]}
    one = client.get(
        f"/v1/keys/{ben.account_id}?device_id={second.device_id}", headers=anna.headers
    )
    assert problem_code(one) == "device-not-found"
    assert numbers(fetch(ben)) == [1, 2]


def test_a_device_that_returns_is_told_what_it_missed(
    app, client, anna, ben, second, send, fetch, acknowledge, pass_days
):
    """It is in the list again with its first request, keeps what it has, and is told of the gap."""
    assert client.get("/v1/messages", headers=second.headers).status_code == 200
    seen = app.extensions["kith"].runtime.clock.now
    pass_days(29, anna, ben)
    assert send(ben, ben, second).status_code == 202
    pass_days(11, anna, ben)
    assert send(ben).status_code == 202
    page = fetch(second)
    assert numbers(page) == [1]
    since = (seen + timedelta(days=30)).isoformat().replace("+00:00", "Z")
    assert page["missed"] == {"since": since, "through": 2}
    assert send(ben, ben, second).status_code == 202
    assert numbers(fetch(second)) == [1, 3]
    acknowledge(second, 3)
    assert fetch(second) == {"messages": [], "more": False, "missed": None}


def test_the_only_device_stays_in_the_list(client, ben, send, fetch, anna, pass_days):
    """Who has one phone is written to, however long it is off, and has missed nothing but what expired."""
    pass_days(40, anna)
    assert send(ben).status_code == 202
    assert fetch(ben)["missed"] is None
    assert numbers(fetch(ben)) == [1]


def test_when_all_are_idle_all_get_messages(ben, second, client, send, fetch, anna, pass_days):
    """Nobody can say which of them will be used next."""
    assert client.get("/v1/messages", headers=second.headers).status_code == 200
    pass_days(40, anna)
    assert send(ben, ben, second).status_code == 202
    assert numbers(fetch(ben)) == numbers(fetch(second))[:1] == [1]


def test_an_open_socket_counts_as_use(app, ben, second, client, send, anna, pass_days):
    """A device that listens makes no requests, and is in use all the same."""
    kith = app.extensions["kith"]
    listener = SimpleNamespace(on_stored=lambda _: None, close=lambda _: None)
    assert client.get("/v1/messages", headers=second.headers).status_code == 200
    with kith.messaging.registry.register(UUID(second.device_id), listener):
        for _ in range(40):
            pass_days(1, anna, ben)
            kith.messaging.mailbox_poller.poll()
    assert send(ben, ben, second).status_code == 202
    devices = client.get("/v1/devices", headers=ben.headers).json["devices"]
    assert len({device["last_seen_at"] for device in devices}) == 1


def test_nobody_has_no_keys(client, anna):
    """An account that is not there is told as before."""
    assert problem_code(client.get(f"/v1/keys/{NOBODY}", headers=anna.headers)) == (
        "account-not-found"
    )


def test_a_group_leaves_idle_devices_out(app, client, anna, ben, second, pass_days):
    """The list that a member encrypts for has no device that is not used any more."""
    contact = f"/v1/contacts/{anna.account_id}"
    client.put(contact, json={"state": "accepted"}, headers=ben.headers)
    body = {"name": "Family", "members": [ben.account_id]}
    group = client.post("/v1/groups", json=body, headers=anna.headers).json
    path = f"/v1/groups/{group['id']}/devices"
    assert len(client.get(path, headers=anna.headers).json["devices"]) == 2
    pass_days(31, anna, ben)
    found = client.get(path, headers=anna.headers).json
    assert [device["device_id"] for device in found["devices"]] == [ben.device_id]
    answer = client.post(
        "/v1/messages",
        json={
            "group": {"id": group["id"], "version": found["version"]},
            "client_id": "1",
            "content": "aGVsbG8",
            "devices": found["digest"],
        },
        headers=anna.headers,
    )
    assert answer.status_code == 202
