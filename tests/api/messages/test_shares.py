"""Who can fill how much of a mailbox: nobody takes the room that belongs to others."""

from uuid import UUID

import pytest
from sqlalchemy import func, select

from messaging.mailbox.models import Mailbox, MailboxShare
from tests.api.messages.conftest import numbers
from tests.conftest import problem_code

#: A stranger's tenth is two messages, half is ten.
ROOM = 20
OTHERS = [f"+491511234561{n}" for n in range(5)]


@pytest.fixture(autouse=True)
def room(bound):
    """Have mailboxes that are soon full."""
    bound(max_messages=ROOM)


@pytest.fixture
def stand(client):
    """Have one accept, block or forget another."""

    def stand(owner, peer, state):
        path = f"/v1/contacts/{peer.account_id}"
        answer = (
            client.put(path, json={"state": state}, headers=owner.headers)
            if state
            else client.delete(path, headers=owner.headers)
        )
        assert answer.status_code == 204

    return stand


@pytest.fixture
def fill(send):
    """Send so many messages until one is refused; give how many were taken."""

    def fill(to, sender, most=ROOM + 1, **changes):
        for sent in range(most):
            response = send(to, sender=sender, **changes)
            if response.status_code != 202:
                assert problem_code(response) == "mailbox-full"
                return sent
        return most

    return fill


def shares(app, device):
    """Give what is stored of the shares in a mailbox, and whether they are counted."""
    with app.extensions["kith"].runtime.database.read() as connection:
        box = connection.execute(
            select(Mailbox.has_shares).where(Mailbox.device_id == UUID(device.device_id))
        ).scalar_one()
        rows = connection.scalar(select(func.count()).select_from(MailboxShare))
    return box, rows


def test_strangers_fill_a_tenth_together(register, ben, fill, stand):
    """What strangers fill they fill together; whom one knows finds room all the same."""
    first, second, friend = (register(number) for number in OTHERS[:3])
    assert fill(ben, first) == 2
    assert fill(ben, second) == 0
    stand(ben, friend, "accepted")
    assert fill(ben, friend, 3) == 3


def test_one_who_is_known_fills_half(app, register, anna, ben, fill, stand, acknowledge):
    """Then another one finds as much, and one's own devices what is left."""
    other = register(OTHERS[0])
    for friend in (anna, other):
        stand(ben, friend, "accepted")
    assert fill(ben, other, 4) == 4
    assert shares(app, ben) == (False, 0)
    assert fill(ben, anna) == ROOM // 2
    assert shares(app, ben) == (True, 2)
    assert fill(ben, other, 6) == 6
    # What is acknowledged makes room for whose it was: the first five are four of the other's, one of hers.
    acknowledge(ben, 5)
    assert fill(ben, anna) == 1
    assert fill(ben, other) == 4


def test_shares_are_counted_while_much_waits(app, anna, ben, fill, stand, acknowledge):
    """When a quarter is left the counting ends, and begins again with what waits then."""
    stand(ben, anna, "accepted")
    assert fill(ben, anna) == ROOM // 2
    acknowledge(ben, 4)
    assert shares(app, ben) == (True, 1)
    acknowledge(ben, 5)
    assert shares(app, ben) == (False, 0)
    assert fill(ben, anna) == 5


def test_the_own_account_has_no_share(ben, link, send, anna, fill, stand):
    """Copies of what one wrote fill what others leave, to the last place."""
    second = link(ben)
    stand(ben, anna, "accepted")
    for _ in range(ROOM // 2):
        assert send(ben, ben, second).status_code == 202
    assert send(ben, second, sender=ben).status_code == 202
    assert send(ben, ben, second).status_code == 429
    for _ in range(ROOM // 2 - 1):
        assert send(ben, second, sender=ben).status_code == 202
    assert send(ben, second, sender=ben).status_code == 429


@pytest.mark.parametrize("known", [False, True])
def test_a_blocked_sender_is_refused_as_before(register, anna, ben, fill, stand, known):
    """Whose share is full is told so, blocked or not, and nobody learns of a block."""
    other = register(OTHERS[0])
    if known:
        stand(ben, anna, "accepted")
        assert fill(ben, anna) == ROOM // 2
    else:
        assert fill(ben, other) == 2
    stand(ben, anna, "blocked")
    assert fill(ben, anna, 1) == 0


def test_a_request_does_not_wait_for_ever(register, ben, send, fill, acknowledge, fetch):
    """An acknowledgement of strangers' messages makes room for strangers."""
    stranger = register(OTHERS[0])
    assert fill(ben, stranger) == 2
    acknowledge(ben, 1)
    assert fill(ben, stranger) == 1
    assert numbers(fetch(ben)) == [2, 3]


def test_devices_are_shown_with_what_waits(client, ben, send):
    """Whose mailbox fills up can be seen before it is full, also when it is renamed."""
    send(ben)
    (device,) = client.get("/v1/devices", headers=ben.headers).json["devices"]
    fill = {"messages": 1, "bytes": 5, "max_messages": ROOM}
    assert device["mailbox"].items() >= fill.items()
    path = f"/v1/devices/{ben.device_id}"
    renamed = client.patch(path, json={"name": "Phone"}, headers=ben.headers).json
    assert renamed["mailbox"] == device["mailbox"]
