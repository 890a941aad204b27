"""The Matrix door under requests that really run side by side, on both databases."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.camara import other_than
from tests.concurrency.test_verification import together
from tests.conftest import NUMBER, MakeApp
from tests.matrix import Homeserver, MatrixClient, fault, open_door


@pytest.fixture
def homeserver() -> Iterator[Homeserver]:
    """Run a homeserver on a free port."""
    with Homeserver() as fake:
        yield fake


def test_an_attempt_sends_once_however_often_it_comes(
    make_app: MakeApp, homeserver: Homeserver
) -> None:
    """Of 20 equal requests at once one sends, and all get its session."""
    alice = MatrixClient.register(open_door(make_app), homeserver)
    assert len(set(together(20, lambda _: alice.session()))) == 1
    assert len(alice.texts()) == 1


def test_sixty_wrong_tokens_judge_exactly_five(make_app: MakeApp, homeserver: Homeserver) -> None:
    """The others find the session over."""
    alice = MatrixClient.register(open_door(make_app), homeserver)
    sid = alice.session()
    wrong = other_than(alice.code())
    answers = together(60, lambda _: fault(alice.submit(sid, wrong)))
    assert Counter(answers) == {(400, "M_TOKEN_INCORRECT"): 5, (400, "M_SESSION_EXPIRED"): 55}


def test_a_homeservers_users_together_keep_to_its_ceiling(
    make_app: MakeApp, homeserver: Homeserver
) -> None:
    """Of 20 users who each ask for 10 numbers at once, exactly 7 pass a ceiling of 75."""
    app = open_door(
        make_app, discovery_burst=100, discovery_per_day=10, matrix_homeserver_ceiling=75
    )
    users = [MatrixClient.register(app, homeserver, f"user{n}") for n in range(20)]
    pepper = users[0].pepper()
    pages = [[f"+49151{n:06d}{place:02d}" for place in range(10)] for n in range(20)]
    answers = together(20, lambda n: users[n].look_up(pages[n], pepper).status_code)
    assert Counter(answers) == {200: 7, 429: 13}


def test_a_number_that_many_bind_leads_to_one(make_app: MakeApp, homeserver: Homeserver) -> None:
    """Bound and unbound at the same time by users who all proved it, it leads to one of them or to nobody."""
    app = open_door(make_app)
    users = [MatrixClient.register(app, homeserver, f"user{n}") for n in range(3)]
    sessions = []
    for user in users:
        app.extensions["kith"].clock.advance(1)
        sessions.append(user.validated(client_secret=user.user_id.partition(":")[0][1:]))
    threepid = {"medium": "msisdn", "address": NUMBER[1:]}

    def act(n: int) -> int:
        user, sid = users[n % 3], sessions[n % 3]
        if n % 2:
            body = {"mxid": user.user_id, "threepid": threepid}
            return user.post("/3pid/unbind", body).status_code
        secret = user.user_id.partition(":")[0][1:]
        return user.bind(sid, secret=secret).status_code

    assert Counter(together(24, act)) == {200: 24}
    found = users[0].found(NUMBER)
    assert found in ({}, *({NUMBER: user.user_id} for user in users))
