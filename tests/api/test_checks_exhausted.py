"""All guesses used: when a new verification can be started, as it is told and as it is."""

import re
from typing import Any

from tests.camara import OWN, Service, error, other_than
from tests.conftest import NUMBER, Clock, MakeApp, problem_code
from tests.contract.openapi import ContractClient
from tests.policies import velocity, write_policy


def start(client: ContractClient, number: str = NUMBER) -> Any:
    """Start a verification."""
    return client.post("/v1/verifications", json={"phone_number": number})


def exhaust(client: ContractClient, identity: str) -> Any:
    """Use up the guesses of a verification; give the answer to one more, which sends give too."""
    path = f"/v1/verifications/{identity}"
    (text, *_) = client.get("/dev/outbox.json").json["messages"]
    found = re.search(r"\d{6}", text["body"])
    assert found
    code = other_than(found[0])
    for _ in range(5):
        client.post(f"{path}/checks", json={"code": code})
    answer = client.post(f"{path}/checks", json={"code": code})
    again = client.post(f"{path}/sends", json={})
    assert problem_code(answer) == problem_code(again) == "checks-exhausted"
    assert answer.headers["Retry-After"] == again.headers["Retry-After"]
    assert answer.json["retry_after"] == int(answer.headers["Retry-After"])
    return answer


def test_at_once(client: ContractClient) -> None:
    """Where a start is taken at once it says 0, and the start is taken."""
    answer = exhaust(client, start(client).json["id"])
    assert answer.headers["Retry-After"] == "0"
    assert answer.json["detail"] == "All guesses are used; start a new verification."
    assert start(client).status_code == 201


def test_when_the_days_sends_are_used(client: ContractClient, clock: Clock) -> None:
    """Where the requester has none of the number's sends left it says when the next one is."""
    *_, last = (start(client).json["id"] for _ in range(5))
    answer = exhaust(client, last)
    wait = int(answer.headers["Retry-After"])
    assert (
        answer.json["detail"]
        == f"All guesses are used; start a new verification in {wait} seconds."
    )
    clock.advance(wait - 1)
    assert problem_code(start(client)) == "too-many-sends"
    clock.advance(1)
    assert start(client).status_code == 201


def test_what_only_asks_for_a_challenge_is_no_wait(make_app: MakeApp, tmp_path: Any) -> None:
    """Who solves it starts at once."""
    policy = write_policy(tmp_path, velocity("number-and-requester", 1, over="challenge"))
    client = make_app(policy_file=policy).test_client()
    answer = exhaust(client, start(client).json["id"])
    assert answer.headers["Retry-After"] == "0"
    assert problem_code(start(client)) == "challenge-required"


def test_a_test_number_whose_guesses_are_used(make_app: MakeApp, clock: Clock) -> None:
    """Its code does not get longer, so it waits for the next day, and is told so."""
    client = make_app(test_numbers="+14155550100=123456").test_client()
    for n in range(5):
        path = f"/v1/verifications/{start(client, '+14155550100').json['id']}/checks"
        for _ in range(5):
            client.post(path, json={"code": "654321"})
        clock.advance(60)
        wait = client.post(path, json={"code": "123456"}).headers["Retry-After"]
        assert wait == ("0" if n < 4 else str(86_400 - 300))
    clock.advance(86_400 - 301)
    assert problem_code(start(client, "+14155550100")) == "too-many-wrong-codes"
    clock.advance(1)
    assert start(client, "+14155550100").status_code == 201


def test_at_the_camara_door(make_app: MakeApp, clock: Clock) -> None:
    """A service is told by its own limit, which is the one that a new code waits for."""
    service = Service(make_app(camara_sends_per_day=2, camara_checks=1))
    for wait in ("0", "43200"):
        identity = service.sent()
        wrong = other_than(service.code())
        for _ in range(2):
            answer = service.validate(identity, wrong)
        assert error(answer) == (400, f"{OWN}VERIFICATION_FAILED")
        assert answer.headers["Retry-After"] == wait
    clock.advance(43_199)
    assert error(service.send()) == (403, f"{OWN}MAX_OTP_CODES_EXCEEDED")
    clock.advance(1)
    service.sent()
