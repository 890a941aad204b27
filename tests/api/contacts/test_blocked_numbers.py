"""Blocks and limits belong to the number: a new account of it is blocked, and has spent what was spent."""

from itertools import count
from uuid import UUID

import pytest
from sqlalchemy import func, select

from core.base64url import encode
from core.rate_limit_statements import RateLimitCounter
from core.secrets import Keyring
from messaging.contacts.models import Contact
from messaging.contacts.service import ContactState
from messaging.message_types import CloseCode
from tests.api.contacts.conftest import BEN
from tests.conftest import problem_code
from tokens.models import FormerNumber

NEW = "+4915112345603"
RECYCLED = 120
LIMITS = {"messages_to_new_recipient_per_day": 3, "new_recipients_per_day": 2}


@pytest.fixture
def app(make_app):
    """The application with room for few messages to strangers."""
    return make_app(**LIMITS)


@pytest.fixture
def send(client):
    """Send a message; give the response."""
    numbers = count()

    def send(sender, to):
        envelopes = [{"device_id": to.device_id, "content": encode(b"hello")}]
        body = {"to": to.account_id, "client_id": f"m{next(numbers)}", "envelopes": envelopes}
        return client.post("/v1/messages", json=body, headers=sender.headers)

    return send


@pytest.fixture
def arrives(client, send):
    """Say whether a message arrives; its sender is answered the same either way."""

    def arrives(sender, to):
        before = len(client.get("/v1/messages", headers=to.headers).json["messages"])
        assert send(sender, to).status_code == 202
        return len(client.get("/v1/messages", headers=to.headers).json["messages"]) > before

    return arrives


@pytest.fixture
def again(client, register):
    """Delete somebody's account and register the number anew."""

    def again(person):
        assert client.delete("/v1/account", headers=person.headers).status_code == 204
        new = register(person.phone_number)
        assert new.account_id != person.account_id
        return new

    return again


@pytest.fixture
def listed(client):
    """List the contacts of a person."""

    def listed(person):
        page = client.get("/v1/contacts", headers=person.headers).json
        return {one["account_id"]: one["state"] for one in page["contacts"]}

    return listed


@pytest.fixture
def rows(app):
    """Read the states in which an account stands to others, in the table."""

    def rows(person):
        query = select(Contact.state).where(Contact.account_id == UUID(person.account_id))
        with app.extensions["kith"].runtime.database.read() as connection:
            return sorted(ContactState(state) for state in connection.scalars(query))

    return rows


@pytest.mark.parametrize("before", ["stranger", "accepted"])
def test_a_new_account_of_a_blocked_number_is_blocked(
    put, arrives, again, listed, rows, anna, ben, before
):
    """However often, and whatever was between them before; nothing of it is listed."""
    if before == "accepted":
        put(anna, ben.account_id, "accepted")
    put(anna, ben.account_id, "blocked")
    for _ in range(3):
        ben = again(ben)
        assert not arrives(ben, anna)
        assert listed(anna) == {}
        assert rows(anna) == [ContactState.BLOCKED_NUMBER]


def test_a_block_of_the_new_account_goes_on_too(put, arrives, again, rows, anna, ben):
    """Blocked again and deleted again there is one row, and no way around it."""
    put(anna, ben.account_id, "blocked")
    ben = again(ben)
    put(anna, ben.account_id, "blocked")
    assert rows(anna) == [ContactState.BLOCKED, ContactState.BLOCKED_NUMBER]
    ben = again(ben)
    assert rows(anna) == [ContactState.BLOCKED_NUMBER]
    assert not arrives(ben, anna)


@pytest.mark.parametrize("which", ["the blocked one", "the one there is"])
def test_forgetting_ends_it(put, forget, arrives, again, rows, anna, ben, which):
    """By the account that was blocked, though it is gone, or by the next one of its number."""
    put(anna, ben.account_id, "blocked")
    new = again(again(ben))
    forget(anna, (ben if which == "the blocked one" else new).account_id)
    assert rows(anna) == []
    assert arrives(new, anna)


def test_forgetting_whom_one_blocked_last_ends_it(put, forget, arrives, again, rows, anna, ben):
    """Of several accounts of a number that were blocked, the last is known."""
    put(anna, ben.account_id, "blocked")
    second = again(ben)
    put(anna, second.account_id, "blocked")
    third = again(second)
    forget(anna, second.account_id)
    assert rows(anna) == []
    assert arrives(third, anna)


def test_accepting_the_new_account_ends_it(put, arrives, again, listed, anna, ben):
    """Then and for the accounts after it."""
    put(anna, ben.account_id, "blocked")
    ben = again(ben)
    put(anna, ben.account_id, "accepted")
    assert arrives(ben, anna)
    assert listed(anna) == {ben.account_id: "accepted"}
    assert arrives(again(ben), anna)


def test_writing_to_the_new_account_lets_it_answer(put, send, arrives, again, anna, ben):
    """Who writes to somebody hears what comes back."""
    put(anna, ben.account_id, "blocked")
    ben = again(ben)
    assert send(anna, ben).status_code == 202
    assert arrives(ben, anna)


def test_whom_nobody_blocked_is_not(put, arrives, again, rows, anna, ben):
    """What was accepted ends with the account: the next one is a stranger."""
    put(anna, ben.account_id, "accepted")
    ben = again(ben)
    assert rows(anna) == []
    assert arrives(ben, anna)


@pytest.fixture
def idle(client, anna, clock):
    """Let time pass in which nobody is seen but Anna."""

    def idle(**units):
        clock.advance(days=RECYCLED / 2)
        assert client.get("/v1/account", headers=anna.headers).status_code == 200
        clock.advance(days=RECYCLED / 2, **units)
        assert client.get("/v1/account", headers=anna.headers).status_code == 200

    return idle


@pytest.mark.parametrize("purged", [False, True])
def test_a_number_that_was_idle_is_a_new_persons(
    app, put, arrives, client, register, rows, anna, ben, idle, purged
):
    """120 days after it was last used, and not a second before, whether it was cleaned up or not."""
    kith = app.extensions["kith"]
    put(anna, ben.account_id, "blocked")
    client.delete("/v1/account", headers=ben.headers)
    idle(seconds=-1)
    assert kith.maintenance.run()["former numbers"] == 0
    ben = register(BEN)
    assert not arrives(ben, anna)
    client.delete("/v1/account", headers=ben.headers)
    idle()
    if purged:
        assert kith.maintenance.run()["former numbers"] == 1
        assert rows(anna) == []
    assert arrives(register(BEN), anna)
    assert rows(anna) == []
    with kith.runtime.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(FormerNumber)) == 0


def test_an_account_that_was_idle_owes_nothing(
    put, arrives, again, register, rows, anna, ben, idle
):
    """A number that led to an account all the time is recycled as well, with what it had from before."""
    put(anna, ben.account_id, "blocked")
    ben = again(ben)
    idle()
    assert rows(anna) == [ContactState.BLOCKED_NUMBER]
    assert arrives(register(BEN), anna)
    assert rows(anna) == []


class TestChangeOfNumber:
    """An account that moves to another number."""

    @pytest.fixture
    def move(self, client, verify):
        """Move somebody to another number."""

        def move(person, number):
            body = {"verification_id": verify(number)}
            changed = client.post("/v1/account/phone-number", json=body, headers=person.headers)
            assert changed.status_code == 200
            person.phone_number = number

        return move

    def test_it_stays_blocked_and_so_does_its_number(
        self, put, arrives, again, move, register, anna, ben
    ):
        """Neither the account at its new number gets through, nor a new one at the old, nor the next."""
        put(anna, ben.account_id, "blocked")
        move(ben, NEW)
        assert not arrives(ben, anna)
        assert not arrives(register(BEN), anna)
        assert not arrives(again(ben), anna)

    def test_it_takes_over_what_its_number_owes(
        self, put, arrives, move, client, register, anna, ben
    ):
        """A block of whoever had the number before, deleted or moved away from, holds for who moves there."""
        put(anna, ben.account_id, "blocked")
        client.delete("/v1/account", headers=ben.headers)
        cleo = register(NEW)
        assert arrives(cleo, anna)
        move(cleo, BEN)
        assert not arrives(cleo, anna)

    def test_it_takes_over_an_account_that_was_there(self, put, arrives, move, register, anna, ben):
        """Whoever had the number is gone, and the block on them holds."""
        put(anna, ben.account_id, "blocked")
        cleo = register(NEW)
        move(cleo, BEN)
        assert not arrives(cleo, anna)

    def test_sockets_connect_again(self, app, move, ben):
        """They are known by the number before until they do."""
        heard = []

        class Listener:
            """Who listens for the device."""

            def close(self, why):
                """Hear why it ends."""
                heard.append(why)

        registry = app.extensions["kith"].messaging.registry
        with registry.register(UUID(ben.device_id), Listener()):
            move(ben, NEW)
        assert heard == [CloseCode.NUMBER_CHANGED]


class TestLimits:
    """What was spent stays spent."""

    def test_messages_to_strangers(self, client, send, again, register, anna, ben):
        """To one of them, and to how many of them."""
        assert [send(ben, anna).status_code for _ in range(4)] == [202] * 3 + [429]
        ben = again(ben)
        refused = send(ben, anna)
        assert problem_code(refused) == "message-rate-limited"
        cleo, dora = register(NEW), register("+4915112345604")
        assert send(ben, cleo).status_code == 202
        assert send(again(ben), dora).status_code == 429

    def test_key_fetches(self, client, again, anna, ben):
        """Of one account ten times."""

        def take(taker):
            return client.get(f"/v1/keys/{anna.account_id}", headers=taker.headers).status_code

        assert [take(ben) for _ in range(6)] == [200] * 6
        ben = again(ben)
        assert [take(ben) for _ in range(5)] == [200] * 4 + [429]

    def test_invitations(self, client, app, again, register, anna, ben):
        """Of one person who has not answered as many as one inviter may, and of strangers a day's."""

        def invite(inviter):
            body = {"name": "Family", "members": [anna.account_id]}
            made = client.post("/v1/groups", json=body, headers=inviter.headers)
            return made.status_code

        assert [invite(ben) for _ in range(2)] == [201] * 2
        with app.extensions["kith"].runtime.database.read() as connection:
            before = _counters(connection)
        ben = again(ben)
        assert invite(ben) == 201
        with app.extensions["kith"].runtime.database.read() as connection:
            after = _counters(connection)
        assert before["group-invitations"] == 2
        assert after["group-invitations"] == 3
        assert after.keys() == before.keys()

    def test_blocked_numbers_are_not_told_of_invitations(self, client, put, again, anna, ben):
        """Whom one blocked cannot invite one from the next account either."""
        put(anna, ben.account_id, "blocked")
        ben = again(ben)
        body = {"name": "Family", "members": [anna.account_id]}
        assert client.post("/v1/groups", json=body, headers=ben.headers).status_code == 201
        assert client.get("/v1/groups", headers=anna.headers).json["groups"] == []


def _counters(connection):
    """Read what windows of groups hold, by name; a second subject of one name would be missed."""
    rows = connection.execute(
        select(RateLimitCounter.name, RateLimitCounter.used).where(
            RateLimitCounter.name.like("group%")
        )
    ).all()
    assert len({row.name for row in rows}) == len(rows)
    return {row.name: row.used for row in rows}


def test_a_change_of_the_secret_loses_no_block(client, put, anna, ben, register, arrives):
    """While the secret before is accepted, what was kept under it is found."""
    put(anna, ben.account_id, "blocked")
    client.delete("/v1/account", headers=ben.headers)
    kith = client.application.extensions["kith"]
    former_numbers = kith.tokens.accounts.former_numbers
    rotated = Keyring((b"another", *former_numbers.keyring.secrets))
    object.__setattr__(former_numbers, "keyring", rotated)
    assert not arrives(register(BEN), anna)
