"""The Matrix adapter under requests that really run side by side, on both databases."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.camara import other_than
from tests.concurrency.test_verification import together
from tests.conftest import NUMBER, MakeApp
from tests.matrix import Homeserver, MatrixClient, fault, make_matrix_app


@pytest.fixture
def homeserver() -> Iterator[Homeserver]:
    """Run a homeserver on a free port."""
    with Homeserver() as fake:
        yield fake


def test_an_attempt_sends_once_however_often_it_comes(
    make_app: MakeApp, homeserver: Homeserver
) -> None:
    """Of 20 equal requests at once one sends, and all get its session."""
    alice = MatrixClient.register(make_matrix_app(make_app), homeserver)
    assert len(set(together(20, lambda _: alice.session()))) == 1
    assert len(alice.texts()) == 1


def test_sixty_wrong_tokens_judge_exactly_five(make_app: MakeApp, homeserver: Homeserver) -> None:
    """The others find the session over."""
    alice = MatrixClient.register(make_matrix_app(make_app), homeserver)
    sid = alice.session()
    wrong = other_than(alice.code())
    answers = together(60, lambda _: fault(alice.submit(sid, wrong)))
    assert Counter(answers) == {(400, "M_TOKEN_INCORRECT"): 5, (400, "M_SESSION_EXPIRED"): 55}


def test_a_homeservers_users_together_keep_to_its_daily_limit(
    make_app: MakeApp, homeserver: Homeserver
) -> None:
    """Of 60 pages of 3 numbers, asked for at once by 20 users from networks far apart, 25 pass one of 75."""
    app = make_matrix_app(
        make_app, discovery_burst=100, discovery_per_day=10, matrix_homeserver_lookups_per_day=75
    )
    users = [MatrixClient.register(app, homeserver, f"user{n}") for n in range(20)]
    pepper = users[0].pepper()
    pages = [[f"+49151{n:06d}{place:02d}" for place in range(3)] for n in range(60)]

    def look_up(n: int) -> int:
        return users[n % 20].look_up(pages[n], pepper, f"198.51.{n % 20}.1").status_code

    assert Counter(together(60, look_up)) == {200: 25, 429: 35}


def test_users_of_one_network_share_a_tenth(make_app: MakeApp, homeserver: Homeserver) -> None:
    """Of 60 pages of 3 numbers, asked for at once by 12 users from one address, 3 pass a tenth of 100."""
    app = make_matrix_app(make_app, discovery_burst=100, discovery_per_day=10)
    users = [MatrixClient.register(app, homeserver, f"user{n}") for n in range(12)]
    pepper = users[0].pepper()
    pages = [[f"+49151{n:06d}{place:02d}" for place in range(3)] for n in range(60)]
    answers = together(60, lambda n: users[n % 12].look_up(pages[n], pepper).status_code)
    assert Counter(answers) == {200: 3, 429: 57}


def test_a_number_that_many_prove_is_bound_by_one(
    make_app: MakeApp, homeserver: Homeserver
) -> None:
    """Of users who prove it at once one binds it, however often all of them try."""
    app = make_matrix_app(make_app)
    users = [MatrixClient.register(app, homeserver, f"user{n}") for n in range(5)]
    sessions = []
    for n, user in enumerate(users):
        app.extensions["kith"].runtime.clock.advance(1)
        secret = f"secret{n}"
        body = {"client_secret": secret, "country": "DE", "phone_number": NUMBER, "send_attempt": 1}
        answer = user.post("/validate/msisdn/requestToken", body)
        sessions.append((user, secret, answer.json["sid"], user.code()))

    def submit(n: int) -> int:
        user, secret, sid, code = sessions[n]
        return user.submit(sid, code, secret).status_code

    assert together(5, submit) == [200] * 5

    def bind(n: int) -> tuple[str, int]:
        user, secret, sid, _ = sessions[n % 5]
        return user.user_id, user.bind(sid, secret=secret).status_code

    answers = Counter(together(60, bind))
    bound = [user_id for user_id, status in answers if status == 200]
    assert len(bound) == 1
    assert answers == {(u.user_id, 200 if u.user_id in bound else 400): 12 for u in users}
    assert users[0].found(NUMBER) == {NUMBER: bound[0]}
