"""Who of my contacts is here, through HTTP."""

import base64
import hashlib
from uuid import UUID

import pytest
from sqlalchemy import insert

from core.database import table
from discovery.models import DirectoryEntry
from tests.api.discovery.conftest import BEN, CARLA, encode, use_snapshot
from tests.conftest import problem_code
from tokens.devices import Caller


def test_parameters_say_how_to_hash(parameters, anna):
    """A client learns all it needs to hash numbers, and whom its sync tokens are bound to."""
    assert parameters["budget_owner"] == str(anna.account_id)
    assert parameters["algorithm"] == "sha256"
    assert parameters["max_hashes"] == 10_000
    assert parameters["expires_at"] is None
    assert parameters["previous"] is None
    assert parameters["budget"] == {"left": 2_500, "capacity": 2_500, "refill_per_day": 50}
    assert len(base64.urlsafe_b64decode(parameters["salt"] + "=")) == 32


def test_parameters_stay_the_same(make_app, client, anna, parameters):
    """They are made once and for every process."""
    again = client.get("/v1/discovery/parameters", headers=anna.headers).json
    other = make_app().test_client().get("/v1/discovery/parameters", headers=anna.headers).json
    assert again == other == parameters


def test_a_person_is_found_by_her_number(register, look_up, hashed):
    """A hash made from the public definition alone leads to the account."""
    ben = register(BEN)
    response = look_up([hashed(BEN), hashed(CARLA)])
    assert response.status_code == 200
    assert response.json["matches"] == {hashed(BEN): ben.account_id}


def test_an_empty_book_matches_nobody(look_up):
    """No hashes, no matches, no refusal."""
    assert look_up([]).json["matches"] == {}


def test_duplicates_are_harmless(register, look_up, hashed):
    """A hash that is there twice is answered once."""
    ben = register(BEN)
    assert look_up([hashed(BEN)] * 3).json["matches"] == {hashed(BEN): ben.account_id}


def test_who_does_not_want_to_be_found_is_not(client, register, look_up, hashed):
    """Discoverability holds from the very next lookup, both ways."""
    ben = register(BEN)
    client.patch("/v1/account", json={"discoverable": False}, headers=ben.headers)
    assert look_up([hashed(BEN)]).json["matches"] == {}
    client.patch("/v1/account", json={"discoverable": True}, headers=ben.headers)
    assert look_up([hashed(BEN)]).json["matches"] == {hashed(BEN): ben.account_id}


def test_a_deleted_account_is_not_found(client, register, look_up, hashed):
    """Deletion takes the number out of the directory at once."""
    ben = register(BEN)
    client.delete("/v1/account", headers=ben.headers)
    assert look_up([hashed(BEN)]).json["matches"] == {}


def test_registering_again_keeps_leading_to_the_account(register, look_up, hashed):
    """The number leads to the same account after a re-registration."""
    ben = register(BEN)
    assert register(BEN).account_id == ben.account_id
    assert look_up([hashed(BEN)]).json["matches"] == {hashed(BEN): ben.account_id}


def test_a_changed_number_leads_to_the_account_and_the_old_one_nowhere(
    app, register, look_up, hashed
):
    """Who knew the old number does not find the account by it any more."""
    ben = register(BEN)
    kith = app.extensions["kith"]
    caller = Caller(UUID(ben.account_id), UUID(ben.device_id), b"")
    with kith.runtime.database.write() as session:
        kith.tokens.accounts.change_number(session, caller, CARLA)
    assert look_up([hashed(BEN), hashed(CARLA)]).json["matches"] == {hashed(CARLA): ben.account_id}


def test_a_late_withdrawal_does_not_unlist_the_next_owner(app, register, look_up, hashed):
    """Taking a number out for its former account leaves it with the present one."""
    ben = register(BEN)
    kith = app.extensions["kith"]
    with kith.runtime.database.write() as session:
        kith.discovery.service.listing_changed(session, UUID(int=1), BEN, False)
    assert look_up([hashed(BEN)]).json["matches"] == {hashed(BEN): ben.account_id}


def test_an_epoch_that_was_rolled_back_is_not_used(make_app):
    """Parameters made in a transaction that failed are never handed out."""
    kith = make_app().extensions["kith"]
    with pytest.raises(RuntimeError), kith.runtime.database.write() as connection:
        kith.discovery.service.listing_changed(connection, UUID(int=1), BEN, True)
        raise RuntimeError
    again = make_app().extensions["kith"]
    assert kith.discovery.service.parameters() == again.discovery.service.parameters()


@pytest.mark.parametrize("from_snapshot", [False, True])
def test_a_full_page_finds_all_who_are_here(make_app, anna, parameters, from_snapshot):
    """10,000 hashes are one page, whatever order and share of them are people."""
    app = make_app(discovery_burst=10_000)
    digests = [hashlib.sha256(str(n).encode()).digest() for n in range(10_000)]
    here = {encode(digest): UUID(int=n) for n, digest in enumerate(digests) if n % 4 == 0}
    with app.extensions["kith"].runtime.database.write() as connection:
        connection.execute(
            insert(table(DirectoryEntry)),
            [
                {"digest": digest, "epoch": 1, "account_id": UUID(int=n)}
                for n, digest in enumerate(digests)
                if n % 4 == 0
            ],
        )
    if from_snapshot:
        use_snapshot(app)
    response = app.test_client().post(
        "/v1/discovery/lookups",
        json={"epoch": parameters["epoch"], "hashes": [encode(digest) for digest in digests]},
        headers=anna.headers,
    )
    assert response.json["matches"] == {text: str(account) for text, account in here.items()}


def test_a_page_over_the_limit_is_refused(look_up):
    """10,001 hashes are refused as a whole, by their field."""
    response = look_up(["A" * 43] * 10_001)
    assert (response.status_code, problem_code(response)) == (422, "invalid-fields")
    assert [fault["pointer"] for fault in response.json["errors"]] == ["/hashes"]


def test_a_lower_limit_of_the_operator_holds(make_app, anna, parameters):
    """The setting bounds a page below the schema's bound, and the parameters announce it."""
    client = make_app(max_hashes=2).test_client()

    def look_up(count):
        body = {"epoch": parameters["epoch"], "hashes": ["A" * 43] * count}
        return client.post("/v1/discovery/lookups", json=body, headers=anna.headers)

    announced = client.get("/v1/discovery/parameters", headers=anna.headers).json["max_hashes"]
    response = look_up(3)
    assert announced == 2
    assert look_up(2).status_code == 200
    assert (response.status_code, problem_code(response)) == (422, "invalid-fields")
    assert [fault["pointer"] for fault in response.json["errors"]] == ["/hashes"]


WRONG_HASHES = [
    "",
    "A" * 42,
    "A" * 44,
    "A" * 42 + "=",
    "A" * 43 + "=",
    "A" * 43 + "\n",
    "A" * 42 + "B",
    "+" + "A" * 42,
    "/" + "A" * 42,
    "\0" + "A" * 42,
    "é" + "A" * 42,
    "0" * 1_000_000,
    7,
    None,
    ["A" * 43],
]


def test_a_hash_that_is_none_is_refused_by_its_index(look_up):
    """The refusal points at the hash and repeats nothing of it."""
    for wrong in WRONG_HASHES:
        response = look_up(["A" * 43, wrong, "A" * 43])
        assert (response.status_code, problem_code(response)) == (422, "invalid-fields")
        assert [fault["pointer"] for fault in response.json["errors"]] == ["/hashes/1"]
        assert len(response.data) < 1_000


def test_hashes_of_another_epoch_are_refused(look_up):
    """The client is told to fetch the parameters again."""
    for epoch in ("", "other", "\0", "e" * 64):
        response = look_up(["A" * 43], epoch=epoch)
        assert (response.status_code, problem_code(response)) == (409, "epoch-unknown")


WRONG_FIELDS = [
    ({"epoch": 1}, "/epoch"),
    ({"epoch": "e" * 65}, "/epoch"),
    ({"epoch": "e" * 1_000_000}, "/epoch"),
    ({"hashes": "A" * 43}, "/hashes"),
    ({"hashes": None}, "/hashes"),
    ({"hashes": {}}, "/hashes"),
    ({"sync_token": "x" * 129}, "/sync_token"),
    ({"sync_token": 7}, "/sync_token"),
    ({"known": "A" * 43}, "/known"),
    ({"known": ["A" * 42 + "B"]}, "/known/0"),
    ({"knwon": []}, "/knwon"),
]


def test_wrong_and_unknown_fields_are_refused(look_up):
    """Types are strict and nothing is ignored silently."""
    for changes, pointer in WRONG_FIELDS:
        response = look_up(**changes)
        assert (response.status_code, problem_code(response)) == (422, "invalid-fields")
        assert [fault["pointer"] for fault in response.json["errors"]] == [pointer]


WRONG_BODIES = [
    (b"{", "application/json", 400, "malformed-request"),
    (b"[" * 10_000, "application/json", 400, "malformed-request"),
    (b"[" * 10_000 + b"]" * 10_000, "application/json", 400, "malformed-request"),
    (b'{"epoch": "\xff"}', "application/json", 400, "malformed-request"),
    (b"[]", "application/json", 422, "invalid-fields"),
    (b"{}", "text/plain", 415, "unsupported-media-type"),
    (b" " * 2_000_000, "application/json", 413, "body-too-large"),
]


def test_a_body_that_is_none_is_refused(client, anna):
    """Whatever comes instead of a lookup gets a problem document."""
    for body, content_type, status, code in WRONG_BODIES:
        response = client.post(
            "/v1/discovery/lookups", data=body, content_type=content_type, headers=anna.headers
        )
        assert (response.status_code, problem_code(response)) == (status, code)


def test_discovery_needs_a_device_token(client):
    """Strangers learn nothing, not even the salt."""
    for method, path in (("GET", "/v1/discovery/parameters"), ("POST", "/v1/discovery/lookups")):
        response = client.open(path, method=method, json={"epoch": "", "hashes": []})
        assert (response.status_code, problem_code(response)) == (401, "token-missing")


def test_lookups_are_counted(app, register, look_up, hashed):
    """The metrics tell hashes and matches."""
    register(BEN)
    look_up([hashed(BEN), hashed(CARLA)])
    metrics = app.extensions["kith"].runtime.metrics.render().decode()
    assert "kith_discovery_hashes_total 2.0" in metrics
    assert "kith_discovery_matches_total 1.0" in metrics
