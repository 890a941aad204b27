"""Four people, of whom some are in touch, and what they do with groups."""

import pytest

from tests.people import put_in_touch, settle


@pytest.fixture
def kith(app):
    """The services of the application."""
    return app.extensions["kith"]


@pytest.fixture
def people(kith):
    """Anna, whom Ben and Cleo have accepted, and Dora, who does not know her."""
    anna, ben, cleo, dora = settle(kith, 4)
    put_in_touch(kith, [ben, cleo], anna)
    return anna, ben, cleo, dora


@pytest.fixture
def call(client):
    """Make a request as somebody; give the response."""

    def call(who, method, path="", body=None, **request):
        headers = who.headers | request.pop("headers", {})
        return client.open(
            f"/v1/groups{path}", method=method, json=body, headers=headers, **request
        )

    return call


@pytest.fixture
def make(call):
    """Make a group of somebody with others; give it."""

    def make(maker, *others, name="Family"):
        body = {"name": name, "members": [other.account_id for other in others]}
        response = call(maker, "POST", body=body)
        assert response.status_code == 201, response.text
        return response.json

    return make


@pytest.fixture
def told(kith, monkeypatch):
    """What devices were told of groups, in a list that grows."""
    heard = []
    monkeypatch.setattr(
        kith.messaging.groups.notices,
        "send_notice",
        lambda device_id, notice: heard.append((device_id, notice)),
    )
    return heard


def roles(group):
    """Give what each account of a group is in it."""
    return {one["account_id"]: (one["role"], one["state"]) for one in group["members"]}


ADMIN, MEMBER, INVITED = ("admin", "joined"), ("member", "joined"), ("member", "invited")
