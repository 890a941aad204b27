"""A budget pays what it holds, whoever asks at once, on both databases."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from flask_openapi3 import OpenAPI

from tests.api.discovery.conftest import made_up
from tests.concurrency.test_verification import together
from tests.conftest import Person, problem_code
from tests.contract.openapi import ContractClient


@pytest.fixture
def ask(
    app: OpenAPI, client: ContractClient, register: Callable[..., Person]
) -> Callable[[list[str]], Any]:
    """Look up hashes as one person, from any thread."""
    headers = register().headers
    epoch = client.get("/v1/discovery/parameters", headers=headers).json["epoch"]

    def ask(hashes: list[str]) -> Any:
        body = {"epoch": epoch, "hashes": hashes}
        return app.test_client().post("/v1/discovery/lookups", json=body, headers=headers)

    return ask


def test_forty_lookups_at_once_pass_exactly_what_the_budget_holds(
    ask: Callable[[list[str]], Any],
) -> None:
    """Of 40 pages of 100 new hashes each, 25 are answered and 15 refused whole."""
    answers = together(40, lambda n: ask(made_up(100, n * 100)))
    assert Counter(answer.status_code for answer in answers) == {200: 25, 429: 15}
    assert {problem_code(a) for a in answers if a.status_code == 429} == {"budget-exhausted"}
    left = [answer.json["budget"]["left"] for answer in answers if answer.status_code == 200]
    assert sorted(left) == list(range(0, 2_500, 100))
    assert problem_code(ask(made_up(1, 9_000))) == "budget-exhausted"


def test_one_request_forty_times_at_once_is_paid_once(ask: Callable[[list[str]], Any]) -> None:
    """A client that repeats before the first answer came pays nothing for it."""
    answers = together(40, lambda _: ask(made_up(1_000)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json["budget"]["left"] for answer in answers} == {1_500}
