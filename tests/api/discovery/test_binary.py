"""Lookups in binary: the same answers in fewer bytes."""

import base64
import struct
from uuid import UUID

import pytest

from tests.api.discovery.conftest import BEN, CARLA, made_up
from tests.conftest import problem_code

# From a snapshot, which has the places of hashes to get right.
pytestmark = pytest.mark.parametrize("app", ["snapshot"], indirect=True)

HASHES, MATCHES = "application/vnd.kith.hashes", "application/vnd.kith.matches"


def binary(hashes):
    """Write hashes as bytes, one after the other."""
    return b"".join(base64.urlsafe_b64decode(text + "=") for text in hashes)


def matches(response):
    """Read the places and accounts of an answer."""
    assert (response.status_code, response.mimetype) == (200, MATCHES), response.text
    assert len(response.data) % 20 == 0
    pairs = struct.iter_unpack("<I16s", response.data)
    return [(place, str(UUID(bytes=account))) for place, account in pairs]


@pytest.fixture
def ask(client, anna, parameters):
    """Look up hashes in binary."""

    def ask(data, **query):
        return client.post(
            "/v1/discovery/lookups",
            query_string={"epoch": parameters["epoch"]} | query,
            data=data,
            content_type=HASHES,
            headers=anna.headers,
        )

    return ask


def test_matches_name_the_place_of_their_hash(ask, hashed, register):
    """In the order of the request; of a hash that is there twice its first place."""
    ben, carla = register(BEN), register(CARLA)
    page = [*made_up(3), hashed(CARLA), hashed(BEN), hashed(CARLA), *made_up(2)]
    assert matches(ask(binary(page))) == [(3, carla.account_id), (4, ben.account_id)]


def test_an_empty_page_matches_nobody(ask):
    """No bytes, no matches, no refusal."""
    assert matches(ask(b"")) == []


def test_it_costs_and_proves_the_same_as_json(ask, look_up):
    """A set paid for in one form is known in the other."""
    book = made_up(30)
    first = ask(binary(book))
    assert first.headers["RateLimit"] == '"discovery";r=2470;t=0'
    token = first.headers["Kith-Sync-Token"]
    assert look_up(book).json["sync_token"] == token
    more = ask(binary(book + made_up(5, 100)), known=30, sync_token=token)
    assert more.headers["RateLimit"] == '"discovery";r=2465;t=0'
    known = {"known": book + made_up(5, 100), "sync_token": more.headers["Kith-Sync-Token"]}
    assert look_up(**known).json["budget"]["left"] == 2_465


@pytest.mark.parametrize(
    ("data", "query", "pointer"),
    [
        (b"x" * (17 * 32 + 31), {}, "/hashes/17"),
        (b"x", {}, "/hashes/0"),
        (b"x" * 32 * 10_001, {}, "/hashes"),
        (b"x" * 64, {"known": 3}, "?/known"),
        (b"x" * 64, {"known": -1}, "?/known"),
        (b"x" * 64, {"known": "one"}, "?/known"),
        (b"", {"epoch": "e" * 65}, "?/epoch"),
        (b"", {"epoch": None}, "?/epoch"),
        (b"", {"sync_token": "x" * 129}, "?/sync_token"),
        (b"", {"hashes": "x"}, "?/hashes"),
    ],
)
def test_what_is_wrong_is_named(ask, data, query, pointer):
    """A hash by its index, a parameter by its name."""
    response = ask(data, **query)
    assert (response.status_code, problem_code(response)) == (422, "invalid-fields")
    assert [fault["pointer"] for fault in response.json["errors"]] == [pointer]


def test_another_epoch_is_refused(ask):
    """As in JSON."""
    response = ask(binary(made_up(1)), epoch="other")
    assert (response.status_code, problem_code(response)) == (409, "epoch-unknown")


def test_a_page_over_budget_is_refused(ask):
    """As in JSON, and as a problem document."""
    assert matches(ask(binary(made_up(2_500)))) == []
    response = ask(binary(made_up(1, 5_000)))
    assert (response.status_code, problem_code(response)) == (429, "budget-exhausted")


def test_parameters_of_the_binary_form_do_not_go_with_json(client, anna, parameters):
    """What would be ignored is refused."""
    response = client.post(
        "/v1/discovery/lookups",
        query_string={"epoch": parameters["epoch"]},
        json={"epoch": parameters["epoch"], "hashes": []},
        headers=anna.headers,
    )
    assert (response.status_code, problem_code(response)) == (422, "invalid-fields")
    assert [fault["pointer"] for fault in response.json["errors"]] == ["?/epoch"]
