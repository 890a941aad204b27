"""A block that is set while the account is deleted either is refused, or holds for the number."""

from collections.abc import Callable
from uuid import UUID

from flask_openapi3 import OpenAPI
from sqlalchemy import select

from messaging.contacts.blocked_numbers import peer_id_of_number
from messaging.contacts.models import Contact
from tests.concurrency.test_verification import together
from tests.conftest import Person
from tests.contract.openapi import ContractClient
from tests.people import settle

BLOCKERS = 20


def test_blocking_while_the_account_is_deleted(
    app: OpenAPI, client: ContractClient, register: Callable[..., Person]
) -> None:
    """Each of those who were answered 204 has blocked the number, and nobody else has anything."""
    kith, ben = app.extensions["kith"], register()
    people = settle(kith, BLOCKERS)

    def act(place: int) -> int:
        if place == BLOCKERS // 2:
            return int(app.test_client().delete("/v1/account", headers=ben.headers).status_code)
        person = people[place - (place > BLOCKERS // 2)]
        path, body = f"/v1/contacts/{ben.account_id}", {"state": "blocked"}
        return int(app.test_client().put(path, json=body, headers=person.headers).status_code)

    answers = together(BLOCKERS + 1, act)
    assert answers.pop(BLOCKERS // 2) == 204
    with kith.runtime.database.read() as connection:
        rows = connection.execute(select(Contact.account_id, Contact.peer_id, Contact.state)).all()
    number = peer_id_of_number(UUID(ben.account_id))
    blocked = {
        UUID(one.account_id) for one, answer in zip(people, answers, strict=True) if answer == 204
    }
    assert set(answers) <= {204, 404}
    assert {tuple(row) for row in rows} == {(account, number, 4) for account in blocked}


def test_forgetting_while_the_account_is_deleted(
    app: OpenAPI, client: ContractClient, register: Callable[..., Person]
) -> None:
    """Who forgot somebody blocks nobody afterwards, whichever came first, and neither waits in vain."""
    kith, ben = app.extensions["kith"], register()
    people = settle(kith, BLOCKERS)
    path = f"/v1/contacts/{ben.account_id}"
    for person in people:
        body = {"state": "blocked"}
        assert client.put(path, json=body, headers=person.headers).status_code == 204

    def act(place: int) -> int:
        if place == BLOCKERS // 2:
            return int(app.test_client().delete("/v1/account", headers=ben.headers).status_code)
        person = people[place - (place > BLOCKERS // 2)]
        return int(app.test_client().delete(path, headers=person.headers).status_code)

    assert together(BLOCKERS + 1, act) == [204] * (BLOCKERS + 1)
    with kith.runtime.database.read() as connection:
        assert connection.execute(select(Contact.state)).all() == []
