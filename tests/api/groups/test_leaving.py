"""Members leave, and a group that has members has an admin."""

from uuid import UUID

import pytest

from messaging.groups.models import Group, GroupMember, Membership
from tests.api.groups.conftest import ADMIN, MEMBER, roles
from tests.conftest import problem_code
from tests.people import put_in_touch, settle


@pytest.fixture
def leave(call):
    """Leave a group."""

    def leave(who, group):
        response = call(who, "DELETE", f"/{group['id']}/members/{who.account_id}")
        assert (response.status_code, response.data) == (204, b""), response.text

    return leave


@pytest.fixture
def rows(kith):
    """Count what is stored of groups."""

    def rows():
        with kith.runtime.database.read() as connection:
            return [
                len(connection.execute(model.__table__.select()).all())
                for model in (Group, GroupMember, Membership)
            ]

    return rows


def test_who_leaves_is_gone(people, make, leave, call, told):
    """The others are told the next version, and her own devices too."""
    anna, ben, *_ = people
    group = make(*people)
    told.clear()
    leave(ben, group)
    after = call(anna, "GET", f"/{group['id']}").json
    assert (after["version"], ben.account_id in roles(after)) == (2, False)
    assert problem_code(call(ben, "GET", f"/{group['id']}")) == "group-not-found"
    assert {device for device, _ in told} == {UUID(who.device_id) for who in people}


def test_after_the_last_admin_the_longest_member_is_one(people, make, leave, call, clock):
    """Who joined first becomes the admin, whoever was invited before that."""
    anna, ben, cleo, dora = people
    group = make(anna, dora)
    for who in (cleo, ben):
        clock.advance(60)
        group = call(
            anna,
            "POST",
            f"/{group['id']}/members",
            {"version": group["version"], "account_ids": [who.account_id]},
        ).json
    clock.advance(60)
    call(dora, "PUT", f"/{group['id']}/membership", {})
    leave(anna, group)
    after = call(ben, "GET", f"/{group['id']}").json
    assert roles(after) == {
        cleo.account_id: ADMIN,
        ben.account_id: MEMBER,
        dora.account_id: MEMBER,
    }


def test_while_there_is_another_admin_nobody_becomes_one(people, make, leave, call):
    """The role is passed on only when it would be lost."""
    anna, ben, cleo, _ = people
    group = make(*people)
    path = f"/{group['id']}/members/{cleo.account_id}"
    call(anna, "PATCH", path, {"version": 1, "role": "admin"})
    leave(anna, group)
    after = roles(call(ben, "GET", f"/{group['id']}").json)
    assert (after[ben.account_id], after[cleo.account_id]) == (MEMBER, ADMIN)


def test_after_the_last_member_the_group_is_gone(people, make, leave, call, rows):
    """Invitations go with it, and nothing of it is left."""
    anna, *_, dora = people
    group = make(anna, dora)
    leave(anna, group)
    assert call(dora, "GET").json["groups"] == []
    assert problem_code(call(dora, "PUT", f"/{group['id']}/membership", {})) == "group-not-found"
    assert rows() == [0, 0, 0]


def test_a_deleted_account_leaves_its_groups(kith, people, make, client, call, rows):
    """Each passes on what only she was: admins, and groups of nobody else are gone."""
    anna, ben, *_, dora = people
    put_in_touch(kith, [dora], ben, state=2)
    shared, alone = make(anna, ben), make(anna, dora)
    make(ben, dora)
    for who in (anna, dora):
        assert client.delete("/v1/account", headers=who.headers).status_code == 204
    after = call(ben, "GET", f"/{shared['id']}").json
    assert (after["version"], roles(after)) == (2, {ben.account_id: ADMIN})
    assert alone["id"] not in {one["id"] for one in call(ben, "GET").json["groups"]}
    assert rows() == [2, 2, 2]


def test_who_registers_again_stays_in_her_groups(register, kith, make, call, client):
    """The account is the same, so is what it is in; its new device is found."""
    before = register()
    friend = settle(kith, 1)[0]
    put_in_touch(kith, [friend], before)
    group = make(before, friend)
    after = register()
    assert after.reregistered
    assert call(after, "GET", f"/{group['id']}").json == group
    devices = call(friend, "GET", f"/{group['id']}/devices").json["devices"]
    assert [device["device_id"] for device in devices] == [after.device_id]


def test_who_has_a_recycled_number_is_in_no_group(register, kith, make, call, clock):
    """After 120 idle days the number is another person's, who inherits nothing."""
    before = register()
    friend = settle(kith, 1)[0]
    put_in_touch(kith, [friend], before)
    group = make(before, friend)
    clock.advance(days=121)
    after = register()
    assert after.account_id != before.account_id
    assert call(after, "GET").json["groups"] == []
    assert roles(call(friend, "GET", f"/{group['id']}").json) == {friend.account_id: ADMIN}
