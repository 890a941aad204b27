"""Two people who may know each other."""

import pytest

ANNA, BEN = "+4915112345601", "+4915112345602"


@pytest.fixture
def anna(register):
    """Who sets how she stands to others."""
    return register(ANNA)


@pytest.fixture
def ben(register):
    """Whom she may know."""
    return register(BEN)


@pytest.fixture
def put(client):
    """Let a person set how she stands to an account; give the response."""

    def put(person, account_id, state):
        path = f"/v1/contacts/{account_id}"
        return client.put(path, json={"state": state}, headers=person.headers)

    return put


@pytest.fixture
def forget(client):
    """Let a person forget an account; give the response."""

    def forget(person, account_id):
        return client.delete(f"/v1/contacts/{account_id}", headers=person.headers)

    return forget
