"""Bindings: a proven number leads to a Matrix user, and only as long as the number is theirs."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from interop.matrix.signing import canonical_json
from tests.conftest import NUMBER, OTHER_NUMBER, Clock, MakeApp, Person, problem_code
from tests.contract.openapi import ContractClient
from tests.matrix import SECRET, Homeserver, MatrixClient, fault, hashed, make_matrix_app

FORBIDDEN = (403, "M_FORBIDDEN")


@pytest.fixture
def client(matrix_app: OpenAPI) -> ContractClient:
    """A client of the application whose Matrix adapter is open."""
    client = matrix_app.test_client()
    assert isinstance(client, ContractClient)
    return client


def accounts(client: ContractClient, person: Person) -> dict[str, Any]:
    """Look at a person's account."""
    answer: dict[str, Any] = client.get("/v1/account", headers=person.headers).json
    return answer


def unbind(
    user: MatrixClient, number: str = NUMBER, mxid: str | None = None, **fields: str
) -> tuple[int, Any]:
    """Unbind a number."""
    threepid = {"medium": "msisdn", "address": number[1:]}
    body = {"mxid": mxid or user.user_id, "threepid": threepid} | fields
    answer = user.post("/3pid/unbind", body)
    return (200, answer.json) if answer.status_code == 200 else fault(answer)


def test_a_bound_number_leads_to_its_user(
    alice: MatrixClient, bob: MatrixClient, clock: Clock
) -> None:
    """A lookup of the number finds its user; the association says so, and from when."""
    association = alice.bound()
    now = int(clock().timestamp() * 1000)
    assert association["address"] == NUMBER[1:]
    assert association["medium"] == "msisdn"
    assert association["mxid"] == alice.user_id
    assert association["not_before"] == association["ts"] == now < association["not_after"]
    assert bob.found(NUMBER, OTHER_NUMBER) == {NUMBER: alice.user_id}


def test_the_association_is_signed(alice: MatrixClient, matrix_app: OpenAPI) -> None:
    """Its signature is by a public key of this service, over canonical JSON without it."""
    association = alice.bound()
    ((name, signatures),) = association.pop("signatures").items()
    ((key_id, signature),) = signatures.items()
    assert name == "127.0.0.1:8000"
    public = alice.get(f"/pubkey/{key_id}").json["public_key"]  # type: ignore[index]
    key = VerifyKey(base64.b64decode(public + "="))
    key.verify(canonical_json(association), base64.b64decode(signature + "=="))
    with pytest.raises(BadSignatureError):
        key.verify(
            canonical_json(association | {"mxid": "@eve:hs.example"}),
            base64.b64decode(signature + "=="),
        )


def test_only_what_is_validated_is_bound(alice: MatrixClient, clock: Clock) -> None:
    """Neither before its token was submitted, nor once the day is over, nor with another secret."""
    sid = alice.session()
    assert fault(alice.bind(sid)) == (400, "M_SESSION_NOT_VALIDATED")
    alice.submit(sid, alice.code())
    assert fault(alice.bind(sid, secret="another")) == (404, "M_NO_VALID_SESSION")
    clock.advance(hours=25)
    assert fault(alice.bind(sid)) == (400, "M_SESSION_EXPIRED")
    assert alice.found(NUMBER) == {}


def test_a_number_is_bound_to_oneself_only(alice: MatrixClient, bob: MatrixClient) -> None:
    """Nobody makes a number lead to someone who did not ask for it."""
    sid = alice.validated()
    assert fault(alice.bind(sid, bob.user_id)) == FORBIDDEN
    for wrong in (
        "bob",
        "@bob",
        "@bob:",
        "@:hs.example",
        "@b b:hs.example",
        "@" + "b" * 260 + ":x",
    ):
        assert fault(alice.bind(sid, wrong)) == (400, "M_INVALID_PARAM")


def test_binding_again_is_the_same(alice: MatrixClient) -> None:
    """A client that did not see the answer binds once more."""
    sid = alice.validated()
    assert alice.bind(sid).json == alice.bind(sid).json


def test_whoever_proves_a_number_last_has_it(
    alice: MatrixClient, bob: MatrixClient, clock: Clock
) -> None:
    """A number that changed hands leads to its new holder, and the one before cannot take it back."""
    alice.bound()
    clock.advance(1)
    bob.bound(client_secret="another")
    assert alice.found(NUMBER) == {NUMBER: bob.user_id}
    assert unbind(alice) == (200, {})
    assert alice.found(NUMBER) == {NUMBER: bob.user_id}


def test_the_user_unbinds_her_number(alice: MatrixClient, bob: MatrixClient) -> None:
    """The access token is enough, and the account that was created for the binding is deleted too."""
    alice.bound()
    assert unbind(bob, mxid=alice.user_id) == FORBIDDEN
    assert bob.found(NUMBER) == {NUMBER: alice.user_id}
    assert unbind(alice) == (200, {})
    assert bob.found(NUMBER) == {}
    assert unbind(alice) == (200, {})


def test_whoever_proves_a_number_unbinds_it(
    alice: MatrixClient, bob: MatrixClient, clock: Clock
) -> None:
    """A session in which the number was validated ends anybody's binding of it, and of no other."""
    alice.bound()
    other = bob.validated(OTHER_NUMBER, country="FR")
    proof = {"sid": other, "client_secret": SECRET}
    assert unbind(bob, mxid=alice.user_id, **proof) == FORBIDDEN
    clock.advance(1)
    session = bob.session(client_secret="another")
    proof = {"sid": session, "client_secret": "another"}
    assert unbind(bob, mxid=alice.user_id, **proof) == (400, "M_SESSION_NOT_VALIDATED")
    bob.submit(session, bob.code(), "another")
    assert unbind(bob, mxid=alice.user_id, **proof) == (200, {})
    assert bob.found(NUMBER) == {}


def test_other_media_are_unknown(alice: MatrixClient) -> None:
    """There are numbers here and nothing else."""
    threepid = {"medium": "email", "address": "alice@example.org"}
    answer = alice.post("/3pid/unbind", {"mxid": alice.user_id, "threepid": threepid})
    assert fault(answer) == (400, "M_INVALID_PARAM")


def test_a_native_account_is_bound_and_stays(
    client: ContractClient, alice: MatrixClient, register: Callable[..., Person], clock: Clock
) -> None:
    """Binding takes no device away, and after unbinding the account is found natively as before."""
    person = register()
    clock.advance(1)
    alice.bound()
    assert alice.found(NUMBER) == {NUMBER: alice.user_id}
    assert accounts(client, person)["account_id"] == person.account_id
    assert unbind(alice) == (200, {})
    assert alice.found(NUMBER) == {}
    assert accounts(client, person)["discoverable"] is True


def test_binding_never_publishes(
    client: ContractClient, alice: MatrixClient, register: Callable[..., Person], clock: Clock
) -> None:
    """An account that its devices hid stays hidden, and is found as the bound user once they show it."""
    person = register()
    clock.advance(1)
    path = "/v1/account"
    client.patch(path, json={"discoverable": False}, headers=person.headers)
    alice.bound()
    assert alice.found(NUMBER) == {}
    assert accounts(client, person)["discoverable"] is False
    client.patch(path, json={"discoverable": True}, headers=person.headers)
    assert alice.found(NUMBER) == {NUMBER: alice.user_id}


def test_a_session_binds_once(alice: MatrixClient, bob: MatrixClient, clock: Clock) -> None:
    """After its answer was lost it is answered as it was; it reads and unbinds, and binds no more."""
    sid = alice.validated()
    first = alice.bind(sid).json
    clock.advance(30)
    assert alice.bind(sid).json == first
    query = {"sid": sid, "client_secret": SECRET}
    assert alice.get("/3pid/getValidated3pid", **query).status_code == 200
    assert unbind(alice, **query) == (200, {})
    assert fault(alice.bind(sid)) == (400, "M_SESSION_EXPIRED")
    assert alice.found(NUMBER) == {}
    assert unbind(alice, **query) == (200, {})


def test_a_locked_number_is_not_unbound_by_a_proof(
    client: ContractClient,
    alice: MatrixClient,
    bob: MatrixClient,
    register: Callable[..., Person],
    clock: Clock,
) -> None:
    """Whoever gets its next text ends nothing; the user whose number it is does, and the lock stays."""
    person = register()
    clock.advance(1)
    alice.bound()
    pin = {"json": {"pin": "83051964"}, "headers": person.headers}
    assert client.put("/v1/account/registration-lock", **pin).status_code == 204
    clock.advance(1)
    proof = {"sid": bob.validated(client_secret="bobs"), "client_secret": "bobs"}
    assert unbind(bob, mxid=alice.user_id, **proof) == FORBIDDEN
    assert bob.found(NUMBER) == {NUMBER: alice.user_id}
    assert unbind(alice) == (200, {})
    assert bob.found(NUMBER) == {}
    assert accounts(client, person)["registration_lock"] is True


def test_an_emptied_account_keeps_its_lock(
    client: ContractClient,
    alice: MatrixClient,
    register: Callable[..., Person],
    verify: Callable[..., str],
    clock: Clock,
) -> None:
    """An account without devices is not deleted with its binding while a lock guards its number."""
    person = register()
    clock.advance(1)
    alice.bound()
    pin = {"json": {"pin": "83051964"}, "headers": person.headers}
    client.put("/v1/account/registration-lock", **pin)
    gone = client.delete(f"/v1/devices/{person.device_id}", headers=person.headers)
    assert gone.status_code == 204
    assert unbind(alice) == (200, {})
    clock.advance(1)
    answer = client.post("/v1/registrations", json={"verification_id": verify()})
    assert (answer.status_code, problem_code(answer)) == (423, "registration-locked")


def test_a_bind_revives_no_lock(
    client: ContractClient,
    alice: MatrixClient,
    register: Callable[..., Person],
    verify: Callable[..., str],
    clock: Clock,
) -> None:
    """A lock that lapsed stays so: it lives by its devices, and nobody here could give its PIN."""
    person = register()
    pin = {"json": {"pin": "83051964"}, "headers": person.headers}
    client.put("/v1/account/registration-lock", **pin)
    clock.advance(days=8)
    alice.bound()
    clock.advance(1)
    answer = client.post("/v1/registrations", json={"verification_id": verify()})
    assert answer.status_code == 201, answer.text


def test_a_native_registration_ends_a_binding(
    alice: MatrixClient, register: Callable[..., Person], clock: Clock
) -> None:
    """The number may have another holder, so it leads to nobody's Matrix user until it is bound anew."""
    alice.bound()
    clock.advance(1)
    person = register()
    assert person.reregistered
    assert alice.found(NUMBER) == {}
    clock.advance(1)
    alice.bound(send_attempt=2)
    assert alice.found(NUMBER) == {NUMBER: alice.user_id}


def test_a_changed_number_ends_a_binding(
    client: ContractClient,
    alice: MatrixClient,
    register: Callable[..., Person],
    verify: Callable[..., str],
) -> None:
    """What was bound was the old number, and the account's new one leads nowhere here."""
    person = register()
    alice.bound()
    body = {"verification_id": verify(OTHER_NUMBER)}
    moved = client.post("/v1/account/phone-number", json=body, headers=person.headers)
    assert moved.status_code == 200
    assert alice.found(NUMBER, OTHER_NUMBER) == {}


def test_a_deleted_account_ends_a_binding(
    client: ContractClient, alice: MatrixClient, register: Callable[..., Person], clock: Clock
) -> None:
    """Nothing of it is left."""
    person = register()
    clock.advance(1)
    alice.bound()
    assert client.delete("/v1/account", headers=person.headers).status_code == 204
    assert alice.found(NUMBER) == {}
    clock.advance(1)
    assert register().reregistered is False


def test_a_recycled_number_is_bound_to_a_new_account(
    client: ContractClient,
    alice: MatrixClient,
    homeserver: Homeserver,
    register: Callable[..., Person],
    clock: Clock,
) -> None:
    """After 120 idle days the account before is nobody's, and its devices are gone."""
    person = register()
    clock.advance(days=121)
    bob = MatrixClient.register(alice.app, homeserver, "bob")
    bob.bound()
    assert bob.found(NUMBER) == {NUMBER: bob.user_id}
    assert client.get("/v1/account", headers=person.headers).status_code == 401


def test_a_locked_number_is_not_bound(
    client: ContractClient, alice: MatrixClient, register: Callable[..., Person], clock: Clock
) -> None:
    """A registration lock keeps out who proves the number without its PIN, through this adapter as well."""
    person = register()
    clock.advance(1)
    lock = client.put(
        "/v1/account/registration-lock", json={"pin": "83051964"}, headers=person.headers
    )
    assert lock.status_code == 204
    answer = alice.bind(alice.validated())
    assert fault(answer) == FORBIDDEN
    assert alice.found(NUMBER) == {}


def test_native_people_are_found_under_the_operators_name(
    make_app: MakeApp, homeserver: Homeserver, register: Callable[..., Person]
) -> None:
    """With a server name they have user ids made of their accounts' ids; a binding goes before it."""
    person = register()
    app = make_matrix_app(make_app, matrix_server_name="chat.example:8448")
    user = MatrixClient.register(app, homeserver)
    assert user.found(NUMBER) == {NUMBER: f"@{person.account_id}:chat.example:8448"}
    user.bound()
    assert user.found(NUMBER) == {NUMBER: user.user_id}
    user.bound(OTHER_NUMBER, country="FR")
    assert user.found(NUMBER, OTHER_NUMBER) == {NUMBER: user.user_id, OTHER_NUMBER: user.user_id}


def test_a_bound_number_is_found_natively(
    client: ContractClient, alice: MatrixClient, register: Callable[..., Person]
) -> None:
    """One directory serves both protocols: it is an account like any other."""
    alice.bound()
    person = register(OTHER_NUMBER)
    parameters = client.get("/v1/discovery/parameters", headers=person.headers).json
    assert parameters["salt"] == alice.pepper()
    body = {"epoch": parameters["epoch"], "hashes": [hashed(NUMBER, parameters["salt"])]}
    found = client.post("/v1/discovery/lookups", json=body, headers=person.headers).json
    assert list(found["matches"]) == body["hashes"]


@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_lock_that_was_left_on_a_number_guards_it(
    client: ContractClient,
    alice: MatrixClient,
    bob: MatrixClient,
    register: Callable[..., Person],
    verify: Callable[..., str],
    clock: Clock,
    how: str,
) -> None:
    """Once its account is gone or moved the number is neither bound nor unbound, until it lapses."""
    person = register()
    alice.bound()
    pin = {"json": {"pin": "471130"}, "headers": person.headers}
    assert client.put("/v1/account/registration-lock", **pin).status_code == 204
    if how == "deleted":
        assert client.delete("/v1/account", headers=person.headers).status_code == 204
    else:
        body = {"json": {"verification_id": verify(OTHER_NUMBER)}, "headers": person.headers}
        assert client.post("/v1/account/phone-number", **body).status_code == 200
    clock.advance(hours=1)
    sid = bob.validated(client_secret="later")
    assert fault(bob.bind(sid, secret="later")) == FORBIDDEN
    proof = {"sid": sid, "client_secret": "later"}
    assert unbind(bob, mxid=alice.user_id, **proof) == FORBIDDEN
    clock.advance(days=7)
    sid = bob.validated(client_secret="last")
    assert bob.bind(sid, secret="last").status_code == 200
