"""Validation at the Matrix adapter: a number gets its token, and the right one validates it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask_openapi3 import OpenAPI

from tests.camara import Service, other_than
from tests.camara import error as camara_error
from tests.conftest import NUMBER, OTHER_NUMBER, Clock, MakeApp, Person
from tests.matrix import SECRET, Homeserver, MatrixClient, fault, make_matrix_app
from tests.policies import write_policy
from tests.typed import AS_TYPED, unreadable

INVALID = (400, "M_INVALID_PARAM")
NO_SESSION = (404, "M_NO_VALID_SESSION")
EXPIRED = (400, "M_SESSION_EXPIRED")
NOT_VALIDATED = (400, "M_SESSION_NOT_VALIDATED")


def test_a_number_is_validated(alice: MatrixClient, clock: Clock) -> None:
    """A national number gets a text, its token validates it, and that is told with the moment."""
    answer = alice.request_token("0151 12345678")
    assert answer.json == {"sid": answer.json["sid"], "success": True, "msisdn": NUMBER[1:]}
    sid = answer.json["sid"]
    query = {"sid": sid, "client_secret": SECRET}
    assert fault(alice.get("/3pid/getValidated3pid", **query)) == NOT_VALIDATED
    clock.advance(90)
    assert alice.submit(sid, alice.code()).json == {"success": True}
    validated = int(clock().timestamp() * 1000)
    clock.advance(hours=23)
    assert alice.get("/3pid/getValidated3pid", **query).json == {
        "medium": "msisdn",
        "address": NUMBER[1:],
        "validated_at": validated,
    }
    clock.advance(hours=2)
    assert fault(alice.get("/3pid/getValidated3pid", **query)) == EXPIRED


def test_a_right_token_is_right_again(alice: MatrixClient) -> None:
    """A client whose answer was lost submits it once more."""
    sid = alice.validated()
    assert alice.submit(sid, alice.code()).json == {"success": True}
    assert fault(alice.submit(sid, other_than(alice.code()))) == EXPIRED


@pytest.mark.parametrize("typed", AS_TYPED)
def test_tokens_as_typed(alice: MatrixClient, typed: Callable[[str], str]) -> None:
    """The right token is right however it was typed, and what cannot be one is never a guess."""
    sid = alice.session()
    for text in unreadable(alice.code()):
        assert fault(alice.submit(sid, text)) == (400, "M_TOKEN_INCORRECT")
    assert alice.submit(sid, typed(alice.code())).json == {"success": True}


@pytest.mark.parametrize(
    ("number", "country"),
    [("\u20684915112345678\u2069", "de"), ("+49\u00a0151\u00ad12345678\n", "UK")],
)
def test_numbers_as_pasted(alice: MatrixClient, number: str, country: str) -> None:
    """A number is read as with every protocol, its country in any case and as people call it."""
    assert alice.request_token(number, country=country).json["msisdn"] == NUMBER[1:]


def test_the_same_attempt_sends_once(alice: MatrixClient, clock: Clock) -> None:
    """A repeated or lower `send_attempt` gives the session and sends nothing, as text or as number."""
    sid = alice.session(send_attempt=2)
    clock.advance(hours=1)
    for attempt in (2, "2", 1, "0"):
        assert alice.session(send_attempt=attempt) == sid
    assert len(alice.texts()) == 1


def test_a_higher_attempt_sends_the_same_token_again(alice: MatrixClient, clock: Clock) -> None:
    """It comes as soon as the schedule allows; until then the client is told how long to wait."""
    sid = alice.session(send_attempt="1")
    early = alice.request_token(send_attempt="2")
    assert fault(early) == (429, "M_LIMIT_EXCEEDED")
    assert early.json["retry_after_ms"] == 60_000  # type: ignore[index]
    clock.advance(60)
    assert alice.session(send_attempt="2") == sid
    first, second = alice.texts()
    assert first == second


def test_an_attempt_that_was_refused_is_not_spent(alice: MatrixClient, clock: Clock) -> None:
    """What could not be sent yet is sent when the client repeats it."""
    alice.session(send_attempt=1)
    assert fault(alice.request_token(send_attempt=2)) == (429, "M_LIMIT_EXCEEDED")
    clock.advance(60)
    alice.session(send_attempt=2)
    assert len(alice.texts()) == 2


def test_an_attempt_after_the_end_is_a_new_session(alice: MatrixClient, clock: Clock) -> None:
    """When the token's time is over, the next one is another, and the old session is gone."""
    old = alice.session()
    token = alice.code()
    clock.advance(minutes=11)
    assert fault(alice.submit(old, token)) == EXPIRED
    sid = alice.session(send_attempt=2)
    assert sid != old
    assert fault(alice.submit(old, token)) == NO_SESSION
    assert alice.submit(sid, alice.code()).json == {"success": True}


def test_a_validated_number_is_validated_anew(alice: MatrixClient, clock: Clock) -> None:
    """A client that asks again after validation gets another token."""
    sid = alice.validated()
    clock.advance(120)
    assert alice.validated(send_attempt=2) != sid


def test_sessions_of_two_secrets_are_two(
    alice: MatrixClient, bob: MatrixClient, clock: Clock
) -> None:
    """Nobody gets another's session by asking for the same number."""
    first = alice.session()
    clock.advance(1)
    second = bob.session(client_secret="another")
    assert first != second
    token = bob.code()
    assert fault(bob.submit(first, token, "another")) == NO_SESSION
    assert fault(bob.submit(second, token)) == NO_SESSION
    assert bob.submit(second, token, "another").json == {"success": True}


def test_a_session_is_its_users(alice: MatrixClient, bob: MatrixClient, clock: Clock) -> None:
    """Someone who knows id and secret, or chose the same poor secret, gets nothing out of it."""
    sid = alice.validated()
    query = {"sid": sid, "client_secret": SECRET}
    assert fault(bob.submit(sid, alice.code())) == NO_SESSION
    assert fault(bob.get("/3pid/getValidated3pid", **query)) == NO_SESSION
    assert fault(bob.bind(sid)) == NO_SESSION
    clock.advance(1)
    assert bob.session() != sid
    assert len(alice.texts()) == 2


def test_a_wrong_token_counts(alice: MatrixClient) -> None:
    """Each wrong one is told, the last ends the session, and then the right one is worth nothing."""
    sid = alice.session()
    wrong = other_than(alice.code())
    for _ in range(5):
        assert fault(alice.submit(sid, wrong)) == (400, "M_TOKEN_INCORRECT")
    assert fault(alice.submit(sid, alice.code())) == EXPIRED


@pytest.mark.parametrize("token", ["0", "ä", "a" * 255, "１２３４５６", " 123456", "\U0001f600"])
def test_a_token_of_any_shape_is_judged(alice: MatrixClient, token: str) -> None:
    """Clients pass on what a person typed."""
    assert fault(alice.submit(alice.session(), token)) == (400, "M_TOKEN_INCORRECT")


@pytest.mark.parametrize("sid", ["1234", "A" * 43, "x" * 255])
def test_a_session_that_never_was(alice: MatrixClient, sid: str) -> None:
    """All that need a session say that there is none."""
    alice.session()
    query = {"sid": sid, "client_secret": SECRET}
    assert fault(alice.submit(sid, alice.code())) == NO_SESSION
    assert fault(alice.get("/3pid/getValidated3pid", **query)) == NO_SESSION
    assert fault(alice.bind(sid)) == NO_SESSION


@pytest.mark.parametrize(
    ("number", "country", "expected"),
    [
        ("123", "DE", (400, "M_INVALID_ADDRESS")),
        ("hello", "DE", (400, "M_INVALID_ADDRESS")),
        ("015112345678", "ZZ", (400, "M_INVALID_ADDRESS")),
        ("+49 900 1234567", "DE", (400, "M_INVALID_ADDRESS")),
        ("015112345678", "", (400, "M_INVALID_ADDRESS")),
        ("015112345678", "Germany", INVALID),
        ("015112345678", None, INVALID),
        ("", "DE", INVALID),
        ("9" * 65, "DE", (400, "M_INVALID_ADDRESS")),
        ("9" * 251, "DE", INVALID),
        ("\u202e", "DE", (400, "M_INVALID_ADDRESS")),
    ],
)
def test_numbers_that_cannot_be_validated(
    alice: MatrixClient, number: str, country: str | None, expected: tuple[int, str]
) -> None:
    """What is no number, or none that is sent to, is refused with the specification's code."""
    assert fault(alice.request_token(number, country=country)) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"client_secret": ""},
        {"client_secret": "a b"},
        {"client_secret": "x" * 256},
        {"client_secret": "ä"},
        {"send_attempt": -1},
        {"send_attempt": "one"},
        {"send_attempt": "١"},
        {"send_attempt": 1.5},
        {"send_attempt": True},
        {"send_attempt": None},
        {"send_attempt": 2**53},
        {"send_attempt": "9" * 5_000},
        {"next_link": "javascript:alert(1)"},
        {"next_link": "https://example.org/\r\nSet-Cookie: a=b"},
        {"next_link": 1},
    ],
    ids=repr,
)
def test_fields_that_cannot_be(alice: MatrixClient, fields: dict[str, Any]) -> None:
    """Nothing is sent for what breaks the specification."""
    assert fault(alice.request_token(**fields)) == INVALID
    assert alice.texts() == []


def test_a_country_that_the_policy_refuses(
    make_app: MakeApp, homeserver: Homeserver, tmp_path: Path
) -> None:
    """The operator's policy holds for this adapter too."""
    path = write_policy(tmp_path, '[[rules]]\nrule = "country"\nallow = ["DE"]\n')
    user = MatrixClient.register(make_matrix_app(make_app, policy_file=path), homeserver)
    assert fault(user.request_token(OTHER_NUMBER)) == (400, "M_DESTINATION_REJECTED")


def test_a_link_shows_a_page(alice: MatrixClient) -> None:
    """A person who follows a link with their token reads that they are done."""
    query = {"sid": alice.session(), "client_secret": SECRET, "token": alice.code()}
    answer = alice.get("/validate/msisdn/submitToken", **query)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert "validated" in answer.text
    wrong = alice.get("/validate/msisdn/submitToken", **(query | {"token": "1"}))
    assert 400 <= fault(wrong)[0] < 500


def test_a_link_leads_on(alice: MatrixClient) -> None:
    """Where the client wanted that, it goes on from here; by POST it does not."""
    link = "https://example.org/congratulations.html?a=1#b"
    query = {
        "sid": alice.session(next_link=link),
        "client_secret": SECRET,
        "token": alice.code(),
    }
    answer = alice.get("/validate/msisdn/submitToken", **query)
    assert (answer.status_code, answer.headers["Location"]) == (302, link)
    assert alice.submit(query["sid"], query["token"]).status_code == 200
    assert fault(alice.get("/validate/msisdn/submitToken", **(query | {"sid": "1"}))) == NO_SESSION


def test_a_session_is_nothing_to_our_own_routes(alice: MatrixClient, matrix_app: OpenAPI) -> None:
    """Whoever sees a session's id, such as a homeserver, registers no device with it."""
    client = matrix_app.test_client()
    sid = alice.session()
    path = f"/v1/verifications/{sid}"
    assert client.get(path).status_code == 404
    assert client.post(f"{path}/checks", json={"code": alice.code()}).status_code == 404
    assert client.post(f"{path}/sends", json={}).status_code == 404
    assert client.delete(path).status_code == 404
    assert alice.submit(sid, alice.code()).status_code == 200
    assert client.post("/v1/registrations", json={"verification_id": sid}).status_code == 404


def test_verifications_of_other_doors_are_nothing_here(
    alice: MatrixClient, matrix_app: OpenAPI
) -> None:
    """Neither a native verification nor a service's is a session, even of a service of a like name."""
    client = matrix_app.test_client()
    started = client.post("/v1/verifications", json={"phone_number": NUMBER}).json["id"]
    assert fault(alice.submit(started, alice.code())) == NO_SESSION
    service = Service(matrix_app, name="matrix")
    sid = alice.session()
    assert camara_error(service.validate(sid[:36], alice.code()))[0] == 404


def test_guesses_are_counted_over_all_protocols(
    alice: MatrixClient, matrix_app: OpenAPI, clock: Clock
) -> None:
    """A number that was guessed at natively has longer tokens here."""
    for host in range(5):
        clock.advance(1)
        started = matrix_app.test_client().post(
            "/v1/verifications",
            json={"phone_number": NUMBER},
            environ_base={"REMOTE_ADDR": f"198.51.100.{host}"},
        )
        path = f"/v1/verifications/{started.json['id']}/checks"
        wrong = other_than(alice.code())
        for _ in range(5):
            matrix_app.test_client().post(path, json={"code": wrong})
    clock.advance(1)
    alice.session()
    assert len(alice.code()) == 8


def test_a_test_number_has_its_code(
    make_app: MakeApp, homeserver: Homeserver, register: Callable[..., Person]
) -> None:
    """The operator's test numbers work here too, and nothing is sent to them."""
    app = make_matrix_app(make_app, test_numbers="+14155550100=123456@2027-01-31")
    user = MatrixClient.register(app, homeserver)
    sid = user.session("+14155550100", country="US")
    assert user.submit(sid, "123456").json == {"success": True}
    assert user.texts("+14155550100") == []


def test_sessions_are_purged(alice: MatrixClient, matrix_app: OpenAPI, clock: Clock) -> None:
    """Nothing of a session is left once its verification is gone."""
    alice.validated()
    maintenance = matrix_app.extensions["kith"].maintenance
    clock.advance(hours=47)
    assert maintenance.run()["matrix sessions"] == 0
    clock.advance(hours=2)
    deleted = maintenance.run()
    assert (deleted["matrix sessions"], deleted["verifications"]) == (1, 1)


def test_a_session_supersedes_those_of_its_user(
    make_app: MakeApp, homeserver: Homeserver, clock: Clock
) -> None:
    """Another client of one user ends what the first one began; other users and protocols go on."""
    app = make_matrix_app(make_app)
    alice = MatrixClient.register(app, homeserver, "alice")
    bob = MatrixClient.register(app, homeserver, "bob")
    native = app.test_client().post("/v1/verifications", json={"phone_number": NUMBER}).json["id"]
    bobs = bob.session()
    bobs_code = bob.code()
    clock.advance(1)
    first = alice.session(client_secret="first")
    first_code = alice.code()
    clock.advance(1)
    second = alice.session(client_secret="second")
    assert fault(alice.submit(first, first_code, "first")) == EXPIRED
    assert alice.submit(second, alice.code(), "second").json == {"success": True}
    assert bob.submit(bobs, bobs_code).json == {"success": True}
    shown = app.test_client().get(f"/v1/verifications/{native}").json
    assert shown["status"] == "pending"
