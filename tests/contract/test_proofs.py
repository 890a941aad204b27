"""A newer proof of a number voids every older one that could change an account, in every protocol."""

from collections.abc import Callable
from typing import Any

import pytest
from flask_openapi3 import OpenAPI

from tests.camara import Service
from tests.conftest import KEY, NUMBER, OTHER_NUMBER, Clock, MakeApp, Person, problem_code
from tests.contract.openapi import ContractClient
from tests.matrix import SECRET, Homeserver, MatrixClient, fault, make_matrix_app

EXPIRED = (400, "M_SESSION_EXPIRED")
Verify = Callable[..., str]
STRANGER = {"environ_base": {"REMOTE_ADDR": "198.51.100.1"}}


@pytest.fixture
def client(matrix_app: OpenAPI) -> ContractClient:
    """A client of the application whose Matrix adapter is open."""
    client = matrix_app.test_client()
    assert isinstance(client, ContractClient)
    return client


def register(client: ContractClient, identity: str, **fields: Any) -> str:
    """Use a proof; give the problem, or nothing when it registered."""
    answer = client.post("/v1/registrations", json={"verification_id": identity, **fields})
    return "" if answer.status_code == 201 else problem_code(answer)


def test_a_newer_native_proof_voids_an_older(client: ContractClient, verify: Verify) -> None:
    """The one before registers nothing and is shown as canceled; the newer one registers."""
    older = verify()
    newer = verify(**STRANGER)
    assert client.get(f"/v1/verifications/{older}").json["status"] == "canceled"
    assert register(client, older) == "verification-closed"
    assert register(client, newer) == ""


def test_a_code_that_is_pending_stays(
    client: ContractClient, verify: Verify, read_code: Callable[[str], str]
) -> None:
    """A proof takes no pending code from another person, whose proof is the newest then."""
    body = {"phone_number": NUMBER}
    pending = client.post("/v1/verifications", json=body, **STRANGER).json["id"]
    code = read_code(NUMBER)
    proof = verify()
    answer = client.post(f"/v1/verifications/{pending}/checks", json={"code": code})
    assert answer.json["status"] == "verified"
    assert register(client, proof) == "verification-closed"
    assert register(client, pending) == ""


def test_a_right_code_again_makes_no_newer_proof(
    client: ContractClient, verify: Verify, read_code: Callable[[str], str]
) -> None:
    """An old code that is typed again is no proof, and voids none."""
    older = verify()
    code = read_code(NUMBER)
    newer = verify(**STRANGER)
    answer = client.post(f"/v1/verifications/{older}/checks", json={"code": code})
    assert problem_code(answer) == "verification-closed"
    assert register(client, newer) == ""


def test_a_proof_of_another_number_voids_nothing(client: ContractClient, verify: Verify) -> None:
    """Proofs are of one number each."""
    proof = verify()
    verify(OTHER_NUMBER)
    assert register(client, proof) == ""


def test_an_answer_that_was_lost_is_given_again(client: ContractClient, verify: Verify) -> None:
    """A proof that was used before a newer one came is used, not void: its device gets its token again."""
    request = {"json": {"verification_id": verify()}, "headers": {"Idempotency-Key": KEY}}
    first = client.post("/v1/registrations", **request)
    verify(**STRANGER)
    assert client.post("/v1/registrations", **request).json == first.json


def test_a_voided_proof_changes_no_number(
    client: ContractClient, register: Callable[..., Person], verify: Verify
) -> None:
    """An account moves by the newest proof of its new number alone."""
    person = register()
    older, newer = verify(OTHER_NUMBER), verify(OTHER_NUMBER, **STRANGER)

    def move(identity: str) -> Any:
        body = {"verification_id": identity}
        return client.post("/v1/account/phone-number", json=body, headers=person.headers)

    assert problem_code(move(older)) == "verification-closed"
    assert move(newer).json["phone_number"] == OTHER_NUMBER


def test_a_native_proof_ends_a_matrix_session(
    client: ContractClient, alice: MatrixClient, verify: Verify, clock: Clock
) -> None:
    """It neither binds nor unbinds nor reads from then on, whether it was used before or not."""
    unused = alice.validated()
    clock.advance(1)
    verify()
    query = {"sid": unused, "client_secret": SECRET}
    assert fault(alice.bind(unused)) == EXPIRED
    assert fault(alice.get("/3pid/getValidated3pid", **query)) == EXPIRED
    clock.advance(60)
    used = alice.validated(client_secret="second")
    assert alice.bind(used, secret="second").status_code == 200
    clock.advance(60)
    proof = verify()
    assert fault(alice.bind(used, secret="second")) == EXPIRED
    threepid = {"medium": "msisdn", "address": NUMBER[1:]}
    body = {"mxid": "@before:hs.example", "threepid": threepid}
    session = {"sid": used, "client_secret": "second"}
    assert fault(alice.post("/3pid/unbind", body | session)) == EXPIRED
    assert alice.found(NUMBER) == {NUMBER: alice.user_id}, "a proof alone changes nothing"
    assert register(client, proof) == ""
    assert alice.found(NUMBER) == {}
    assert fault(alice.bind(used, secret="second")) == EXPIRED


def test_a_matrix_proof_voids_a_native_one(
    client: ContractClient, alice: MatrixClient, verify: Verify, clock: Clock
) -> None:
    """Whoever proved the number before registers no device with that any more."""
    proof = verify()
    clock.advance(1)
    alice.bound()
    assert register(client, proof) == "verification-closed"
    assert alice.found(NUMBER) == {NUMBER: alice.user_id}


def test_whoever_was_bound_before_takes_nothing_back(
    alice: MatrixClient, bob: MatrixClient, clock: Clock
) -> None:
    """A session of a day is worth nothing once another user proved the number."""
    sid = alice.validated()
    assert alice.bind(sid).status_code == 200
    clock.advance(hours=1)
    bob.bound(client_secret="bobs")
    assert fault(alice.bind(sid)) == EXPIRED
    assert alice.found(NUMBER) == {NUMBER: bob.user_id}


def test_codes_of_services_void_nothing_and_are_not_voided(
    matrix_app: OpenAPI, client: ContractClient, verify: Verify, clock: Clock
) -> None:
    """What a service validates changes no account, so it is neither newer nor older than a proof."""
    shop = Service(matrix_app)
    authentication = shop.sent()
    code = MatrixClient(matrix_app, "", "").code()
    clock.advance(1)
    proof = verify()
    assert shop.validate(authentication, code).status_code == 204
    assert register(client, proof) == ""


def test_proofs_are_voided_across_a_rotation_of_secrets(
    make_app: MakeApp, homeserver: Homeserver, clock: Clock
) -> None:
    """A number has another digest under the next secret, and is the same number."""
    old, new = "o" * 32, "n" * 32
    alice = MatrixClient.register(make_matrix_app(make_app, secret_key=old), homeserver)
    sid = alice.validated()
    native = alice.app.test_client()

    def proven(client: Any) -> str:
        clock.advance(1)
        identity = client.post("/v1/verifications", json={"phone_number": NUMBER}).json["id"]
        path = f"/v1/verifications/{identity}/checks"
        assert client.post(path, json={"code": alice.code()}).status_code == 200
        return str(identity)

    before = proven(native)
    assert fault(alice.bind(sid)) == EXPIRED
    clock.advance(1)
    late = native.post("/v1/verifications", json={"phone_number": NUMBER}, **STRANGER).json["id"]
    code = alice.code()
    rotated = make_matrix_app(make_app, secret_key=new, secret_key_previous=old)
    client = rotated.test_client()
    after = proven(client)
    assert register(client, before) == "verification-closed"
    # And a code of before the rotation is the newest proof when it is the last that came.
    assert client.post(f"/v1/verifications/{late}/checks", json={"code": code}).status_code == 200
    assert register(client, after) == "verification-closed"
    assert register(client, late) == ""
