"""A day of guessing at one number: what is evaluated, and that its owner still gets in."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import select

from core.rate_limit_statements import RateLimitCounter
from tests.conftest import NUMBER, Clock, problem_code
from tests.contract.openapi import ContractClient
from tests.databases import objects

OWNER = {"REMOTE_ADDR": "198.51.100.7"}


def guess(client: ContractClient, address: str, code_of: Callable[[str], str]) -> list[Any]:
    """Start a verification from an address and use up its checks; give the answers."""
    started = client.post(
        "/v1/verifications",
        json={"phone_number": NUMBER},
        environ_overrides={"REMOTE_ADDR": address},
    )
    if started.status_code != 201:
        return [(0, started)]
    length = started.json["code_length"]
    code = code_of(NUMBER)
    wrong = f"{(int(code) + 1) % 10**length:0{length}d}"
    answers = []
    for _ in range(5):
        answer = client.post(
            f"/v1/verifications/{started.json['id']}/checks",
            json={"code": wrong},
            environ_overrides={"REMOTE_ADDR": address},
        )
        answers.append((length, answer))
    return answers


def newest_code(app: OpenAPI, number: str) -> str:
    """Read only the newest text: a hundred of them as JSON, a thousand times, would take minutes."""
    (message,) = app.extensions["kith"].sms.providers["outbox"].read(number, limit=1)
    found = re.search(r"\d{6,8}", message.body)
    assert found
    return found.group()


@pytest.mark.slow
def test_a_guesser_with_a_thousand_addresses(
    app: OpenAPI, client: ContractClient, clock: Clock
) -> None:
    """At most 25 guesses are evaluated at 6 digits, none past 2,500, and the owner gets in meanwhile."""
    judged = {6: 0, 8: 0}
    refused: dict[str, int] = {}
    owner_got_in = False
    for n in range(1000):
        clock.advance(86_000 / 1000)
        for length, answer in guess(
            client, f"10.0.{n // 250}.{n % 250 + 1}", partial(newest_code, app)
        ):
            code = problem_code(answer)
            if code == "code-rejected":
                judged[length] += 1
            else:
                refused[code] = refused.get(code, 0) + 1
        if n == 300:
            started = client.post(
                "/v1/verifications", json={"phone_number": NUMBER}, environ_overrides=OWNER
            )
            assert started.json["code_length"] == 8
            checked = client.post(
                f"/v1/verifications/{started.json['id']}/checks",
                json={"code": newest_code(app, NUMBER)},
            )
            owner_got_in = checked.status_code == 200
    assert judged == {6: 25, 8: 2475}
    assert owner_got_in
    assert set(refused) == {"too-many-wrong-codes"}
    clock.advance(86_400)
    fresh = client.post("/v1/verifications", json={"phone_number": NUMBER})
    assert fresh.json["code_length"] == 6


def test_codes_that_are_out_already_are_not_judged_past_the_bound(
    client: ContractClient, read_code: Callable[[str], str]
) -> None:
    """Verifications started before the 25th wrong code do not get 6-digit guesses past it."""
    ids = [
        client.post(
            "/v1/verifications",
            json={"phone_number": NUMBER},
            environ_overrides={"REMOTE_ADDR": f"10.0.0.{n + 1}"},
        ).json["id"]
        for n in range(10)
    ]
    outcomes = [
        problem_code(client.post(f"/v1/verifications/{i}/checks", json={"code": "000000"}))
        for i in ids
        for _ in range(5)
    ]
    assert outcomes.count("code-rejected") == 25
    assert outcomes.count("longer-code-required") == 25
    longer = client.post("/v1/verifications", json={"phone_number": NUMBER})
    assert longer.json["code_length"] == 8
    checked = client.post(
        f"/v1/verifications/{longer.json['id']}/checks", json={"code": read_code(NUMBER)}
    )
    assert checked.status_code == 200


def test_right_codes_do_not_count(
    client: ContractClient, verify: Callable[..., str], clock: Clock
) -> None:
    """Proving a number thirty times lengthens no code."""
    for n in range(30):
        verify(NUMBER, environ_overrides={"REMOTE_ADDR": f"10.0.0.{n + 1}"})
    started = client.post("/v1/verifications", json={"phone_number": NUMBER})
    assert started.json["code_length"] == 6


def test_a_number_that_is_guessed_out_waits(
    app: OpenAPI, client: ContractClient, clock: Clock
) -> None:
    """Past 2,500 wrong codes not even a code that was sent is evaluated; no check is spent, and it ends."""
    started = client.post("/v1/verifications", json={"phone_number": NUMBER}).json
    path = f"/v1/verifications/{started['id']}"
    code = newest_code(app, NUMBER)
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    assert problem_code(client.post(f"{path}/checks", json={"code": wrong})) == "code-rejected"
    with objects(app.extensions["kith"].runtime.database) as session:
        counter = session.scalars(select(RateLimitCounter).filter_by(name="wrong-codes")).one()
        counter.used = 2500
    clock.advance(100)
    refused = client.post(f"{path}/checks", json={"code": code})
    assert problem_code(refused) == "too-many-wrong-codes"
    assert refused.headers["Retry-After"] == str(86_400 - 100)
    assert client.get(path).json["checks_left"] == 4
    start = client.post("/v1/verifications", json={"phone_number": NUMBER})
    assert problem_code(start) == "too-many-wrong-codes"
    clock.advance(86_400 - 100)
    assert client.post("/v1/verifications", json={"phone_number": NUMBER}).status_code == 201
