"""What bad input to messages gets: a clear refusal and nothing left behind."""

from types import SimpleNamespace

import pytest

from tests.api.messages.conftest import DAY, NOBODY, pointers
from tests.conftest import problem_code


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
GROUP = {"id": NOBODY, "version": 1}


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
    ({"envelopes": [7]}, "/envelopes/0"),
    ({"envelopes": [ENVELOPE | {"device_id": "x"}]}, "/envelopes/0/device_id"),
    ({"envelopes": [ENVELOPE | {"registration_id": 0}]}, "/envelopes/0/registration_id"),
    ({"envelopes": [ENVELOPE | {"registration_id": 2**31}]}, "/envelopes/0/registration_id"),
    ({"envelopes": [ENVELOPE | {"key": 1}]}, "/envelopes/0/key"),
    ({"envelopes": None}, ""),
    ({"to": None}, ""),
    ({"group": GROUP}, ""),
    ({"to": None, "group": GROUP | {"version": 0}}, "/group/version"),
    ({"to": None, "group": GROUP | {"id": "x"}}, "/group/id"),
    ({"devices": "A" * 42}, "/devices"),
    ({"expires_in": 0}, "/expires_in"),
    ({"expires_in": -1}, "/expires_in"),
    ({"expires_in": 30 * DAY + 1}, "/expires_in"),
    ({"expires_in": "60"}, "/expires_in"),
    ({"expires_in": True}, "/expires_in"),
    ({"expires_in": None}, "/expires_in"),
    ({"urgent": 1}, "/urgent"),
    ({"urgently": True}, "/urgently"),
]


def test_wrong_and_unknown_fields_are_refused(ben, send, fetch):
    """Types and bounds are strict, and nothing is stored."""
    for changes, pointer in WRONG_FIELDS:
        assert pointers(send(ben, **changes)) == [pointer]
    assert fetch(ben)["messages"] == []


def test_one_content_is_for_groups(client, anna, ben):
    """It comes in place of envelopes, with the devices it is for, and never to an account."""
    shared = {"client_id": "1", "content": "AAAA", "devices": "A" * 43}
    for changes in (
        {"to": ben.account_id},
        {"group": GROUP, "devices": None},
        {"group": GROUP, "content": None},
        {"group": GROUP, "envelopes": [ENVELOPE]},
    ):
        response = client.post("/v1/messages", json=shared | changes, headers=anna.headers)
        assert pointers(response) == [""]
    response = client.post("/v1/messages", json=shared | {"group": GROUP}, headers=anna.headers)
    assert (response.status_code, problem_code(response)) == (404, "group-not-found")


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
