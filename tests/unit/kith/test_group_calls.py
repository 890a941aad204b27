"""Each call about groups sends what the API takes and returns what it answers."""

import httpx
import pytest

from kith import Group, GroupDevice, GroupMember, Kith, KithUnreachable
from kith.problems import AccountsUnknown, GroupChanged, GroupNotFound
from tests.unit.kith.canned import Script, ok, problem

PATH = "/v1/groups/g1"
MEMBER = {"account_id": "a1", "role": "admin", "state": "joined"}
GROUP = {"id": "g1", "name": "Family", "version": 3, "members": [MEMBER]}


def test_a_group_is_made_under_one_key(client: Kith, script: Script) -> None:
    """A repeated creation carries the same Idempotency-Key, so it makes one group."""
    script.on("POST /v1/groups", httpx.ConnectError("lost"), ok(GROUP, 201))

    group = client.create_group("Family", ["a2", "a3"])

    assert group == Group("g1", "Family", 3, (GroupMember("a1", "admin", "joined"),))
    assert script.bodies("POST /v1/groups") == [{"name": "Family", "members": ["a2", "a3"]}] * 2
    first, second = (request.headers["Idempotency-Key"] for request in script.requests)
    assert first == second


def test_groups_are_listed_by_page(client: Kith, script: Script) -> None:
    """A page asks for what follows after an id, and says whether more does."""
    summary = {"id": "g1", "name": "F", "version": 3, "role": "member", "state": "invited"}
    script.on("GET /v1/groups", ok({"groups": [summary], "more": True}))

    page = client.groups(after="g0", limit=1)
    client.groups()

    assert (page.groups[0].state, page.more) == ("invited", True)
    first, second = (dict(request.url.params) for request in script.requests)
    assert first == {"after": "g0", "limit": "1"}
    assert second == {"limit": "100"}


def test_changes_name_their_version(client: Kith, script: Script) -> None:
    """Renaming, inviting, roles and removing say which version of the group they are for."""
    script.on(f"GET {PATH}", ok(GROUP))
    script.on(f"PATCH {PATH}", ok(GROUP))
    script.on(f"POST {PATH}/members", ok(GROUP))
    script.on(f"PATCH {PATH}/members/a2", ok(GROUP))
    script.on(f"DELETE {PATH}/members/a2", ok(GROUP))
    script.on(f"PUT {PATH}/membership", ok(GROUP))

    answers = [
        client.group("g1"),
        client.rename_group("g1", 2, "Family"),
        client.invite("g1", 2, ["a2"]),
        client.set_role("g1", 2, "a2", "admin"),
        client.remove_member("g1", 2, "a2"),
        client.accept_invitation("g1"),
    ]

    assert {answer.version for answer in answers} == {3}
    assert script.bodies(f"PATCH {PATH}") == [{"version": 2, "name": "Family"}]
    assert script.bodies(f"POST {PATH}/members") == [{"version": 2, "account_ids": ["a2"]}]
    assert script.bodies(f"PATCH {PATH}/members/a2") == [{"version": 2, "role": "admin"}]
    assert script.sent(f"DELETE {PATH}/members/a2")[0].url.params["version"] == "2"
    assert script.bodies(f"PUT {PATH}/membership") == [{}]


def test_a_change_is_not_repeated(client: Kith, script: Script) -> None:
    """After a lost answer the caller looks at the group, whose version the change made anew."""
    script.on(f"PATCH {PATH}", httpx.ReadError("lost"), ok(GROUP))

    with pytest.raises(KithUnreachable):
        client.rename_group("g1", 2, "Family")
    assert len(script.requests) == 1


def test_leaving_is_done_when_it_was(client: Kith, script: Script) -> None:
    """Who left, and did not hear of it, is no member when she asks again."""
    line = f"DELETE {PATH}/members/a1"
    script.on(line, httpx.ReadError("lost"), problem("group-not-found", 404))
    client.leave_group("g1", "a1")

    script.on(line, problem("group-not-found", 404))
    with pytest.raises(GroupNotFound):
        client.leave_group("g1", "a1")


def test_devices_come_with_their_digest(client: Kith, script: Script) -> None:
    """A device without keys has no registration id, and the digest is bytes."""
    devices = [
        {"account_id": "a1", "device_id": "d1", "registration_id": 7},
        {"account_id": "a2", "device_id": "d2", "registration_id": None},
    ]
    script.on(f"GET {PATH}/devices", ok({"version": 3, "devices": devices, "digest": "_-8"}))

    found = client.group_devices("g1")

    assert found.devices == (GroupDevice("a1", "d1", 7), GroupDevice("a2", "d2", None))
    assert (found.version, found.digest) == (3, b"\xff\xef")


def test_refusals_carry_what_to_do_next(client: Kith, script: Script) -> None:
    """The loser learns the current version, and who was named in vain."""
    script.on(f"PATCH {PATH}", problem("group-changed", 409, version=5))
    script.on("POST /v1/groups", problem("accounts-unknown", 422, unknown=["a9"]))

    with pytest.raises(GroupChanged) as changed:
        client.rename_group("g1", 2, "Family")
    with pytest.raises(AccountsUnknown) as refused:
        client.create_group("Family", ["a9"])
    assert changed.value.version == 5
    assert refused.value.unknown == ("a9",)
