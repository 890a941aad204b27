"""The server secret is rotated under living verifications, limits and registrations."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import NUMBER, Clock, MakeApp, problem_code

OLD = {"secret_key": "o" * 32}
BOTH = {"secret_key": "n" * 32, "secret_key_previous": "o" * 32}
NEW = {"secret_key": "n" * 32}
KEY = {"Idempotency-Key": "a-key-that-nobody-else-has"}

Serve = Callable[[dict[str, str]], FlaskClient]


@pytest.fixture
def serve(make_app: MakeApp) -> Serve:
    """Start the service again with these secrets."""
    return lambda secrets: make_app(**secrets).test_client()


def start(client: FlaskClient, **request: Any) -> Any:
    """Ask for a code."""
    return client.post("/v1/verifications", json={"phone_number": NUMBER}, **request)


def send(client: FlaskClient, identity: str, **request: Any) -> Any:
    """Ask for the code again."""
    return client.post(f"/v1/verifications/{identity}/sends", json={}, **request)


def check(client: FlaskClient, identity: str, code: str) -> Any:
    """Send a guess."""
    return client.post(f"/v1/verifications/{identity}/checks", json={"code": code})


def texts(client: FlaskClient) -> list[str]:
    """List the number's texts, newest first."""
    messages = client.get("/dev/outbox.json", query_string={"to": NUMBER}).json
    return [message["body"] for message in messages["messages"]]


def wrong(code: str) -> str:
    """Give a code of the same length that is not it."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


def test_a_code_outlives_the_rotation(serve: Serve, clock: Clock) -> None:
    """Sent under the old secret it is sent again the same, and right, under the new one."""
    before = serve(OLD)
    started = start(before).json
    code = texts(before)[0][:6]
    during = serve(BOTH)
    assert during.get(f"/v1/verifications/{started['id']}").json == started
    assert problem_code(check(during, started["id"], wrong(code))) == "code-rejected"
    clock.advance(60)
    assert send(during, started["id"]).status_code == 201
    assert [text[:6] for text in texts(during)] == [code, code]
    assert check(during, started["id"], code).json["status"] == "verified"


def test_new_codes_are_of_the_new_secret(serve: Serve) -> None:
    """What is started while rotating is good when the old secret is gone."""
    during = serve(BOTH)
    identity = start(during).json["id"]
    after = serve(NEW)
    assert check(after, identity, texts(after)[0][:6]).status_code == 200


def test_sends_are_counted_on(serve: Serve) -> None:
    """A rotation hands nobody a second day's texts."""
    before = serve(OLD)
    assert [start(before).status_code for _ in range(3)] == [201] * 3
    during = serve(BOTH)
    answers = [start(during) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert problem_code(answers[-1]) == "too-many-sends"
    assert len(texts(during)) == 5


def test_an_old_verification_sends_on_the_same_count(serve: Serve, clock: Clock) -> None:
    """Texts of a verification from before and of one from after are counted together."""
    identity = start(serve(OLD)).json["id"]
    during = serve(BOTH)
    for _ in range(4):
        start(during)
    clock.advance(60)
    again = send(during, identity)
    assert again.status_code in (409, 429), again.text
    assert len(texts(during)) == 5


def test_an_older_verification_is_superseded(serve: Serve) -> None:
    """A new start cancels the verification from before the rotation that it names."""
    identity = start(serve(OLD)).json["id"]
    during = serve(BOTH)
    during.post("/v1/verifications", json={"phone_number": NUMBER, "supersedes": identity})
    assert during.get(f"/v1/verifications/{identity}").json["status"] == "canceled"


def guess(client: FlaskClient, times: int) -> list[str]:
    """Guess wrong at the number, five times an address; give the problem codes."""
    codes = []
    for n in range(times // 5):
        answer = start(client, environ_overrides={"REMOTE_ADDR": f"10.0.{times}.{n + 1}"})
        bad = wrong(texts(client)[0][: answer.json["code_length"]])
        codes += [problem_code(check(client, answer.json["id"], bad)) for _ in range(5)]
    return codes


def test_wrong_codes_are_counted_on(serve: Serve) -> None:
    """A guesser gets 25 at 6 digits over the rotation, not 25 on each side of it."""
    assert guess(serve(OLD), 15) == ["code-rejected"] * 15
    during = serve(BOTH)
    assert guess(during, 10) == ["code-rejected"] * 10
    assert start(during).json["code_length"] == 8


def test_a_guess_at_an_old_verification_counts(serve: Serve) -> None:
    """The wrong codes of a verification from before are the number's too."""
    before = serve(OLD)
    identity = start(before, environ_overrides={"REMOTE_ADDR": "10.9.9.9"}).json["id"]
    bad = wrong(texts(before)[0][:6])
    guess(before, 20)
    during = serve(BOTH)
    assert problem_code(check(during, identity, bad)) == "code-rejected"
    assert guess(during, 5) == ["code-rejected"] * 4 + ["longer-code-required"]


def test_a_start_repeated_over_the_rotation(serve: Serve) -> None:
    """The same idempotency key gets the same verification, and no second text."""
    first = start(serve(OLD), headers=KEY)
    during = serve(BOTH)
    again = start(during, headers=KEY)
    assert again.json["id"] == first.json["id"]
    assert len(texts(during)) == 1


def test_a_registration_repeated_over_the_rotation(serve: Serve) -> None:
    """The same idempotency key gets the same token as long as the secret before is accepted."""
    before = serve(OLD)
    identity = start(before).json["id"]
    check(before, identity, texts(before)[0][:6])
    body = {"verification_id": identity}
    first = before.post("/v1/registrations", json=body, headers=KEY)
    assert first.status_code == 201
    again = serve(BOTH).post("/v1/registrations", json=body, headers=KEY)
    assert (again.status_code, again.json) == (201, first.json)
    after = serve(NEW)
    late = after.post("/v1/registrations", json=body, headers=KEY)
    assert problem_code(late) == "verification-used"
    token = {"Authorization": f"Bearer {first.json['device_token']}"}
    assert after.get("/v1/account", headers=token).status_code == 200


def test_a_link_redeemed_again_over_the_rotation(serve: Serve) -> None:
    """A device that joined gets its token again."""
    before = serve(OLD)
    identity = start(before).json["id"]
    check(before, identity, texts(before)[0][:6])
    person = before.post("/v1/registrations", json={"verification_id": identity}).json
    token = {"Authorization": f"Bearer {person['device_token']}"}
    body = {"link_code": before.post("/v1/device-links", headers=token).json["link_code"]}
    first = before.post("/v1/device-links/redeem", json=body, headers=KEY)
    again = serve(BOTH).post("/v1/device-links/redeem", json=body, headers=KEY)
    assert (again.status_code, again.json) == (201, first.json)


def test_a_proof_outlives_the_secret(serve: Serve) -> None:
    """A verified number registers, whatever became of the secret it was proven under."""
    before = serve(OLD)
    identity = start(before).json["id"]
    check(before, identity, texts(before)[0][:6])
    done = serve(NEW).post("/v1/registrations", json={"verification_id": identity})
    assert done.status_code == 201


class TestWithoutThePrevious:
    """The old secret is gone at once, as when it leaked."""

    def test_an_old_code_is_wrong(self, serve: Serve) -> None:
        """It is shown, judged wrong and counted, canceled; and a new one may be started."""
        before = serve(OLD)
        identity = start(before).json["id"]
        code = texts(before)[0][:6]
        after = serve(NEW)
        path = f"/v1/verifications/{identity}"
        assert after.get(path).json["status"] == "pending"
        answers = [check(after, identity, code) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [422] * 5 + [429]
        assert after.delete(path).status_code == 204
        assert start(after).status_code == 201

    def test_an_old_code_is_not_sent_again(self, serve: Serve, clock: Clock) -> None:
        """A resend is refused, each time, at no cost, and its idempotency key is not used up."""
        identity = start(serve(OLD)).json["id"]
        after = serve(NEW)
        clock.advance(60)
        path = f"/v1/verifications/{identity}"
        shown = after.get(path).json
        for _ in range(2):
            answer = send(after, identity)
            assert problem_code(answer) == "verification-closed"
            assert after.get(path).json == shown
        assert [problem_code(send(after, identity, headers=KEY)) for _ in range(2)] == [
            "verification-closed"
        ] * 2
        assert len(texts(after)) == 1
