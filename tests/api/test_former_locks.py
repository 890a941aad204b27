"""A registration lock stays with its number when the account leaves that: who has a token is no owner."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import func, select

from tests.conftest import NUMBER, OTHER_NUMBER, Clock, MakeApp, Person, problem_code
from tests.contract.openapi import ContractClient
from tokens.models import FormerLock

Register = Callable[..., Person]
Verify = Callable[..., str]
Leave = Callable[[], None]
LOCK = "/v1/account/registration-lock"
PIN = "471130"
THIRD_NUMBER = "+4915112345677"


@pytest.fixture
def owner(client: ContractClient, register: Register) -> Person:
    """Someone whose number is locked."""
    owner = register()
    assert client.put(LOCK, json={"pin": PIN}, headers=owner.headers).status_code == 204
    return owner


def move(client: ContractClient, person: Person, identity: str, **fields: Any) -> Any:
    """Move an account to a verified number."""
    body = {"verification_id": identity, **fields}
    return client.post("/v1/account/phone-number", json=body, headers=person.headers)


@pytest.fixture(params=["deleted", "moved"])
def leave(
    request: pytest.FixtureRequest, client: ContractClient, owner: Person, verify: Verify
) -> Leave:
    """What whoever stole the token does, to be rid of the lock."""

    def delete() -> None:
        assert client.delete("/v1/account", headers=owner.headers).status_code == 204

    def change() -> None:
        assert move(client, owner, verify(OTHER_NUMBER)).status_code == 200

    return delete if request.param == "deleted" else change


def registration(client: ContractClient, identity: str, **fields: Any) -> Any:
    """Register with a proof."""
    return client.post("/v1/registrations", json={"verification_id": identity, **fields})


def left(app: OpenAPI) -> int:
    """Count the locks that were left on numbers."""
    with app.extensions["kith"].runtime.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(FormerLock)) or 0


def is_locked(client: ContractClient, token: str) -> bool:
    """Say whether the account of a token has a PIN."""
    headers = {"Authorization": f"Bearer {token}"}
    return bool(client.get("/v1/account", headers=headers).json["registration_lock"])


def test_the_number_stays_locked(
    app: OpenAPI, client: ContractClient, owner: Person, leave: Leave, verify: Verify
) -> None:
    """It asks for the PIN as before; with that the lock is the new account's, and no more the number's."""
    leave()
    identity = verify()
    missing = registration(client, identity)
    assert problem_code(missing) == "registration-locked"
    assert missing.json["retry_after"] == 7 * 86400
    wrong = registration(client, identity, registration_lock_pin="000000")
    assert (problem_code(wrong), wrong.json["checks_left"]) == ("registration-locked", 9)
    done = registration(client, identity, registration_lock_pin=PIN)
    assert done.status_code == 201
    assert done.json["reregistered"] is False
    assert is_locked(client, done.json["device_token"])
    assert left(app) == 0
    assert problem_code(registration(client, verify())) == "registration-locked"


def test_leaving_gives_no_further_tries(
    client: ContractClient, owner: Person, leave: Leave, verify: Verify
) -> None:
    """Tries are counted on, and of ten none is left."""
    identity = verify()
    for _ in range(6):
        registration(client, identity, registration_lock_pin="000000")
    leave()
    for _ in range(4):
        answer = registration(client, identity, registration_lock_pin="000000")
        assert problem_code(answer) == "registration-locked"
    answer = registration(client, identity, registration_lock_pin=PIN)
    assert problem_code(answer) == "too-many-pin-tries"


def test_it_lapses_as_it_would_have(
    app: OpenAPI, client: ContractClient, leave: Leave, verify: Verify, clock: Clock
) -> None:
    """Seven days after the account was used last on the number the next holder needs no PIN."""
    leave()
    clock.advance(days=7, seconds=-1)
    identity = verify()
    assert problem_code(registration(client, identity)) == "registration-locked"
    clock.advance(1)
    done = registration(client, identity)
    assert done.status_code == 201
    assert not is_locked(client, done.json["device_token"])
    assert left(app) == 0


def test_what_has_lapsed_is_deleted(app: OpenAPI, leave: Leave, clock: Clock) -> None:
    """No hash of a PIN stays behind."""
    leave()
    kith = app.extensions["kith"]
    kith.maintenance.run()
    assert left(app) == 1
    clock.advance(days=7, seconds=1)
    kith.maintenance.run()
    assert left(app) == 0


def test_a_lock_that_is_removed_ends_when_it_was_said_to(
    client: ContractClient, owner: Person, leave: Leave, verify: Verify, clock: Clock
) -> None:
    """Leaving the number makes nothing longer."""
    client.delete(LOCK, headers=owner.headers)
    clock.advance(days=6)
    leave()
    clock.advance(days=1)
    assert registration(client, verify()).status_code == 201


def test_nobody_moves_onto_it_without_the_pin(
    app: OpenAPI,
    client: ContractClient,
    owner: Person,
    leave: Leave,
    register: Register,
    verify: Verify,
) -> None:
    """Nor does the account that left it, whose device may be stolen."""
    leave()
    mover = register(THIRD_NUMBER)
    identity = verify()
    assert problem_code(move(client, mover, identity)) == "registration-locked"
    moved = move(client, mover, identity, registration_lock_pin=PIN)
    assert moved.json["phone_number"] == NUMBER
    assert left(app) == 0
    assert not is_locked(client, mover.token)


def test_who_moved_returns_with_the_pin(
    app: OpenAPI, client: ContractClient, owner: Person, verify: Verify
) -> None:
    """The own lock guards the number that was left against the own devices too."""
    assert move(client, owner, verify(OTHER_NUMBER)).status_code == 200
    identity = verify()
    assert problem_code(move(client, owner, identity)) == "registration-locked"
    assert move(client, owner, identity, registration_lock_pin=PIN).status_code == 200
    assert is_locked(client, owner.token)
    # What is left now is on the other number.
    assert left(app) == 1
    assert problem_code(registration(client, verify(OTHER_NUMBER))) == "registration-locked"


def test_a_number_without_a_lock_is_left_free(
    app: OpenAPI, client: ContractClient, register: Register, verify: Verify
) -> None:
    """Whoever never set a PIN, or whose lock has lapsed, leaves nothing."""
    person = register()
    assert client.delete("/v1/account", headers=person.headers).status_code == 204
    assert left(app) == 0
    assert registration(client, verify()).status_code == 201


def test_it_is_found_under_the_secret_before(
    make_app: MakeApp, register: Register, verify: Verify, clock: Clock
) -> None:
    """The number has another digest under the next secret, and stays locked."""
    old, new = "o" * 32, "n" * 32
    before = make_app(secret_key=old).test_client()
    body = {"phone_number": NUMBER}

    def prove(client: Any) -> str:
        clock.advance(60)
        identity = client.post("/v1/verifications", json=body).json["id"]
        texts = client.get("/dev/outbox.json", query_string={"to": NUMBER}).json["messages"]
        found = re.search(r"\d{6}", texts[0]["body"])
        assert found
        path = f"/v1/verifications/{identity}/checks"
        assert client.post(path, json={"code": found.group()}).status_code == 200
        return str(identity)

    token = registration(before, prove(before)).json["device_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert before.put(LOCK, json={"pin": PIN}, headers=headers).status_code == 204
    assert before.delete("/v1/account", headers=headers).status_code == 204
    rotated = make_app(secret_key=new, secret_key_previous=old)
    client = rotated.test_client()
    identity = prove(client)
    assert problem_code(registration(client, identity)) == "registration-locked"
    assert registration(client, identity, registration_lock_pin=PIN).status_code == 201
    assert left(rotated) == 0
