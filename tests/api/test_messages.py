"""Messages through HTTP: sent to every device or to none, fetched in order, acknowledged."""

import base64
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import count
from types import SimpleNamespace

import pytest

from messaging import service as messaging_service
from messaging.service import MessageService
from tests.conftest import problem_code

ANNA, BEN = "+4915112345601", "+4915112345602"
NOBODY = "00000000-0000-4000-8000-000000000000"
DAY = 86_400
#: Far longer than any test may take: a wait that ends was ended by what the test is about.
LONG = 60


def encode(content: bytes) -> str:
    """Write bytes as the wire does."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").deproblem_code()


def pointers(response):
    """Give the fields that were refused."""
    assert (response.status_code, problem_code(response)) == (422, "invalid-fields")
    return [fault["pointer"] for fault in response.json["errors"]]


@pytest.fixture
def anna(register):
    """The sender."""
    return register(ANNA)


@pytest.fixture
def ben(register):
    """The recipient."""
    return register(BEN)


@pytest.fixture
def link(client):
    """Link one more device to an account."""

    def link(owner):
        made = client.post("/v1/device-links", headers=owner.headers).json
        joined = client.post(
            "/v1/device-links/redeem", json={"link_code": made["link_code"], "device": {}}
        ).json
        headers = {"Authorization": f"Bearer {joined['device_token']}"}
        return SimpleNamespace(
            account_id=joined["account_id"], device_id=joined["device_id"], headers=headers
        )

    return link


@pytest.fixture
def send(client, anna):
    """Send a text from Anna to devices of an account; give the response."""
    numbers = count()

    def send(to, /, *devices, content=b"hello", sender=anna, **changes):
        body = {
            "to": to.account_id,
            "client_id": f"message-{next(numbers)}",
            "envelopes": [
                {"device_id": device.device_id, "content": encode(content)}
                for device in devices or (to,)
            ],
        } | changes
        return client.post("/v1/messages", json=body, headers=sender.headers)

    return send


@pytest.fixture
def fetch(client):
    """Fetch the messages of a device."""

    def fetch(device, **query):
        response = client.get("/v1/messages", query_string=query, headers=device.headers)
        assert response.status_code == 200
        return response.json

    return fetch


@pytest.fixture
def acknowledge(client):
    """Acknowledge messages of a device; give the response."""

    def acknowledge(device, through):
        return client.post("/v1/messages/ack", json={"through": through}, headers=device.headers)

    return acknowledge


def numbers(page):
    """Give the seq of each message of a page."""
    return [message["seq"] for message in page["messages"]]


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
            }
        ],
        "more": False,
    }
    assert datetime.fromisoformat(sent.json["accepted_at"]).utcoffset().total_seconds() == 0
    assert acknowledge(ben, 1).status_code == 204
    assert fetch(ben) == {"messages": [], "more": False}


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
    app.extensions["kith"].clock.advance(60)
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
    kith.clock.advance(DAY - 1)
    kith.maintenance.run()
    assert send(ben, client_id="1").status_code == 202
    assert numbers(fetch(ben)) == [1]
    kith.clock.advance(2)
    kith.maintenance.run()
    assert send(ben, client_id="1").status_code == 202
    assert numbers(fetch(ben)) == [1, 2]


@pytest.mark.parametrize(("life", "default"), [(60, False), (30 * DAY, True)])
def test_a_message_expires(app, ben, send, fetch, life, default):
    """After its time a message is not delivered any more: 30 days when none was named."""
    send(ben, **({} if default else {"expires_in": life}))
    app.extensions["kith"].clock.advance(life - 1)
    assert numbers(fetch(ben)) == [1]
    app.extensions["kith"].clock.advance(1)
    assert fetch(ben) == {"messages": [], "more": False}


def test_an_expired_message_leaves_the_others_in_order(app, ben, send, fetch, acknowledge):
    """A gap in the numbers is no reason to stop, before and after it is cleaned up."""
    kith = app.extensions["kith"]
    send(ben)
    send(ben, expires_in=60)
    send(ben)
    kith.clock.advance(60)
    assert numbers(fetch(ben)) == [1, 3]
    assert kith.maintenance.run()["envelopes"] == 1
    assert numbers(fetch(ben)) == [1, 3]
    assert acknowledge(ben, 2).status_code == 204
    assert numbers(fetch(ben)) == [3]


def test_a_full_mailbox_refuses_for_all_devices(app, ben, link, send, fetch, monkeypatch):
    """If one device has no room, nothing is stored for any, and the sender is told to wait."""
    monkeypatch.setattr(app.extensions["kith"].messages, "_max_mailbox_messages", 2)
    send(ben)
    send(ben)
    second = link(ben)
    response = send(ben, ben, second, client_id="1")
    assert (response.status_code, problem_code(response)) == (429, "mailbox-full")
    assert response.headers["Retry-After"] == str(response.json["retry_after"])
    assert numbers(fetch(ben)) == [1, 2]
    assert fetch(second)["messages"] == []


def test_an_acknowledgement_makes_room(app, ben, send, fetch, acknowledge, monkeypatch):
    """The bound is on what waits, not on what ever came; the refused message may come again."""
    monkeypatch.setattr(app.extensions["kith"].messages, "_max_mailbox_messages", 2)
    for _ in range(3):
        send(ben)
    acknowledge(ben, 1)
    assert send(ben, client_id="1").status_code == 202
    assert send(ben).status_code == 429
    assert numbers(fetch(ben)) == [2, 3]


def test_expiry_makes_room(app, ben, send, fetch, monkeypatch):
    """Expired messages count no more once cleaned up, though an older one still waits."""
    kith = app.extensions["kith"]
    monkeypatch.setattr(kith.messages, "_max_mailbox_messages", 2)
    send(ben)
    send(ben, expires_in=60)
    kith.clock.advance(60)
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


def test_an_acknowledgement_is_a_number(ben, acknowledge):
    """Anything else is refused by its field."""
    for through in (-1, 2**63, 10**400, "1", 1.5, True, None):
        assert pointers(acknowledge(ben, through)) == ["/through"], through


def test_contents_are_bounded(ben, send):
    """The setting bounds a ciphertext in bytes before encoding."""
    assert send(ben, content=bytes(1)).status_code == 202
    assert send(ben, content=bytes(65_536)).status_code == 202
    assert pointers(send(ben, content=bytes(65_537))) == ["/envelopes/0/content"]


def test_a_content_that_is_not_base64url_is_refused(ben, send, fetch):
    """The refusal names the field and nothing is stored."""
    for content in (
        "",
        "A",
        "AA==",
        "A+/A",
        "AB",
        "AAB",
        "AAAAA",
        "AAAA\n",
        "\0" * 4,
        "é",
        7,
        None,
    ):
        envelope = {"device_id": ben.device_id, "content": content}
        assert pointers(send(ben, envelopes=[envelope])) == ["/envelopes/0/content"], content
    assert fetch(ben)["messages"] == []


def test_a_device_has_one_envelope(ben, send, fetch):
    """The same device twice is refused, however its id is written."""
    shouting = SimpleNamespace(device_id=ben.device_id.upper())
    assert pointers(send(ben, ben, shouting)) == ["/envelopes/1/device_id"]
    assert fetch(ben)["messages"] == []


ENVELOPE = {"device_id": NOBODY, "content": "AAAA"}


WRONG_FIELDS = [
    ({"to": "ben"}, "/to"),
    ({"to": 1}, "/to"),
    ({"to": "\0"}, "/to"),
    ({"client_id": ""}, "/client_id"),
    ({"client_id": "x" * 65}, "/client_id"),
    ({"client_id": "x" * 1_000_000}, "/client_id"),
    ({"client_id": "a\0b"}, "/client_id"),
    ({"client_id": "a b"}, "/client_id"),
    ({"client_id": 1}, "/client_id"),
    ({"envelopes": []}, "/envelopes"),
    ({"envelopes": {}}, "/envelopes"),
    ({"envelopes": [ENVELOPE] * 101}, "/envelopes"),
    ({"envelopes": [7]}, "/envelopes/0"),
    ({"envelopes": [ENVELOPE | {"device_id": "x"}]}, "/envelopes/0/device_id"),
    ({"envelopes": [ENVELOPE | {"registration_id": 1}]}, "/envelopes/0/registration_id"),
    ({"expires_in": 0}, "/expires_in"),
    ({"expires_in": -1}, "/expires_in"),
    ({"expires_in": 30 * DAY + 1}, "/expires_in"),
    ({"expires_in": "60"}, "/expires_in"),
    ({"expires_in": True}, "/expires_in"),
    ({"expires_in": None}, "/expires_in"),
    ({"urgent": True}, "/urgent"),
]


def test_wrong_and_unknown_fields_are_refused(ben, send, fetch):
    """Types and bounds are strict, and nothing is stored."""
    for changes, pointer in WRONG_FIELDS:
        assert pointers(send(ben, **changes)) == [pointer]
    assert fetch(ben)["messages"] == []


WRONG_QUERIES = [
    ("limit=-1", "?/limit"),
    ("limit=0", "?/limit"),
    ("limit=101", "?/limit"),
    ("limit=many", "?/limit"),
    ("limit=", "?/limit"),
    ("limit=1&limit=2", "?/limit"),
    ("wait=-1", "?/wait"),
    ("wait=61", "?/wait"),
    ("wait=1.5", "?/wait"),
    ("after=1", "?/after"),
]


def test_wrong_and_unknown_parameters_are_refused(client, ben):
    """A page and a wait have bounds, and nothing is ignored silently."""
    for query, pointer in WRONG_QUERIES:
        response = client.get(f"/v1/messages?{query}", headers=ben.headers)
        assert pointers(response) == [pointer], query


WRONG_BODIES = [
    (b"{", "application/json", 400, "malformed-request"),
    (b"[" * 10_000 + b"]" * 10_000, "application/json", 400, "malformed-request"),
    (b"{}", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
    (b" " * 2_000_000, "application/json", 413, "body-too-large"),
]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/ack"])
def test_a_body_that_is_none_is_refused(client, anna, path):
    """Whatever comes instead of JSON gets a problem document."""
    for body, content_type, status, code in WRONG_BODIES:
        response = client.post(path, data=body, content_type=content_type, headers=anna.headers)
        assert (response.status_code, problem_code(response)) == (status, code)


def test_messages_need_a_device_token(client):
    """Nothing here is open to strangers."""
    for method, path in (
        ("POST", "/v1/messages"),
        ("GET", "/v1/messages"),
        ("POST", "/v1/messages/ack"),
    ):
        response = client.open(path, method=method, json={})
        assert (response.status_code, problem_code(response)) == (401, "token-missing")


def test_a_removed_device_gets_nothing_more(client, ben, link, send):
    """Its token is refused, whatever waited for it."""
    second = link(ben)
    send(ben, ben, second)
    client.delete(f"/v1/devices/{second.device_id}", headers=ben.headers)
    response = client.get("/v1/messages", headers=second.headers)
    assert (response.status_code, problem_code(response)) == (401, "token-invalid")


def test_a_wait_ends_empty(ben, fetch):
    """When nothing comes the answer is an empty page."""
    assert fetch(ben, wait=1) == {"messages": [], "more": False}


def test_a_wait_is_not_needed_when_something_is_there(ben, send, fetch):
    """What already waits is answered at once."""
    send(ben)
    assert numbers(fetch(ben, wait=LONG)) == [1]


@pytest.fixture
def waiting(app, monkeypatch):
    """Start a fetch in a thread, come back once it has looked in vain; give its future answer."""
    looked = threading.Event()
    look = MessageService._look

    def tell(*arguments):
        found = look(*arguments)
        looked.set()
        return found

    monkeypatch.setattr(MessageService, "_look", tell)

    def fetch(device):
        path = f"/v1/messages?wait={LONG}"
        return app.test_client().get(path, headers=device.headers).json

    with ThreadPoolExecutor() as threads:

        def start(device):
            looked.clear()
            answer = threads.submit(fetch, device)
            assert looked.wait(LONG)
            return answer

        yield start


def test_a_wait_ends_with_a_message(ben, send, waiting, monkeypatch):
    """The wake-up alone ends the wait, without the slow poll."""
    monkeypatch.setattr(messaging_service, "SLOW_POLL", LONG)
    answer = waiting(ben)
    send(ben)
    assert numbers(answer.result(LONG / 2)) == [1]


def test_a_wait_ends_with_a_message_of_another_process(app, ben, send, waiting, monkeypatch):
    """What is stored where no wake-up reaches us from is found by the slow poll."""
    monkeypatch.setattr(messaging_service, "SLOW_POLL", 0.05)
    kith = app.extensions["kith"]
    elsewhere = MessageService(kith.database, kith.clock, os.urandom, kith.metrics, kith.settings)
    monkeypatch.setattr(kith.messages, "send", elsewhere.send)
    answer = waiting(ben)
    send(ben)
    assert numbers(answer.result(LONG / 2)) == [1]


def test_a_newer_wait_ends_the_older(ben, send, waiting, monkeypatch):
    """One device holds one waiting request; the one before answers with what there is."""
    monkeypatch.setattr(messaging_service, "SLOW_POLL", LONG)
    older = waiting(ben)
    newer = waiting(ben)
    assert older.result(LONG / 2) == {"messages": [], "more": False}
    send(ben)
    assert numbers(newer.result(LONG / 2)) == [1]


def test_who_waits_holds_no_connection(app, ben, send, waiting, monkeypatch):
    """Thousands may wait on a pool of a few connections."""
    monkeypatch.setattr(messaging_service, "SLOW_POLL", LONG)
    answer = waiting(ben)
    assert app.extensions["kith"].database.engine.pool.checkedout() == 0
    send(ben)
    assert numbers(answer.result(LONG / 2)) == [1]


def test_envelopes_are_counted(app, ben, send, fetch, acknowledge):
    """The metrics tell what was stored, acknowledged and expired."""
    kith = app.extensions["kith"]
    send(ben)
    send(ben, expires_in=60)
    acknowledge(ben, 1)
    acknowledge(ben, 1)
    kith.clock.advance(60)
    kith.maintenance.run()
    metrics = kith.metrics.render().deproblem_code()
    assert 'kith_envelopes_total{step="stored"} 2.0' in metrics
    assert 'kith_envelopes_total{step="acknowledged"} 1.0' in metrics
    assert 'kith_envelopes_total{step="expired"} 1.0' in metrics
