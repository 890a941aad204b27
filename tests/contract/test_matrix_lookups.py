"""Lookups of Matrix users: pages of hashes, within the requester's budget."""

from collections.abc import Callable
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from pydantic import ValidationError
from werkzeug.test import TestResponse

from settings import Settings
from tests.conftest import NUMBER, OTHER_NUMBER, Clock, MakeApp, Person
from tests.matrix import Homeserver, MatrixClient, fault, hashed, make_matrix_app

LIMITED = (429, "M_LIMIT_EXCEEDED")
Bounded = Callable[..., OpenAPI]


@pytest.fixture
def bounded(make_app: MakeApp) -> Bounded:
    """Make an application in which a verified number may look up 100 numbers, and 10 more a day."""

    def make(**settings: Any) -> OpenAPI:
        return make_matrix_app(make_app, discovery_burst=100, discovery_per_day=10, **settings)

    return make


def numbers(start: int, count: int) -> list[str]:
    """Return numbers that belong to nobody."""
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
    alice: MatrixClient, matrix_app: OpenAPI, clock: Clock
) -> None:
    """A lookup that began before the rotation is answered, until the announced end."""
    alice.bound()
    before = alice.pepper()
    kith = matrix_app.extensions["kith"]
    kith.discovery.rotation.announce()
    for _ in kith.discovery.updater.rotate():
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
    app = make_matrix_app(make_app, matrix_plain_lookups=True)
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
    app = make_matrix_app(make_app, matrix_server_name="chat.example")
    users = [MatrixClient.register(app, homeserver, name) for name in ("alice", 'o"b\\')]
    clock.advance(1)
    users[0].bound()
    clock.advance(1)
    users[1].bound(numbers(23456781, 1)[0])
    found = users[0].found(NUMBER, *numbers(23456700, 100))
    expected = {n: f"@{person.account_id}:chat.example" for n, person in people.items()}
    expected |= {NUMBER: users[0].user_id, numbers(23456781, 1)[0]: users[1].user_id}
    assert found == expected


def test_who_has_proven_no_number_looks_up_from_named_homeservers_only(
    bounded: Bounded, homeserver: Homeserver
) -> None:
    """By default from none: strangers make homeservers, and those make users, as they like."""
    for named in ("", "other.example", f"hs.example:{homeserver.port + 1}, chat.hs.example"):
        app = bounded(matrix_homeservers=named)
        alice = MatrixClient.register(app, homeserver)
        refused = alice.look_up(numbers(0, 1))
        assert fault(refused) == (403, "M_FORBIDDEN")
        assert "Validate a number" in refused.json["error"]  # type: ignore[index]
    for named in ("HS.example", homeserver.name()):
        app = bounded(matrix_homeservers=named)
        alice = MatrixClient.register(app, homeserver)
        assert alice.look_up(numbers(0, 1)).status_code == 200


@pytest.mark.parametrize("named", ["https://hs.example", "a b", "@a:b", "a, a", "[::1", "a:b"])
def test_homeservers_that_cannot_be_named(named: str) -> None:
    """A setting that names no server is refused when the service starts."""
    with pytest.raises(ValidationError):
        Settings(matrix_homeservers=named)


def test_without_a_proven_number_the_budget_is_a_tenth(
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


def test_a_bound_number_pays(bounded: Bounded, homeserver: Homeserver, clock: Clock) -> None:
    """Its whole budget is the user's, for as long as it is bound to them or their session holds."""
    alice = MatrixClient.register(bounded(), homeserver)
    alice.bound()
    clock.advance(days=3)
    assert alice.look_up(numbers(0, 90)).status_code == 200
    assert fault(alice.look_up(numbers(100, 11))) == LIMITED
    threepid = {"medium": "msisdn", "address": NUMBER[1:]}
    alice.post("/3pid/unbind", {"mxid": alice.user_id, "threepid": threepid})
    assert fault(alice.look_up(numbers(100, 11))) == (413, "M_TOO_LARGE")


def test_a_validated_number_pays(
    bounded: Bounded, homeserver: Homeserver, verify: Callable[..., str], clock: Clock
) -> None:
    """Without being bound, whatever the homeserver, until the day is over or somebody proves it anew."""
    app = bounded(matrix_homeservers="")
    alice = MatrixClient.register(app, homeserver)
    alice.validated()
    assert alice.look_up(numbers(0, 90)).status_code == 200
    assert fault(alice.look_up(numbers(100, 11))) == LIMITED, "it is the number's, and no more"
    clock.advance(hours=25)
    assert fault(alice.look_up(numbers(0, 1))) == (403, "M_FORBIDDEN")
    alice.validated(send_attempt=2)
    assert alice.look_up(numbers(300, 5)).status_code == 200
    clock.advance(1)
    verify()
    assert fault(alice.look_up(numbers(310, 1))) == (403, "M_FORBIDDEN")


def test_a_number_has_one_budget_at_all_doors(
    bounded: Bounded, homeserver: Homeserver, register: Callable[..., Person], clock: Clock
) -> None:
    """Native and Matrix lookups of a number share one budget."""
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


def test_homeservers_of_one_domain_have_one_daily_limit(
    bounded: Bounded, homeserver: Homeserver, clock: Clock
) -> None:
    """However many users, ports and hosts there are of it; who has proven a number does not count."""
    app = bounded(matrix_homeserver_lookups_per_day=25)
    with Homeserver() as second, Homeserver() as third:
        users = [
            MatrixClient.register(app, server, f"user{n}")
            for n, server in enumerate((homeserver, second, third, homeserver))
        ]
    elsewhere = MatrixClient.register(app, homeserver, host="other.example")

    def look_up(n: int, start: int, count: int) -> TestResponse:
        return users[n].look_up(numbers(start, count), address=f"198.51.{n}.1")

    assert look_up(0, 0, 10).status_code == 200
    assert look_up(1, 100, 10).status_code == 200
    assert look_up(1, 100, 10).status_code == 200, "known pages do not count"
    clock.advance(hours=6)
    refused = look_up(2, 200, 6)
    assert fault(refused) == LIMITED
    assert refused.json["retry_after_ms"] == 18 * 3_600_000  # type: ignore[index]
    assert look_up(2, 300, 5).status_code == 200, "what was refused cost nothing"
    assert fault(look_up(3, 400, 1)) == LIMITED
    assert elsewhere.look_up(numbers(500, 10)).status_code == 200
    users[3].validated()
    assert look_up(3, 600, 50).status_code == 200
    clock.advance(hours=19)
    assert look_up(2, 700, 5).status_code == 200


def test_networks_have_daily_limits(bounded: Bounded, homeserver: Homeserver) -> None:
    """Users of one address share a tenth of a budget a day, and those of a /24 four of them."""
    app = bounded()
    users = [MatrixClient.register(app, homeserver, f"user{n}") for n in range(7)]

    def look_up(n: int, count: int, host: int) -> int:
        page = numbers(n * 100, count)
        return users[n].look_up(page, address=f"198.51.100.{host}").status_code

    assert look_up(0, 6, 1) == 200
    assert look_up(1, 5, 1) == 429
    assert look_up(1, 4, 1) == 200
    assert [look_up(n, 10, n) for n in (2, 3, 4)] == [200] * 3
    assert look_up(5, 1, 5) == 429
    assert users[5].look_up(numbers(500, 1), address="198.51.101.1").status_code == 200


def test_everybody_without_a_number_has_a_daily_limit(
    bounded: Bounded, homeserver: Homeserver
) -> None:
    """Over all homeservers and networks."""
    app = bounded(matrix_unverified_lookups_per_day=15)
    alice = MatrixClient.register(app, homeserver)
    bob = MatrixClient.register(app, homeserver, "bob", "other.example")
    assert alice.look_up(numbers(0, 10), address="198.51.100.1").status_code == 200
    assert fault(bob.look_up(numbers(100, 6), address="203.0.113.1")) == LIMITED
    assert bob.look_up(numbers(200, 5), address="203.0.113.1").status_code == 200
    alice.validated()
    assert alice.look_up(numbers(300, 20), address="198.51.100.1").status_code == 200


def test_what_was_refused_was_not_charged(bounded: Bounded, homeserver: Homeserver) -> None:
    """The daily limit refuses the payment too, so the budget is whole for another day."""
    app = bounded(matrix_homeserver_lookups_per_day=1)
    alice = MatrixClient.register(app, homeserver)
    assert fault(alice.look_up(numbers(0, 10))) == LIMITED
    app = bounded(matrix_homeserver_lookups_per_day=10)
    alice.app = app
    assert alice.look_up(numbers(20, 10)).status_code == 200


def invite(user: MatrixClient, number: str, **fields: Any) -> TestResponse:
    """Have an invitation stored, as a homeserver does for its user."""
    body = {
        "medium": "msisdn",
        "address": number[1:],
        "room_id": "!room:hs.example",
        "room_name": "Hello",
        "sender": user.user_id,
    }
    return user.post("/store-invite", body | fields)


def test_an_invited_number_is_a_users_or_is_not_stored(
    alice: MatrixClient, bob: MatrixClient, register: Callable[..., Person], clock: Clock
) -> None:
    """Whose it is is said as a lookup says it; of anybody else nothing is kept, and a sentence says so."""
    alice.bound()
    used = invite(bob, NUMBER)
    assert fault(used) == (400, "M_THREEPID_IN_USE")
    assert used.json["mxid"] == alice.user_id  # type: ignore[index]
    refused = invite(bob, OTHER_NUMBER)
    assert fault(refused) == (403, "M_FORBIDDEN")
    assert "link to the room" in refused.json["error"]  # type: ignore[index]
    assert "mxid" not in refused.json  # type: ignore[operator]
    clock.advance(1)
    register(OTHER_NUMBER)
    assert fault(invite(bob, OTHER_NUMBER)) == (403, "M_FORBIDDEN"), "found natively only"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"medium": "email", "address": "a@b.example"}, (400, "M_UNRECOGNIZED")),
        ({"address": "+4915112345678"}, (400, "M_INVALID_ADDRESS")),
        ({"address": ""}, (400, "M_INVALID_ADDRESS")),
        ({"address": 1}, (400, "M_INVALID_PARAM")),
        ({"sender": None}, (400, "M_INVALID_PARAM")),
    ],
)
def test_invitations_that_cannot_be(
    alice: MatrixClient, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    """There are phone numbers here, as international digits, and nothing else."""
    assert fault(invite(alice, NUMBER, **fields)) == expected


def test_an_invitation_costs_a_lookup(bounded: Bounded, homeserver: Homeserver) -> None:
    """Nobody learns through it for free what a lookup is paid for."""
    app = bounded(matrix_homeservers="")
    alice = MatrixClient.register(app, homeserver)
    answer = invite(alice, OTHER_NUMBER)
    assert fault(answer) == (403, "M_FORBIDDEN")
    assert "Validate a number" in answer.json["error"]  # type: ignore[index]
    alice.validated()
    for number in numbers(0, 95):
        assert fault(invite(alice, number)) == (403, "M_FORBIDDEN")
    assert alice.look_up(numbers(100, 6)).status_code == 429
    assert alice.look_up(numbers(200, 5)).status_code == 200
    assert fault(invite(alice, OTHER_NUMBER)) == LIMITED
