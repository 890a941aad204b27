"""Groups are made and looked at, by those who are in them."""

from uuid import UUID, uuid4

import pytest

from messaging.message_types import GroupChangedNotice
from tests.api.groups.conftest import ADMIN, INVITED, MEMBER, roles
from tests.conftest import problem_code
from tests.people import settle

NOBODY = "00000000-0000-4000-8000-000000000000"


def test_a_group_is_made_of_those_in_touch(people, make, call):
    """Who accepted the maker is a member at once; a stranger is only invited."""
    anna, ben, cleo, dora = people
    group = make(anna, ben, cleo, dora)
    assert (group["name"], group["version"]) == ("Family", 1)
    assert roles(group) == {
        anna.account_id: ADMIN,
        ben.account_id: MEMBER,
        cleo.account_id: MEMBER,
        dora.account_id: INVITED,
    }
    for who in people:
        assert call(who, "GET", f"/{group['id']}").json == group


def test_a_repeated_creation_makes_one_group(people, call):
    """The same key gives the same group, even after it changed; another request is refused."""
    anna, ben, *_ = people
    key = {"Idempotency-Key": "once"}
    body = {"name": "Family", "members": [ben.account_id]}
    first = call(anna, "POST", body=body, headers=key)
    call(anna, "PATCH", f"/{first.json['id']}", {"version": 1, "name": "Others"})
    again = call(anna, "POST", body=body, headers=key)
    assert (again.status_code, again.json) == (201, first.json)
    other = call(anna, "POST", body=body | {"name": "Else"}, headers=key)
    assert (other.status_code, problem_code(other)) == (422, "idempotency-key-reused")
    assert len(call(anna, "GET").json["groups"]) == 1
    assert call(ben, "POST", body={"name": "His", "members": []}, headers=key).status_code == 201


def test_unknown_accounts_are_named(people, call):
    """Nothing is made with somebody who is not there, and the refusal says who."""
    anna, ben, *_ = people
    body = {"name": "Family", "members": [ben.account_id, NOBODY]}
    refused = call(anna, "POST", body=body)
    assert (refused.status_code, problem_code(refused)) == (422, "accounts-unknown")
    assert refused.json["unknown"] == [NOBODY]
    assert call(anna, "GET").json == {"groups": [], "more": False}


@pytest.mark.parametrize("twice", ["herself", "another"])
def test_nobody_is_named_twice(people, call, twice):
    """The maker is in the group anyway, and so is whoever was named before."""
    anna, ben, *_ = people
    members = [ben.account_id, (anna if twice == "herself" else ben).account_id]
    refused = call(anna, "POST", body={"name": "Family", "members": members})
    assert refused.json["errors"][0]["pointer"] == "/members/1"


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "line\nend"},
        {"members": [NOBODY] * 1024},
        {"members": ["nobody"]},
        {"members": None},
    ],
    ids=str,
)
def test_what_cannot_be_a_group_is_refused(people, call, change):
    """Names are one printable line, and members are accounts, 1,023 at most."""
    refused = call(people[0], "POST", body={"name": "Family", "members": []} | change)
    assert (refused.status_code, problem_code(refused)) == (422, "invalid-fields")


def test_groups_are_listed_page_by_page(people, make, call):
    """Each is listed once, with what one is in it; other people's are not."""
    anna, ben, _, dora = people
    made = [make(anna, ben, dora, name=str(number)) for number in range(3)]
    make(ben)
    first = call(dora, "GET", query_string={"limit": 2}).json
    rest = call(dora, "GET", query_string={"after": first["groups"][-1]["id"]}).json
    assert (first["more"], rest["more"]) == (True, False)
    listed = first["groups"] + rest["groups"]
    assert [one["id"] for one in listed] == sorted(one["id"] for one in made)
    assert {(one["version"], one["role"], one["state"]) for one in listed} == {(1, *INVITED)}


def test_a_group_is_not_there_for_others(people, make, call):
    """Who is not in a group cannot tell it from one that never was."""
    anna, ben, *_, dora = people
    group = make(anna, ben)
    refusals = set()
    for path in (f"/{group['id']}", f"/{uuid4()}", "/nonsense", f"/{'x' * 500}"):
        for method, rest, body in (
            ("GET", "", None),
            ("PATCH", "", {"version": 1, "name": "Mine"}),
            ("PATCH", "", {"version": 7, "name": "Mine"}),
            ("POST", "/members", {"version": 1, "account_ids": [dora.account_id]}),
            ("PATCH", f"/members/{ben.account_id}", {"version": 1, "role": "admin"}),
            ("DELETE", f"/members/{ben.account_id}?version=1", None),
            ("DELETE", f"/members/{dora.account_id}", None),
            ("PUT", "/membership", {}),
            ("GET", "/devices", None),
        ):
            answer = call(dora, method, path + rest, body)
            if "errors" not in answer.json:  # naming oneself is refused before any look
                refusals.add((answer.status_code, problem_code(answer), answer.json["detail"]))
    assert len(refusals) == 1
    assert next(iter(refusals))[:2] == (404, "group-not-found")
    assert call(anna, "GET", f"/{group['id']}").json == group


def test_members_devices_hear_of_it(people, make, told):
    """Each device of each member, joined or invited, is told what version the group has."""
    group = make(*people)
    notice = GroupChangedNotice(UUID(group["id"]), 1)
    assert sorted(told) == sorted((UUID(who.device_id), notice) for who in people)


def test_groups_a_day_are_limited(people, call, clock):
    """After 50 groups the next one waits for its time; nothing is made before."""
    anna, *_ = people
    body = {"name": "Many", "members": []}
    answers = [call(anna, "POST", body=body) for _ in range(51)]
    assert {answer.status_code for answer in answers[:-1]} == {201}
    refused = answers[-1]
    assert (refused.status_code, problem_code(refused)) == (429, "group-rate-limited")
    assert refused.headers["RateLimit-Policy"].startswith('"group-creations";q=50')
    clock.advance(int(refused.headers["Retry-After"]))
    assert call(anna, "POST", body=body).status_code == 201


def test_a_group_of_strangers_is_refused(kith, people, call):
    """Beyond 100 strangers a day nobody is invited, and no group is made."""
    anna, *_ = people
    strangers = [one.account_id for one in settle(kith, 101)]
    refused = call(anna, "POST", body={"name": "All", "members": strangers})
    assert (refused.status_code, problem_code(refused)) == (429, "group-rate-limited")
    assert refused.headers["RateLimit"].startswith('"group-invitations";r=100')
    assert call(anna, "GET").json["groups"] == []
    assert call(anna, "POST", body={"name": "Some", "members": strangers[1:]}).status_code == 201
    again = call(anna, "POST", body={"name": "One", "members": strangers[:1]})
    assert problem_code(again) == "group-rate-limited"
