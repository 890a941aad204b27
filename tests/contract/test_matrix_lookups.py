"""Lookups at the Matrix door: pages of hashes, within the budget of whoever asks."""

from collections.abc import Callable
from typing import Any

import pytest
from flask_openapi3 import OpenAPI

from tests.conftest import NUMBER, OTHER_NUMBER, Clock, MakeApp, Person
from tests.matrix import Homeserver, MatrixClient, fault, hashed, open_door

LIMITED = (429, "M_LIMIT_EXCEEDED")
Bounded = Callable[..., OpenAPI]


@pytest.fixture
def bounded(make_app: MakeApp) -> Bounded:
    """Make an application in which a verified number may look up 100 numbers, and 10 more a day."""

    def make(**settings: Any) -> OpenAPI:
        return open_door(make_app, discovery_burst=100, discovery_per_day=10, **settings)

    return make


def numbers(start: int, count: int) -> list[str]:
    """Give numbers that are nobody's."""
    return [f"+49151{n:08d}" for n in range(start, start + count)]


def test_the_specification_has_an_example(alice: MatrixClient) -> None:
    """The hash is the one that the specification computes for its pepper."""
    assert hashed("+18005552067", "matrixrocks") == "nlo35_T5fzSGZzJApqu8lgIudJvmOQtDaHtr-I4rU7I"
    details = alice.get("/hash_details").json
    assert details["algorithms"] == ["sha256"]  # type: ignore[index]
    assert len(details["lookup_pepper"]) == 43  # type: ignore[index]


def test_a_pepper_that_never_was(alice: MatrixClient) -> None:
    """The client is told to fetch it anew."""
    assert fault(alice.look_up([NUMBER], "matrixrocks")) == (400, "M_INVALID_PEPPER")


def test_the_pepper_before_holds_while_it_rotates(
    alice: MatrixClient, door: OpenAPI, clock: Clock
) -> None:
    """A lookup that began before the rotation is answered, until the announced end."""
    alice.bound()
    before = alice.pepper()
    kith = door.extensions["kith"]
    kith.rotation.announce()
    for _ in kith.keeper.steps():
        pass
    after = alice.pepper()
    assert after != before
    for pepper in (before, after):
        mappings = alice.look_up([NUMBER], pepper).json["mappings"]  # type: ignore[index]
        assert mappings == {hashed(NUMBER, pepper): alice.user_id}
    clock.advance(days=60)
    assert fault(alice.look_up([NUMBER], before)) == (400, "M_INVALID_PEPPER")
    assert alice.found(NUMBER) == {NUMBER: alice.user_id}


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "none"},
        {"algorithm": "SHA256"},
        {"algorithm": ""},
        {"addresses": "x"},
        {"addresses": [1]},
        {"addresses": [None]},
        {"addresses": ["x"] * 10_001},
        {"pepper": None},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_what_cannot_be_looked_up(alice: MatrixClient, fields: dict[str, Any]) -> None:
    """An algorithm that is not offered and fields of the wrong shape are invalid parameters."""
    body = {"algorithm": "sha256", "pepper": alice.pepper(), "addresses": []}
    assert fault(alice.post("/lookup", body | fields)) == (400, "M_INVALID_PARAM")


def test_parameters_that_are_missing(alice: MatrixClient) -> None:
    """Each is needed."""
    body = {"algorithm": "sha256", "pepper": alice.pepper(), "addresses": []}
    for name in body:
        short = {key: value for key, value in body.items() if key != name}
        assert fault(alice.post("/lookup", short)) == (400, "M_MISSING_PARAMS")


def test_what_is_no_hash_matches_nobody(alice: MatrixClient) -> None:
    """Addresses of whatever shape are left out, and the others are found."""
    alice.bound()
    pepper = alice.pepper()
    right = hashed(NUMBER, pepper)
    wrong = ["", "x", right + "=", right[:-1] + "B", right.replace(right[0], "+", 1), "ä" * 43]
    wrong += [f"{NUMBER[1:]} msisdn", "\x00" * 43, "\U0001f600" * 43]
    for addresses in (wrong, [*wrong, right], [right, right], []):
        body = {"algorithm": "sha256", "pepper": pepper, "addresses": addresses}
        answer = alice.post("/lookup", body)
        expected = {right: alice.user_id} if right in addresses else {}
        assert answer.json == {"mappings": expected}


def test_numbers_are_looked_up_unhashed_where_the_operator_wants_it(
    make_app: MakeApp, homeserver: Homeserver
) -> None:
    """They are named in the answer as they came; the pepper must be right all the same."""
    app = open_door(make_app, matrix_plain_lookups=True)
    alice = MatrixClient.register(app, homeserver)
    alice.bound()
    details = alice.get("/hash_details").json
    assert details["algorithms"] == ["sha256", "none"]  # type: ignore[index]
    addresses = [f"{NUMBER[1:]} msisdn", f"{OTHER_NUMBER[1:]} msisdn", "a@b.c email", NUMBER]
    body = {"algorithm": "none", "pepper": alice.pepper(), "addresses": addresses}
    assert alice.post("/lookup", body).json == {"mappings": {addresses[0]: alice.user_id}}
    wrong = body | {"pepper": "x"}
    assert fault(alice.post("/lookup", wrong)) == (400, "M_INVALID_PEPPER")


def test_a_page_of_natives_and_bound_numbers(
    make_app: MakeApp, homeserver: Homeserver, register: Callable[..., Person], clock: Clock
) -> None:
    """All of them are found in one page, whichever way they came, among many that are nobody's."""
    people = {}
    for number in numbers(23456780, 3):
        clock.advance(1)
        people[number] = register(number)
    app = open_door(make_app, matrix_server_name="chat.example")
    users = [MatrixClient.register(app, homeserver, name) for name in ("alice", 'o"b\\')]
    clock.advance(1)
    users[0].bound()
    clock.advance(1)
    users[1].bound(numbers(23456781, 1)[0])
    found = users[0].found(NUMBER, *numbers(23456700, 100))
    expected = {n: f"@{person.account_id}:chat.example" for n, person in people.items()}
    expected |= {NUMBER: users[0].user_id, numbers(23456781, 1)[0]: users[1].user_id}
    assert found == expected


def test_without_a_bound_number_the_budget_is_a_tenth(
    bounded: Bounded, homeserver: Homeserver, clock: Clock
) -> None:
    """A page of more than it ever holds is too large; over what is left, it is for another day."""
    alice = MatrixClient.register(bounded(), homeserver)
    assert fault(alice.look_up(numbers(0, 11))) == (413, "M_TOO_LARGE")
    assert alice.look_up(numbers(0, 10)).status_code == 200
    assert alice.look_up(numbers(0, 10)).status_code == 200, "the same page again costs nothing"
    refused = alice.look_up(numbers(50, 2))
    assert fault(refused) == LIMITED
    assert refused.json["retry_after_ms"] == 2 * 86_400_000  # type: ignore[index]
    clock.advance(days=2)
    assert alice.look_up(numbers(50, 2)).status_code == 200


def test_a_bound_number_pays(bounded: Bounded, homeserver: Homeserver) -> None:
    """Its whole budget is the user's, and she has her own again once it is not bound to her any more."""
    alice = MatrixClient.register(bounded(), homeserver)
    alice.bound()
    assert alice.look_up(numbers(0, 90)).status_code == 200
    assert fault(alice.look_up(numbers(100, 11))) == LIMITED
    threepid = {"medium": "msisdn", "address": NUMBER[1:]}
    alice.post("/3pid/unbind", {"mxid": alice.user_id, "threepid": threepid})
    assert fault(alice.look_up(numbers(100, 11))) == (413, "M_TOO_LARGE")


def test_a_number_has_one_budget_at_all_doors(
    bounded: Bounded, homeserver: Homeserver, register: Callable[..., Person], clock: Clock
) -> None:
    """What was spent natively is spent here, whoever the number is bound to."""
    app = bounded()
    person = register()
    client = app.test_client()
    parameters = client.get("/v1/discovery/parameters", headers=person.headers).json
    hashes = [hashed(n, parameters["salt"]) for n in numbers(0, 95)]
    body = {"epoch": parameters["epoch"], "hashes": hashes}
    assert (
        client.post("/v1/discovery/lookups", json=body, headers=person.headers).status_code == 200
    )
    for name in ("alice", "bob"):
        clock.advance(1)
        user = MatrixClient.register(app, homeserver, name)
        user.bound(client_secret=name)
        assert fault(user.look_up(numbers(200, 6))) == LIMITED


def test_a_homeserver_has_a_ceiling(bounded: Bounded, homeserver: Homeserver, clock: Clock) -> None:
    """However many users it makes, those without a bound number share it; others do not count."""
    app = bounded(matrix_homeserver_ceiling=25)
    users = [MatrixClient.register(app, homeserver, f"user{n}") for n in range(4)]
    assert users[0].look_up(numbers(0, 10)).status_code == 200
    assert users[1].look_up(numbers(100, 10)).status_code == 200
    assert users[1].look_up(numbers(100, 10)).status_code == 200, "known pages do not count"
    clock.advance(hours=6)
    refused = users[2].look_up(numbers(200, 6))
    assert fault(refused) == LIMITED
    assert refused.json["retry_after_ms"] == 18 * 3_600_000  # type: ignore[index]
    assert users[2].look_up(numbers(300, 5)).status_code == 200, "what was refused cost nothing"
    assert fault(users[3].look_up(numbers(400, 1))) == LIMITED
    elsewhere = MatrixClient.register(app, homeserver, host="other.example")
    assert elsewhere.look_up(numbers(500, 10)).status_code == 200
    users[3].bound()
    assert users[3].look_up(numbers(600, 50)).status_code == 200
    clock.advance(hours=19)
    assert users[2].look_up(numbers(700, 5)).status_code == 200


def test_what_was_refused_was_not_charged(bounded: Bounded, homeserver: Homeserver) -> None:
    """The ceiling refuses the payment too, so the budget is whole for another day."""
    app = bounded(matrix_homeserver_ceiling=1)
    alice = MatrixClient.register(app, homeserver)
    assert fault(alice.look_up(numbers(0, 10))) == LIMITED
    app = bounded(matrix_homeserver_ceiling=10)
    alice.app = app
    assert alice.look_up(numbers(20, 10)).status_code == 200
