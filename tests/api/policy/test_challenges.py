"""A solved challenge lets through once, for one number, and past nothing that is denied."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from sms.provider import Rejected, Unavailable
from tests.api.policy.conftest import Serve, Service, number
from tests.conftest import KEY, problem_code
from tests.policies import budget, solve, velocity
from verification.policy.models import SpentChallenge


def test_a_denial_decides_before_a_challenge(serve: Serve) -> None:
    """Whatever their order: no solution helps against it, and none is used up for it."""
    service = serve(velocity("network", 1), budget("country", 0.1))
    assert service.start(number(1)).status_code == 201
    asked = service.start(number(2))
    assert problem_code(asked) == "challenge-required"
    solution = solve(asked.json["challenge"])
    assert service.start(number(3), by="203.0.113.5").status_code == 201
    denied = service.start(number(2), challenge_solution=solution)
    assert problem_code(denied) == "sends-paused"
    assert service.rows(SpentChallenge) == []
    (row,) = (row for row in service.refusals() if row.verdict == "deny")
    verdicts = [finding["verdict"] for finding in json.loads(row.rule_results)]
    assert (verdicts, row.rule, row.solved) == (["challenge", "deny"], "budget/country", 1)
    service.clock.advance(days=1)
    assert service.start(number(2)).status_code == 201


def test_a_solved_challenge_lets_through_once(serve: Serve) -> None:
    """With the key of the refused request; and the same request again is answered, not sent."""
    service = serve(velocity("network", 1, over="challenge"))
    service.start()
    asked = service.start(number(2), key=KEY)
    assert problem_code(service.start(number(2), key=KEY)) == "challenge-required"
    solution = solve(asked.json["challenge"])
    solved = service.start(number(2), key=KEY, challenge_solution=solution)
    assert solved.status_code == 201
    again = service.start(number(2), key=KEY, challenge_solution=solution)
    assert (again.status_code, again.text) == (201, solved.text)
    assert len(service.providers[0].taken) == 2
    reused = service.start(number(2), challenge_solution=solution)
    assert problem_code(reused) == "challenge-rejected"
    without = service.start(number(2), key=KEY)
    assert problem_code(without) == "idempotency-key-reused"
    assert [row.solved for row in service.decisions() if row.verdict == "allow"].count(True) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda service, solution: {"challenge_solution": "bm9uc2Vuc2U="},
        lambda service, solution: {"phone_number": number(3), "challenge_solution": solution},
        lambda service, solution: (
            service.clock.advance(minutes=10) or {"challenge_solution": solution}
        ),
    ],
)
def test_what_is_no_solution(serve: Serve, spoil: Callable[[Service, str], dict[str, Any]]) -> None:
    """Nonsense, another number's or one that has expired leaves nothing behind, not even a decision."""
    service = serve(velocity("network", 1, over="challenge"))
    service.start()
    solution = solve(service.start(number(2)).json["challenge"])
    before = service.everything(), service.decisions(), service.refusals()
    fields = {"phone_number": number(2)} | spoil(service, solution)
    assert problem_code(service.start(**fields, key=KEY)) == "challenge-rejected"
    assert (service.everything(), service.decisions(), service.refusals()) == before


def test_a_solution_that_was_not_needed_is_kept(serve: Serve) -> None:
    """It lets through when it is."""
    service = serve(velocity("network", 1, over="challenge"))
    service.start()
    solution = solve(service.start(number(2)).json["challenge"])
    assert service.start(number(2), "203.0.113.5", challenge_solution=solution).status_code == 201
    assert service.rows(SpentChallenge) == []
    assert service.start(number(2), challenge_solution=solution).status_code == 201
    assert len(service.rows(SpentChallenge)) == 1


@pytest.mark.parametrize(
    ("fault", "again"), [(Unavailable(), "sent"), (Rejected("21211"), "challenge-rejected")]
)
def test_a_solution_of_a_send_that_failed(serve: Serve, fault: Exception, again: str) -> None:
    """When nobody was there it is good for the next try; a number that cannot receive cost it."""
    service = serve(velocity("network", 1, over="challenge"))
    service.start()
    solution = solve(service.start(number(2), key=KEY).json["challenge"])
    service.providers[0].faults = [fault]
    failed = service.start(number(2), key=KEY, challenge_solution=solution)
    assert failed.status_code in (422, 503)
    assert len(service.rows(SpentChallenge)) == (again != "sent")
    answer = service.start(number(2), key=KEY, challenge_solution=solution)
    assert (answer.status_code == 201) == (again == "sent")
    assert again == "sent" or problem_code(answer) == again
    assert len(service.rows(SpentChallenge)) == 1


def test_a_solved_send_that_failed_is_given_back(serve: Serve) -> None:
    """What came through over a limit leaves the bucket as full as it found it."""
    service = serve(velocity("network", 2, over="challenge"))
    for n in (1, 2):
        service.start(number(n))
    service.clock.advance(60)
    for n in (3, 4, 5):
        solution = solve(service.start(number(n)).json["challenge"])
        service.providers[0].faults = [Unavailable()] if n == 4 else []
        before = service.buckets()
        answer = service.start(number(n), challenge_solution=solution)
        assert answer.status_code == (503 if n == 4 else 201)
        if n == 4:
            assert service.buckets() == before
