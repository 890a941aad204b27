"""Nobody is put into a group by somebody she does not know, and whom she blocked never learns it."""

from uuid import UUID

import pytest

from messaging.groups.invitations import GroupQuota
from tests.api.groups.conftest import INVITED, MEMBER, roles
from tests.conftest import problem_code
from tests.people import put_in_touch, settle


@pytest.fixture
def invite(call):
    """Invite somebody to a group; give the response."""

    def invite(who, group, *others):
        body = {
            "version": group["version"],
            "account_ids": [other.account_id for other in others],
        }
        return call(who, "POST", f"/{group['id']}/members", body)

    return invite


def limit_groups(kith, monkeypatch, **limits):
    """Give accounts room for few groups or invitations."""
    monkeypatch.setattr(kith.messaging.groups, "quota", GroupQuota(**limits))


def test_an_invitation_is_accepted(people, make, call, clock):
    """She joins with the next version, as the newest; accepting again changes nothing."""
    *_, dora = people
    group = make(*people)
    clock.advance(60)
    joined = call(dora, "PUT", f"/{group['id']}/membership", {})
    assert (joined.status_code, joined.json["version"]) == (200, 2)
    assert roles(joined.json)[dora.account_id] == MEMBER
    assert list(roles(joined.json))[-1] == dora.account_id
    again = call(dora, "PUT", f"/{group['id']}/membership", {})
    assert (again.status_code, again.json) == (200, joined.json)


def test_an_invitation_is_declined(people, make, call):
    """She leaves without ever having joined."""
    anna, *_, dora = people
    group = make(*people)
    left = call(dora, "DELETE", f"/{group['id']}/members/{dora.account_id}")
    assert (left.status_code, left.data) == (204, b"")
    after = call(anna, "GET", f"/{group['id']}").json
    assert (after["version"], dora.account_id in roles(after)) == (2, False)
    assert problem_code(call(dora, "PUT", f"/{group['id']}/membership", {})) == "group-not-found"


@pytest.mark.parametrize("state", [2, 3])
def test_whom_she_blocked_cannot_invite_her(kith, people, make, call, told, state):
    """He sees her as invited, as he would anybody; she is told nothing, and it is not there for her."""
    anna, *_, dora = people
    put_in_touch(kith, [dora], anna, state=state)
    group = make(anna, dora)
    assert roles(group)[dora.account_id] == INVITED
    assert call(anna, "GET", f"/{group['id']}").json == group
    assert UUID(dora.device_id) not in {device for device, _ in told}
    assert call(dora, "GET").json["groups"] == []
    for method, path, body in (
        ("GET", "", None),
        ("PUT", "/membership", {}),
        ("DELETE", f"/members/{dora.account_id}", None),
        ("PATCH", "", {"version": 1, "name": "Mine"}),
        ("GET", "/devices", None),
    ):
        assert problem_code(call(dora, method, f"/{group['id']}{path}", body)) == "group-not-found"


def test_whom_she_blocked_can_take_it_back(kith, people, make, call, told):
    """Removing her looks as ever, and tells her nothing either."""
    anna, *_, dora = people
    put_in_touch(kith, [dora], anna, state=2)
    group = make(anna, dora)
    path = f"/{group['id']}/members/{dora.account_id}"
    removed = call(anna, "DELETE", path, query_string={"version": 1})
    assert (removed.status_code, dora.account_id in roles(removed.json)) == (200, False)
    assert UUID(dora.device_id) not in {device for device, _ in told}


def test_another_admin_invites_her_for_real(kith, people, make, call, invite):
    """Somebody she has not blocked may invite her to the same group; then she is told."""
    anna, ben, _, dora = people
    put_in_touch(kith, [dora], anna, state=2)
    group = make(anna, ben, dora)
    body = {"version": 1, "role": "admin"}
    group = call(anna, "PATCH", f"/{group['id']}/members/{ben.account_id}", body).json
    assert roles(invite(ben, group, dora).json)[dora.account_id] == INVITED
    assert [one["state"] for one in call(dora, "GET").json["groups"]] == ["invited"]


def test_invitations_that_wait_are_bounded(kith, people, make, call, monkeypatch):
    """When as many wait as may, the next looks the same to who invites, and is not told."""
    limit_groups(kith, monkeypatch, invitations=2)
    *_, dora = people
    groups = [make(stranger, dora) for stranger in settle(kith, 3)]
    assert [roles(group)[dora.account_id] for group in groups] == [INVITED] * 3
    assert len(call(dora, "GET").json["groups"]) == 2


def test_groups_an_account_is_in_are_bounded(kith, people, make, call, monkeypatch):
    """At the bound she is invited where she would have joined, and makes and accepts none herself."""
    limit_groups(kith, monkeypatch, joined=1)
    anna, ben, cleo, _ = people
    make(anna, ben)
    put_in_touch(kith, [ben], cleo)
    group = make(cleo, ben)
    assert roles(group)[ben.account_id] == INVITED
    for refused in (
        call(ben, "PUT", f"/{group['id']}/membership", {}),
        call(ben, "POST", body={"name": "His", "members": []}),
    ):
        assert (refused.status_code, problem_code(refused)) == (409, "too-many-groups")


def test_one_inviter_cannot_fill_what_waits(kith, people, make, call, monkeypatch):
    """After their share an inviter's next invitation is not told; another one's still is."""
    limit_groups(kith, monkeypatch, invitations_by_one=2)
    *_, dora = people
    first, second = settle(kith, 2)
    groups = [make(first, dora) for _ in range(3)]
    assert [roles(group)[dora.account_id] for group in groups] == [INVITED] * 3
    assert len(call(dora, "GET").json["groups"]) == 2
    make(second, dora)
    assert len(call(dora, "GET").json["groups"]) == 3
    call(dora, "DELETE", f"/{groups[0]['id']}/membership")
    make(first, dora)
    assert len(call(dora, "GET").json["groups"]) == 3
