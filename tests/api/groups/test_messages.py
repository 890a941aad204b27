"""Messages to groups: for exactly the devices of who is in them now."""

import base64
import hashlib
from itertools import count
from uuid import UUID

import pytest

from core.database import table
from messaging.keys.models import DeviceKeys
from messaging.mailbox.models import Payload
from tests.conftest import problem_code
from tests.people import add_device, put_in_touch, settle


def encode(content):
    """Write bytes as the wire does."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.fixture
def group(people, make):
    """Anna's group with Ben and Cleo, and Dora invited."""
    return make(*people)


@pytest.fixture
def publish(kith):
    """Publish keys of a device under a registration id."""

    def publish(who, registration_id):
        with kith.runtime.database.write() as connection:
            connection.execute(
                table(DeviceKeys).insert(),
                {
                    "account_id": UUID(who.account_id),
                    "device_id": UUID(who.device_id),
                    "registration_id": registration_id,
                    "identity_key": b"i" * 32,
                    "signed_prekey_id": 1,
                    "signed_prekey": b"p" * 32,
                    "signed_prekey_signature": b"s" * 64,
                    "updated_at": kith.runtime.clock(),
                },
            )

    return publish


@pytest.fixture
def devices(call, group):
    """Fetch the devices of the group that somebody encrypts for."""

    def devices(who):
        response = call(who, "GET", f"/{group['id']}/devices")
        assert response.status_code == 200, response.text
        return response.json

    return devices


@pytest.fixture
def send(client, group):
    """Send a message to the group; give the response."""
    numbers = count()

    def send(who, version=1, **fields):
        body = {
            "group": {"id": group["id"], "version": version},
            "client_id": f"message-{next(numbers)}",
        }
        return client.post("/v1/messages", json=body | fields, headers=who.headers)

    return send


@pytest.fixture
def fetch(client):
    """Fetch the messages of a device."""

    def fetch(who):
        return client.get("/v1/messages", headers=who.headers).json["messages"]

    return fetch


def envelopes(*devices, content=b"hello"):
    """Write an envelope for each device."""
    return [{"device_id": one.device_id, "content": encode(content)} for one in devices]


def shared(found, content=b"hello"):
    """Write one content for all devices that were found."""
    return {"content": encode(content), "devices": found["digest"]}


def test_devices_of_a_group(kith, people, devices, publish):
    """All of joined members but the calling one, with what they published, and the digest over them."""
    anna, ben, cleo, _ = people
    second = add_device(kith, UUID(anna.account_id))
    publish(ben, 7)
    found = devices(anna)
    ids = {UUID(ben.device_id): 7, UUID(cleo.device_id): None, UUID(second.device_id): None}
    assert {UUID(one["device_id"]): one["registration_id"] for one in found["devices"]} == ids
    assert {one["account_id"] for one in found["devices"]} == {
        who.account_id for who in (anna, ben, cleo)
    }
    written = b"".join(device.bytes + (ids[device] or 0).to_bytes(4) for device in sorted(ids))
    assert (found["version"], found["digest"]) == (1, encode(hashlib.sha256(written).digest()))


def test_who_was_invited_cannot_ask_for_devices(people, call, group):
    """She is told to accept first."""
    refused = call(people[3], "GET", f"/{group['id']}/devices")
    assert (refused.status_code, problem_code(refused)) == (403, "not-joined")


def test_one_content_reaches_every_member_once(kith, people, group, devices, send, fetch):
    """It is stored once, and each device of a joined member gets it; who is only invited does not."""
    anna, ben, cleo, dora = people
    sent = send(anna, **shared(devices(anna), b"to all"))
    assert sent.status_code == 202, sent.text
    for who in (ben, cleo):
        (message,) = fetch(who)
        assert message["group"] == {"id": group["id"], "version": 1}
        assert (message["content"], message["id"]) == (encode(b"to all"), sent.json["id"])
        assert (message["from_account_id"], message["request"]) == (anna.account_id, False)
    assert fetch(anna) == fetch(dora) == []
    with kith.runtime.database.read() as connection:
        payloads = connection.execute(table(Payload).select()).all()
    assert [(row.content, row.waiting) for row in payloads] == [(b"to all", 2)]


def test_an_envelope_for_each_device(people, send, fetch):
    """Each gets its own."""
    anna, ben, cleo, _ = people
    both = envelopes(ben, content=b"b") + envelopes(cleo, content=b"c")
    assert send(anna, envelopes=both).status_code == 202
    assert [fetch(who)[0]["content"] for who in (ben, cleo)] == [encode(b"b"), encode(b"c")]


def test_a_list_that_is_not_exact_is_refused(people, send, fetch, publish):
    """Who was left out, does not belong, or has other keys is named, and nothing is stored."""
    anna, ben, cleo, dora = people
    publish(ben, 7)
    sealed = envelopes(ben, dora)
    sealed[0]["registration_id"] = 6
    refused = send(anna, envelopes=sealed)
    assert (refused.status_code, problem_code(refused)) == (409, "devices-mismatched")
    assert [refused.json[name] for name in ("missing", "extra", "stale")] == [
        [cleo.device_id],
        [dora.device_id],
        [ben.device_id],
    ]
    assert fetch(ben) == []


def test_a_digest_of_other_devices_is_refused(kith, people, devices, send, fetch, publish):
    """A new device or new keys since make it another one; fetched again it fits."""
    anna, ben, *_ = people
    found = devices(anna)
    for happens in (lambda: add_device(kith, UUID(ben.account_id)), lambda: publish(ben, 7)):
        happens()
        refused = send(anna, **shared(found))
        assert (refused.status_code, problem_code(refused)) == (409, "devices-mismatched")
        assert not {"missing", "extra", "stale"} & refused.json.keys()
        found = devices(anna)
    assert fetch(ben) == []
    assert send(anna, **shared(found)).status_code == 202


def test_another_version_is_refused(people, send, call, devices, group):
    """The sender is told the current one, whether hers is older or was never there."""
    anna, *_ = people
    call(anna, "PATCH", f"/{group['id']}", {"version": 1, "name": "Friends"})
    for version in (1, 3):
        refused = send(anna, version, **shared(devices(anna)))
        assert (refused.status_code, problem_code(refused)) == (409, "group-changed")
        assert refused.json["version"] == 2


def test_a_removed_member_receives_nothing_more(people, send, call, devices, fetch, group):
    """What was sent before is hers; what is sent after is not, and she sends nothing."""
    anna, ben, cleo, _ = people
    send(anna, **shared(devices(anna), b"before"))
    found = devices(anna)
    path = f"/{group['id']}/members/{ben.account_id}"
    assert call(anna, "DELETE", path, query_string={"version": 1}).status_code == 200
    assert problem_code(send(anna, 1, **shared(found, b"stale"))) == "group-changed"
    assert problem_code(send(anna, 2, **shared(found, b"stale"))) == "devices-mismatched"
    assert send(anna, 2, **shared(devices(anna), b"after")).status_code == 202
    assert [message["content"] for message in fetch(ben)] == [encode(b"before")]
    assert [message["content"] for message in fetch(cleo)] == [encode(b"before"), encode(b"after")]
    refused = send(ben, 2, envelopes=envelopes(anna, cleo))
    assert (refused.status_code, problem_code(refused)) == (404, "group-not-found")


def test_who_joins_later_gets_what_is_sent_then(people, send, call, devices, fetch, group):
    """Nothing of before; and from then on she may send."""
    anna, *_, dora = people
    send(anna, **shared(devices(anna), b"before"))
    assert problem_code(send(dora, envelopes=envelopes(anna))) == "group-not-found"
    call(dora, "PUT", f"/{group['id']}/membership", {})
    assert send(anna, 2, **shared(devices(anna), b"after")).status_code == 202
    assert [message["content"] for message in fetch(dora)] == [encode(b"after")]
    assert send(dora, 2, **shared(devices(dora), b"hello")).status_code == 202


def test_strangers_cannot_send(kith, send, people):
    """Neither to this group, nor to one that is not there, which they cannot tell apart."""
    (stranger,) = settle(kith, 1)
    refused = send(stranger, envelopes=envelopes(*people[:3]))
    assert (refused.status_code, problem_code(refused)) == (404, "group-not-found")


def test_1024_members_get_a_message_once(kith, make, call, client):
    """Of a full group each device but the sending one has the message, and the content is stored once."""
    anna, *others = settle(kith, 1024)
    put_in_touch(kith, others, anna)
    group = make(anna, *others)
    found = call(anna, "GET", f"/{group['id']}/devices").json
    body = {"group": {"id": group["id"], "version": 1}, "client_id": "all", **shared(found)}
    for _ in range(2):
        assert client.post("/v1/messages", json=body, headers=anna.headers).status_code == 202
    with kith.runtime.database.read() as connection:
        waiting = connection.exec_driver_sql(
            "SELECT count(*), count(DISTINCT device_id), count(content) FROM envelopes"
        ).one()
    assert tuple(waiting) == (1023, 1023, 0)


def test_a_full_mailbox_misses_what_others_get(client, people, send, fetch, bound):
    """Nobody can keep a group from writing: whose device has no room is told that something is missing."""
    bound(max_messages=4)
    anna, ben, cleo, _ = people
    for _ in range(4):
        assert send(anna, envelopes=envelopes(ben, cleo)).status_code == 202
        seqs = [message["seq"] for message in fetch(ben)]
        if seqs:
            client.post("/v1/messages/ack", json={"through": seqs[-1]}, headers=ben.headers)
    assert [message["seq"] for message in fetch(cleo)] == [1, 2]
    page = client.get("/v1/messages", headers=cleo.headers).json
    assert page["missed"]["through"] == 4
    assert client.get("/v1/messages", headers=ben.headers).json["missed"] is None
    client.post("/v1/messages/ack", json={"through": 2}, headers=cleo.headers)
    assert send(anna, envelopes=envelopes(ben, cleo)).status_code == 202
    page = client.get("/v1/messages", headers=cleo.headers).json
    assert [message["seq"] for message in page["messages"]] == [5]
    assert page["missed"] is not None
    client.post("/v1/messages/ack", json={"through": 5}, headers=cleo.headers)
    assert client.get("/v1/messages", headers=cleo.headers).json["missed"] is None


def test_a_full_mailbox_misses_shared_content(client, people, devices, send, fetch, bound):
    """What is stored once for all counts only those who have it, and goes with the last of them."""
    bound(max_messages=2)
    anna, ben, cleo, _ = people
    found = devices(anna)
    assert send(anna, **shared(found)).status_code == 202
    client.post("/v1/messages/ack", json={"through": 1}, headers=ben.headers)
    assert send(anna, **shared(found)).status_code == 202
    assert [message["seq"] for message in fetch(cleo)] == [1]
    assert [message["seq"] for message in fetch(ben)] == [2]


def test_groups_fill_half_together(client, kith, people, make, bound, fetch):
    """However many members write: who is written to directly still has room for that."""
    bound(max_messages=20)
    anna, ben, cleo, _ = people
    first, second = settle(kith, 2)
    put_in_touch(kith, [first, second], anna)
    group = make(anna, ben, first, second)
    numbers = count()

    def write(who, **to):
        body = {"client_id": str(next(numbers)), **to}
        return client.post("/v1/messages", json=body, headers=who.headers).status_code

    for sender, others in ((first, (anna, ben, second)), (second, (anna, ben, first))):
        for _ in range(8):
            to_group = {"group": {"id": group["id"], "version": 1}, "envelopes": envelopes(*others)}
            assert write(sender, **to_group) == 202
    assert len(fetch(ben)) == 10
    assert client.get("/v1/messages", headers=ben.headers).json["missed"] is not None
    put_in_touch(kith, [ben], cleo)
    direct = {"to": ben.account_id, "envelopes": envelopes(ben)}
    assert [write(cleo, **direct) for _ in range(11)] == [202] * 10 + [429]
    # What is acknowledged makes room for groups again.
    client.post("/v1/messages/ack", json={"through": 4}, headers=ben.headers)
    to_group = {
        "group": {"id": group["id"], "version": 1},
        "envelopes": envelopes(anna, ben, first),
    }
    assert write(second, **to_group) == 202
    assert len(fetch(ben)) == 17
