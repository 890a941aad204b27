"""Writing to each other: requests, blocks and limits, as those who write and read see them."""

from itertools import count

import pytest
from sqlalchemy import func, select

from messaging.contacts.models import Contact
from tests.conftest import problem_code


@pytest.fixture
def write(client):
    """Write from a person to another one; give the response."""
    numbers = count()

    def write(sender, recipient, **changes):
        body = {
            "to": recipient.account_id,
            "client_id": f"message-{next(numbers)}",
            "envelopes": [{"device_id": recipient.device_id, "content": "AAAA"}],
        } | changes
        return client.post("/v1/messages", json=body, headers=sender.headers)

    return write


@pytest.fixture
def inbox(client):
    """Fetch what waits for a person: whether each message is a request."""

    def inbox(person):
        page = client.get("/v1/messages", headers=person.headers).json
        return [message["request"] for message in page["messages"]]

    return inbox


def shape(response):
    """Give all of an answer but the id of the message and the request, and the time."""
    body = {name: len(str(value)) for name, value in response.json.items()}
    headers = [(name, value) for name, value in response.headers if name != "X-Request-Id"]
    return response.status_code, body, headers


def test_a_first_message_is_a_request_and_an_answer_is_not(write, inbox, anna, ben):
    """After the answer they are in touch, and what came before stays a request."""
    write(anna, ben)
    write(ben, anna)
    write(anna, ben)
    assert (inbox(ben), inbox(anna)) == ([True, False], [False])


def test_accepting_a_stranger(put, write, inbox, anna, ben):
    """What she writes from then on is no request."""
    put(ben, anna.account_id, "accepted")
    write(anna, ben)
    assert inbox(ben) == [False]


@pytest.mark.parametrize("met", [False, True])
def test_a_blocked_sender_learns_nothing(put, write, inbox, anna, ben, register, met):
    """Her answers are those of anybody else, but for ids and times; nothing arrives."""
    cleo = register("+4915112345603")
    if met:
        for sender in (anna, cleo):
            put(ben, sender.account_id, "accepted")
    put(ben, anna.account_id, "blocked")
    for changes in (
        {},
        {"client_id": "again"},
        {"client_id": "again"},
        {"client_id": "again", "expires_in": 60},
        {"envelopes": [{"device_id": anna.device_id, "content": "AAAA"}]},
    ):
        blocked, free = (write(sender, ben, **changes) for sender in (anna, cleo))
        assert shape(blocked) == shape(free)
    assert inbox(ben) == [not met] * 2


def test_a_block_can_be_lifted(put, forget, write, inbox, anna, ben):
    """What was dropped meanwhile never comes; after forgetting they are strangers again."""
    write(anna, ben)
    put(ben, anna.account_id, "blocked")
    write(anna, ben)
    put(ben, anna.account_id, "accepted")
    write(anna, ben)
    forget(ben, anna.account_id)
    write(anna, ben)
    assert inbox(ben) == [True, False, True]


def test_nobody_writes_to_whom_she_has_blocked(put, write, inbox, anna, ben):
    """She is told, and may send the same message again once she has lifted it."""
    put(anna, ben.account_id, "blocked")
    response = write(anna, ben, client_id="1")
    assert (response.status_code, problem_code(response)) == (409, "recipient-blocked")
    put(anna, ben.account_id, "accepted")
    assert write(anna, ben, client_id="1").status_code == 202
    assert inbox(ben) == [True]


def test_a_stranger_is_told_when_she_may_write_again(write, inbox, anna, ben):
    """The refusal says which limit it was and when, and the same message goes through then."""
    for _ in range(20):
        assert write(anna, ben).status_code == 202
    response = write(anna, ben, client_id="last")
    assert (response.status_code, problem_code(response)) == (429, "message-rate-limited")
    assert response.headers["RateLimit-Policy"] == '"messages-to-new-recipient";q=20;w=86400'
    assert response.headers["Retry-After"] == str(response.json["retry_after"]) == "86400"
    write(ben, anna)
    assert write(anna, ben, client_id="last").status_code == 202
    assert inbox(ben) == [True] * 20 + [False]


def test_a_message_that_is_refused_puts_nobody_in_touch(app, write, anna, ben):
    """Neither for an account that is not there, nor for devices that are not the recipient's."""
    nobody = "00000000-0000-4000-8000-000000000000"
    assert write(anna, ben, to=nobody).status_code == 404
    envelopes = [{"device_id": anna.device_id, "content": "AAAA"}]
    assert write(anna, ben, envelopes=envelopes).status_code == 409
    with app.extensions["kith"].runtime.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(Contact)) == 0
