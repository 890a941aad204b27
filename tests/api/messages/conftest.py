"""Two people who write to each other, and what they do."""

import base64
from itertools import count
from types import SimpleNamespace

import pytest

from tests.conftest import problem_code

ANNA, BEN = "+4915112345601", "+4915112345602"
NOBODY = "00000000-0000-4000-8000-000000000000"
DAY = 86_400


def encode(content: bytes) -> str:
    """Write bytes as the wire does."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def pointers(response):
    """Give the fields that were refused."""
    assert (response.status_code, problem_code(response)) == (422, "invalid-fields")
    return [fault["pointer"] for fault in response.json["errors"]]


def numbers(page):
    """Give the seq of each message of a page."""
    return [message["seq"] for message in page["messages"]]


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


@pytest.fixture
def upload(client):
    """Upload keys of a device; give the response."""

    def upload(device, body):
        return client.put("/v1/keys", json=body, headers=device.headers)

    return upload


@pytest.fixture
def take(client, anna):
    """Take keys of an account, as Anna; give the response."""

    def take(owner, taker=anna, **query):
        return client.get(f"/v1/keys/{owner.account_id}", query_string=query, headers=taker.headers)

    return take
