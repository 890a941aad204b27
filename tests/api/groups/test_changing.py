"""Groups are changed by their admins, one version after the other."""

from uuid import UUID, uuid4

import pytest

from messaging.message_types import GroupChangedNotice
from tests.api.groups.conftest import ADMIN, INVITED, MEMBER, roles
from tests.conftest import problem_code
from tests.people import caller, put_in_touch, settle


@pytest.fixture
def group(people, make):
    """Anna's group with Ben and Cleo, and Dora invited."""
    return make(*people)


@pytest.fixture
def change(call, group):
    """Change the group as somebody; give the response."""

    def change(who, method, path="", body=None, version=1):
        if method == "DELETE":
            return call(who, method, f"/{group['id']}{path}", query_string={"version": version})
        return call(who, method, f"/{group['id']}{path}", {"version": version} | body)

    return change


def test_an_admin_renames_the_group(people, group, change, call):
    """Everybody in it sees the name and the next version."""
    renamed = change(people[0], "PATCH", body={"name": "Friends"})
    assert (renamed.status_code, renamed.json) == (200, group | {"name": "Friends", "version": 2})
    assert call(people[1], "GET", f"/{group['id']}").json == renamed.json


def test_a_change_of_an_older_version_is_refused(people, group, change, call):
    """The loser is told the current version, and nothing happened."""
    anna, ben, *_ = people
    change(anna, "PATCH", body={"name": "Friends"})
    for answer in (
        change(anna, "PATCH", body={"name": "Late"}),
        change(anna, "PATCH", body={"name": "Early"}, version=3),
        change(anna, "POST", "/members", {"account_ids": [ben.account_id]}),
        change(anna, "PATCH", f"/members/{ben.account_id}", {"role": "admin"}),
        change(anna, "DELETE", f"/members/{ben.account_id}"),
    ):
        assert (answer.status_code, problem_code(answer)) == (409, "group-changed")
        assert answer.json["version"] == 2
    after = call(anna, "GET", f"/{group['id']}").json
    assert after == group | {"name": "Friends", "version": 2}


@pytest.mark.parametrize(
    ("place", "code"), [(1, "not-an-admin"), (3, "not-joined")], ids=["member", "invited"]
)
def test_changes_are_for_admins(people, group, change, call, place, code):
    """A member is told so, and somebody invited that she has to accept first."""
    who, cleo = people[place], people[2]
    for answer in (
        change(who, "PATCH", body={"name": "Mine"}),
        change(who, "POST", "/members", {"account_ids": [cleo.account_id]}),
        change(who, "PATCH", f"/members/{cleo.account_id}", {"role": "admin"}),
        change(who, "DELETE", f"/members/{cleo.account_id}"),
        change(who, "DELETE", f"/members/{cleo.account_id}", version=9),
    ):
        assert (answer.status_code, problem_code(answer)) == (403, code)
    assert call(people[0], "GET", f"/{group['id']}").json == group


def test_an_admin_makes_another_one(people, change):
    """Who was made an admin may do what admins may, and be made a member again."""
    anna, ben, *_ = people
    change(anna, "PATCH", f"/members/{ben.account_id}", {"role": "admin"})
    done = change(ben, "PATCH", f"/members/{anna.account_id}", {"role": "member"}, version=2)
    assert roles(done.json)[anna.account_id] == MEMBER
    assert roles(done.json)[ben.account_id] == ADMIN
    refused = change(anna, "PATCH", body={"name": "Mine"}, version=3)
    assert problem_code(refused) == "not-an-admin"


def test_the_last_admin_stays_one(people, group, change, call):
    """Nobody can leave a group without an admin by giving up the role, even when one is invited."""
    anna, *_, dora = people
    change(anna, "PATCH", f"/members/{dora.account_id}", {"role": "admin"})
    refused = change(anna, "PATCH", f"/members/{anna.account_id}", {"role": "member"}, version=2)
    assert (refused.status_code, problem_code(refused)) == (409, "last-admin")
    assert call(anna, "GET", f"/{group['id']}").json["version"] == 2


def test_who_is_not_in_the_group_cannot_be_changed(people, change):
    """Neither an account elsewhere nor something that is no account."""
    for name in (uuid4(), "nonsense"):
        for answer in (
            change(people[0], "PATCH", f"/members/{name}", {"role": "admin"}),
            change(people[0], "DELETE", f"/members/{name}"),
        ):
            assert (answer.status_code, problem_code(answer)) == (404, "member-not-found")


def test_a_removed_member_sees_nothing_more(people, group, change, call, told):
    """The group is gone for her; she is told once, with those who are left."""
    anna, ben, cleo, dora = people
    removed = change(anna, "DELETE", f"/members/{ben.account_id}")
    assert (removed.status_code, removed.json["version"]) == (200, 2)
    assert roles(removed.json).keys() == {anna.account_id, cleo.account_id, dora.account_id}
    assert problem_code(call(ben, "GET", f"/{group['id']}")) == "group-not-found"
    assert call(ben, "GET").json["groups"] == []
    assert {device for device, _ in told} == {UUID(who.device_id) for who in people}
    assert {notice for _, notice in told} == {GroupChangedNotice(UUID(group["id"]), 2)}


def test_removing_names_a_version(people, group, call):
    """Only for leaving it is left out."""
    anna, ben, *_ = people
    refused = call(anna, "DELETE", f"/{group['id']}/members/{ben.account_id}")
    assert refused.json["errors"][0]["pointer"] == "?/version"


def test_a_group_holds_1024(kith, make, call):
    """The thousand and twenty-fifth is refused, invited or joined, and nobody with her is added."""
    anna, *others = settle(kith, 1025)
    put_in_touch(kith, others, anna)
    group = make(anna, *others[:1022])
    path = f"/{group['id']}/members"
    last_two = [one.account_id for one in others[1022:]]
    refused = call(anna, "POST", path, {"version": 1, "account_ids": last_two})
    assert (refused.status_code, problem_code(refused)) == (409, "group-full")
    full = call(anna, "POST", path, {"version": 1, "account_ids": last_two[:1]})
    assert (full.status_code, len(full.json["members"])) == (200, 1024)
    again = call(anna, "POST", path, {"version": 2, "account_ids": last_two[:1]})
    assert again.status_code == 200


def test_changes_an_hour_are_limited(people, group, change, kith):
    """Each change is told to everybody, so one account makes only so many."""
    anna, *_ = people
    for version in range(1, 601):
        kith.messaging.groups.rename(caller(anna), UUID(group["id"]), version, "Family")
    refused = change(anna, "PATCH", body={"name": "Again"}, version=601)
    assert (refused.status_code, problem_code(refused)) == (429, "group-rate-limited")


def test_an_invitation_is_decided_by_its_inviter(kith, people, change, group):
    """Invited again by somebody she knows she joins; nobody who joined is put back."""
    anna, ben, cleo, dora = people
    put_in_touch(kith, [dora], ben)
    change(anna, "PATCH", f"/members/{ben.account_id}", {"role": "admin"})
    ids = [dora.account_id, cleo.account_id]
    invited = change(ben, "POST", "/members", {"account_ids": ids}, version=2)
    assert roles(invited.json)[dora.account_id] == MEMBER
    assert roles(invited.json)[cleo.account_id] == MEMBER
    assert INVITED not in roles(invited.json).values()
