"""A device whose token was stolen: its tokens end, its mail stays, and its identity key brings it back."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import func, select

from core.base64url import encode
from messaging.mailbox.models import Envelope, Mailbox
from tests.conftest import KEY, NUMBER, OTHER_NUMBER, Clock, Person, problem_code
from tests.contract.openapi import ContractClient
from tests.device_keys import DeviceKeys
from tokens.models import Device, RetiredToken

Register = Callable[..., Person]
Verify = Callable[..., str]
PIN = "lockpin"


def send_message(client: ContractClient, sender: Person, recipient: Person) -> Any:
    """Send a message to the one device of somebody."""
    envelope = {"device_id": recipient.device_id, "content": encode(b"sealed")}
    body = {"client_id": uuid4().hex, "to": recipient.account_id, "envelopes": [envelope]}
    return client.post("/v1/messages", json=body, headers=sender.headers)


@pytest.fixture
def keys() -> DeviceKeys:
    """The keys of the device that is stolen from."""
    return DeviceKeys()


@pytest.fixture
def owner(client: ContractClient, register: Register, keys: DeviceKeys) -> Person:
    """Someone whose device has published keys, and has one message waiting."""
    owner, sender = register(NUMBER), register(OTHER_NUMBER)
    assert client.put("/v1/keys", json=keys.first(), headers=owner.headers).status_code == 204
    assert send_message(client, sender, owner).status_code == 202
    return owner


@pytest.fixture
def stolen(client: ContractClient, owner: Person, clock: Clock) -> Person:
    """The same person after a token of theirs came back that had been replaced."""
    answer = client.post("/v1/tokens/rotate", headers=owner.headers)
    newer = {"Authorization": f"Bearer {answer.json['device_token']}"}
    assert client.get("/v1/account", headers=newer).status_code == 200
    clock.advance(61)
    assert problem_code(client.get("/v1/account", headers=owner.headers)) == "token-reused"
    assert problem_code(client.get("/v1/account", headers=newer)) == "token-invalid"
    return owner


def recovery(person: Person, keys: DeviceKeys, identity: str, prefix: bytes = b"\x03") -> Any:
    """Sign a verification's id as a returning device does."""
    signature = keys.identity.sign(prefix + identity.encode()).signature
    return {"device_id": person.device_id, "signature": encode(signature)}


def register_with(client: ContractClient, identity: str, **fields: Any) -> Any:
    """Ask for a registration."""
    return client.post("/v1/registrations", json={"verification_id": identity, **fields})


def bearer(answer: Any) -> dict[str, str]:
    """Build what authenticates a device that was just registered."""
    return {"Authorization": f"Bearer {answer.json['device_token']}"}


def waiting(client: ContractClient, headers: dict[str, str]) -> int:
    """Count the messages of a device."""
    answer = client.get("/v1/messages", headers=headers)
    assert answer.status_code == 200
    return len(answer.json["messages"])


def test_the_device_gets_its_mail_back(
    client: ContractClient, stolen: Person, keys: DeviceKeys, verify: Verify, clock: Clock
) -> None:
    """The same device id, the same mailbox, the same keys; only the token is new."""
    clock.advance(days=29)
    identity = verify()
    done = register_with(client, identity, recover_device=recovery(stolen, keys, identity))
    assert done.status_code == 201
    assert (done.json["account_id"], done.json["device_id"]) == (
        stolen.account_id,
        stolen.device_id,
    )
    assert waiting(client, bearer(done)) == 1
    counted = client.get("/v1/keys/count", headers=bearer(done))
    assert counted.status_code == 200
    # The tokens of before are refused, and harm the device no more.
    for _ in range(2):
        assert problem_code(client.get("/v1/account", headers=stolen.headers)) == "token-invalid"
    assert client.get("/v1/account", headers=bearer(done)).status_code == 200


def test_it_is_written_to_meanwhile(
    client: ContractClient, stolen: Person, register: Register, verify: Verify, keys: DeviceKeys
) -> None:
    """What is sent to a device without a valid token waits for it."""
    friend = register("+4915112345670")
    assert send_message(client, friend, stolen).status_code == 202
    identity = verify()
    done = register_with(client, identity, recover_device=recovery(stolen, keys, identity))
    assert waiting(client, bearer(done)) == 2


def test_any_other_registration_deletes_it(
    app: OpenAPI, client: ContractClient, stolen: Person, verify: Verify
) -> None:
    """Whoever has the number and not the key gets a new device and none of the mail."""
    done = register_with(client, verify())
    assert done.json["account_id"] == stolen.account_id
    assert done.json["device_id"] != stolen.device_id
    assert waiting(client, bearer(done)) == 0
    with app.extensions["kith"].runtime.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(Envelope)) == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda person, keys, identity: recovery(person, DeviceKeys(), identity),
        lambda person, keys, identity: recovery(person, keys, identity, b"\x01"),
        lambda person, keys, identity: recovery(person, keys, "A" * 43),
        lambda person, keys, identity: (
            recovery(person, keys, identity) | {"device_id": "00000000-0000-4000-8000-000000000000"}
        ),
    ],
)
def test_a_wrong_signature_changes_nothing(
    client: ContractClient, stolen: Person, keys: DeviceKeys, verify: Verify, spoil: Any
) -> None:
    """Another key, another mark, another id or another device: refused; the proof stays good."""
    identity = verify()
    refused = register_with(client, identity, recover_device=spoil(stolen, keys, identity))
    assert problem_code(refused) == "device-not-recoverable"
    done = register_with(client, identity, recover_device=recovery(stolen, keys, identity))
    assert waiting(client, bearer(done)) == 1


def test_a_device_of_another_account(
    client: ContractClient, stolen: Person, keys: DeviceKeys, verify: Verify
) -> None:
    """The key alone is nothing: only a registration of its own account gets the device."""
    identity = verify(OTHER_NUMBER)
    refused = register_with(client, identity, recover_device=recovery(stolen, keys, identity))
    assert problem_code(refused) == "device-not-recoverable"


def test_a_device_without_keys(client: ContractClient, register: Register, verify: Verify) -> None:
    """Who never published an identity key cannot return with it."""
    person, identity = register("+4915112345671"), verify("+4915112345671")
    fields = {"recover_device": recovery(person, DeviceKeys(), identity)}
    assert problem_code(register_with(client, identity, **fields)) == "device-not-recoverable"


def test_a_device_that_is_signed_in_keeps_its_mailbox_too(
    client: ContractClient, owner: Person, keys: DeviceKeys, verify: Verify
) -> None:
    """A registration again on the same device loses no message; its old token is void, without an alarm."""
    identity = verify()
    fields = {"recover_device": recovery(owner, keys, identity)}
    done = register_with(client, identity, **fields)
    assert done.json["device_id"] == owner.device_id
    assert waiting(client, bearer(done)) == 1
    assert problem_code(client.get("/v1/account", headers=owner.headers)) == "token-invalid"
    assert client.get("/v1/account", headers=bearer(done)).status_code == 200


def test_a_repeated_recovery_gets_the_same_token(
    client: ContractClient, stolen: Person, keys: DeviceKeys, verify: Verify
) -> None:
    """With an idempotency key, as any registration."""
    identity = verify()
    body = {
        "verification_id": identity,
        "recover_device": recovery(stolen, keys, identity),
    }
    answers = [
        client.post("/v1/registrations", json=body, headers={"Idempotency-Key": KEY})
        for _ in range(2)
    ]
    assert answers[0].status_code == 201
    assert answers[0].json == answers[1].json


def test_the_lock_is_asked_for_as_well(
    client: ContractClient, owner: Person, keys: DeviceKeys, verify: Verify
) -> None:
    """The key does not open the registration lock."""
    client.put("/v1/account/registration-lock", json={"pin": PIN}, headers=owner.headers)
    identity = verify()
    fields: dict[str, Any] = {"recover_device": recovery(owner, keys, identity)}
    assert problem_code(register_with(client, identity, **fields)) == "registration-locked"
    done = register_with(client, identity, registration_lock_pin=PIN, **fields)
    assert done.json["device_id"] == owner.device_id


def test_the_other_devices_are_signed_out(
    client: ContractClient, stolen: Person, keys: DeviceKeys, verify: Verify
) -> None:
    """Only the device that returns is left, whatever a thief had linked."""
    identity = verify()
    done = register_with(client, identity, recover_device=recovery(stolen, keys, identity))
    devices = client.get("/v1/devices", headers=bearer(done)).json["devices"]
    assert [device["id"] for device in devices] == [stolen.device_id]
    assert devices[0]["token_revoked_at"] is None


def test_it_is_told_what_it_missed(
    client: ContractClient, owner: Person, keys: DeviceKeys, verify: Verify, clock: Clock
) -> None:
    """Unseen for 30 days beside another device it was left out, and hears of that when it returns."""
    code = client.post("/v1/device-links", headers=owner.headers).json["link_code"]
    laptop = client.post("/v1/device-links/redeem", json={"link_code": code})
    clock.advance(days=31)
    assert client.get("/v1/account", headers=bearer(laptop)).status_code == 200
    identity = verify()
    done = register_with(client, identity, recover_device=recovery(owner, keys, identity))
    assert done.json["device_id"] == owner.device_id
    missed = client.get("/v1/messages", headers=bearer(done)).json["missed"]
    assert missed["since"] == "2026-03-31T12:00:00Z"


def test_it_is_deleted_after_thirty_days(
    app: OpenAPI,
    client: ContractClient,
    stolen: Person,
    keys: DeviceKeys,
    verify: Verify,
    clock: Clock,
) -> None:
    """Its tokens being presented meanwhile do not prolong that."""
    kith = app.extensions["kith"]
    clock.advance(days=20)
    assert problem_code(client.get("/v1/account", headers=stolen.headers)) == "token-invalid"
    clock.advance(days=9)
    assert kith.maintenance.run()["revoked devices"] == 0
    clock.advance(days=1, seconds=1)
    assert kith.maintenance.run()["revoked devices"] == 1
    with kith.runtime.database.read() as connection:
        gone = str(stolen.device_id).replace("-", "")
        for model, column in ((Device, Device.id), (Mailbox, Mailbox.device_id)):
            ids = {one.hex for one in connection.scalars(select(column).select_from(model))}
            assert gone not in ids
        assert connection.scalar(select(func.count()).select_from(RetiredToken)) == 0
    identity = verify()
    refused = register_with(client, identity, recover_device=recovery(stolen, keys, identity))
    assert problem_code(refused) == "device-not-recoverable"


def test_the_other_devices_see_it(
    client: ContractClient, register: Register, owner: Person, clock: Clock
) -> None:
    """The list says since when a device is signed out; removing it deletes it at once."""
    code = client.post("/v1/device-links", headers=owner.headers).json["link_code"]
    linked = client.post("/v1/device-links/redeem", json={"link_code": code})
    newer = client.post("/v1/tokens/rotate", headers=owner.headers).json["device_token"]
    client.get("/v1/account", headers={"Authorization": f"Bearer {newer}"})
    clock.advance(61)
    client.get("/v1/account", headers=owner.headers)
    listed = client.get("/v1/devices", headers=bearer(linked)).json["devices"]
    revoked = {device["id"]: device["token_revoked_at"] for device in listed}
    assert revoked.pop(owner.device_id) is not None
    assert list(revoked.values()) == [None]
    assert (
        client.delete(f"/v1/devices/{owner.device_id}", headers=bearer(linked)).status_code == 204
    )
