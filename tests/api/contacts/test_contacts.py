"""Contacts: accepted, blocked, forgotten and listed."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select

from messaging.contacts.models import Contact
from messaging.contacts.service import ContactState
from tests.conftest import problem_code


@pytest.fixture
def contacts(client):
    """List the contacts of a person."""

    def contacts(person, **query):
        answer = client.get("/v1/contacts", query_string=query, headers=person.headers)
        assert answer.status_code == 200
        return answer.json

    return contacts


@pytest.fixture
def states(app):
    """Read how an account stands to others in the table."""

    def states(account_id):
        query = select(Contact.state).where(Contact.account_id == UUID(account_id))
        with app.extensions["kith"].runtime.database.read() as connection:
            return [ContactState(state) for state in connection.scalars(query)]

    return states


def test_one_accepts_blocks_and_forgets(put, forget, contacts, anna, ben, clock):
    """Each takes the place of what was before, and says since when."""
    assert contacts(anna) == {"contacts": [], "more": False}
    for state in ("accepted", "blocked", "accepted"):
        clock.advance(60)
        assert put(anna, ben.account_id, state).status_code == 204
        (contact,) = contacts(anna)["contacts"]
        assert (contact["account_id"], contact["state"]) == (ben.account_id, state)
        assert contact["since"] == clock.now.isoformat().replace("+00:00", "Z")
    assert contacts(ben)["contacts"] == []
    assert forget(anna, ben.account_id).status_code == 204
    assert contacts(anna)["contacts"] == []


@pytest.mark.parametrize("state", ["accepted", "blocked"])
def test_doing_it_again_changes_nothing(put, forget, contacts, anna, ben, clock, state):
    """Neither the state nor since when."""
    put(anna, ben.account_id, state)
    before = contacts(anna)
    clock.advance(60)
    assert put(anna, ben.account_id, state).status_code == 204
    assert contacts(anna) == before
    forget(anna, ben.account_id)
    assert forget(anna, ben.account_id).status_code == 204


def test_a_block_remembers_what_was_before(put, states, anna, ben):
    """However often it is set, so that the limits of who is blocked stay what they were."""
    put(anna, ben.account_id, "blocked")
    put(anna, ben.account_id, "blocked")
    assert states(anna.account_id) == [ContactState.BLOCKED]
    put(anna, ben.account_id, "accepted")
    put(anna, ben.account_id, "blocked")
    put(anna, ben.account_id, "blocked")
    assert states(anna.account_id) == [ContactState.BLOCKED_AFTER_ACCEPTED]


@pytest.mark.parametrize("account_id", [str(UUID(int=4)), "nobody", "0" * 64])
def test_an_account_that_is_not_there(put, contacts, anna, account_id):
    """It cannot be accepted or blocked, and nothing is stored."""
    for state in ("accepted", "blocked"):
        response = put(anna, account_id, state)
        assert (response.status_code, problem_code(response)) == (404, "account-not-found")
    assert contacts(anna)["contacts"] == []


def test_the_own_account(put, anna):
    """Nobody is her own contact."""
    response = put(anna, anna.account_id, "blocked")
    assert (response.status_code, problem_code(response)) == (422, "invalid-fields")


@pytest.mark.parametrize(
    "body", [{}, {"state": "muted"}, {"state": 1}, {"state": "blocked", "a": 1}]
)
def test_what_is_no_state(client, anna, ben, body):
    """Only accepted and blocked are."""
    path = f"/v1/contacts/{ben.account_id}"
    response = client.put(path, json=body, headers=anna.headers)
    assert (response.status_code, problem_code(response)) == (422, "invalid-fields")


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 1001}, {"after": "x"}, {"state": "muted"}]
)
def test_what_is_no_page(client, anna, query):
    """Every parameter has its bounds."""
    response = client.get("/v1/contacts", query_string=query, headers=anna.headers)
    assert (response.status_code, problem_code(response)) == (422, "invalid-fields")


def test_contacts_are_listed_by_page_and_state(app, contacts, anna):
    """In the order of their ids, each once."""
    peers = sorted(uuid4() for _ in range(7))
    with app.extensions["kith"].runtime.database.write() as connection:
        for place, peer in enumerate(peers):
            connection.execute(
                insert(Contact).values(
                    account_id=UUID(anna.account_id),
                    peer_id=peer,
                    state=ContactState(1 + place % 3),
                    since=app.extensions["kith"].runtime.clock(),
                )
            )
    listed, after = [], {}
    while True:
        page = contacts(anna, limit=3, **after)
        listed += page["contacts"]
        if not page["more"]:
            break
        after = {"after": listed[-1]["account_id"]}
    assert [contact["account_id"] for contact in listed] == [str(peer) for peer in peers]
    for state, places in (("accepted", (0, 3, 6)), ("blocked", (1, 2, 4, 5))):
        shown = contacts(anna, state=state)["contacts"]
        assert [contact["account_id"] for contact in shown] == [str(peers[at]) for at in places]
        assert {contact["state"] for contact in shown} == {state}


def test_so_many_and_no_more(app, put, forget, contacts, anna, ben, register, monkeypatch):
    """Of each state; what is there may still change, and one that is forgotten makes room."""
    monkeypatch.setattr(app.extensions["kith"].messaging.contacts, "max_contacts", 1)
    cleo, dora = register("+4915112345603"), register("+4915112345604")
    assert put(anna, ben.account_id, "blocked").status_code == 204
    response = put(anna, cleo.account_id, "blocked")
    assert (response.status_code, problem_code(response)) == (409, "too-many-contacts")
    assert put(anna, cleo.account_id, "accepted").status_code == 204
    assert put(anna, dora.account_id, "accepted").status_code == 409
    assert put(anna, ben.account_id, "blocked").status_code == 204
    assert len(contacts(anna)["contacts"]) == 2
    forget(anna, ben.account_id)
    assert put(anna, dora.account_id, "blocked").status_code == 204


def test_registering_again_keeps_contacts(put, contacts, register, anna, ben):
    """The same person has the same people, on her new device."""
    put(anna, ben.account_id, "blocked")
    again = register(anna.phone_number)
    assert again.reregistered
    assert [contact["state"] for contact in contacts(again)["contacts"]] == ["blocked"]


def test_a_number_in_new_hands_inherits_nothing(put, contacts, register, clock, anna, ben):
    """Neither whom the person before knew, nor what others thought of her."""
    put(anna, ben.account_id, "accepted")
    clock.advance(days=119)
    ben = register(ben.phone_number)
    put(ben, anna.account_id, "blocked")
    clock.advance(days=1)
    other = register(anna.phone_number)
    assert not other.reregistered
    assert contacts(other)["contacts"] == []
    assert contacts(ben)["contacts"] == []


def test_a_deleted_account_leaves_nothing(client, put, contacts, states, anna, ben):
    """Neither its own contacts nor itself among those of others."""
    put(anna, ben.account_id, "accepted")
    put(ben, anna.account_id, "blocked")
    client.delete("/v1/account", headers=anna.headers)
    assert states(anna.account_id) == []
    assert contacts(ben)["contacts"] == []
    assert problem_code(put(ben, anna.account_id, "blocked")) == "account-not-found"
