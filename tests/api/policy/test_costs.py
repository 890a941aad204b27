"""What a text costs is reserved, given back or spent to the last millionth."""

from typing import Any

import pytest

from sms.provider import Ambiguous, Blocked, Rejected, Unavailable
from tests.api.policy.conftest import Serve, number
from tests.conftest import problem_code
from tests.policies import budget, conversion, solve, velocity

#: Every kind of velocity, none of which is ever full here.
ROOMY = [
    velocity(of, 1000)
    for of in ("number-and-requester", "number", "network", "subnet", "prefix", "country")
]


def test_resends_are_judged_and_cost(serve: Serve) -> None:
    """A resend counts and is paid for like a start; what is refused keeps its place in the schedule."""
    service = serve(velocity("network", 2, over="challenge"), budget("total", 0.15))
    identity = service.start().json["id"]
    path = f"/v1/verifications/{identity}"
    service.clock.advance(60)
    assert service.again(identity).status_code == 201
    assert service.money()["money-total"] == 100_000
    service.clock.advance(120)
    before = service.client.get(path).json
    asked = service.again(identity, key="key")
    assert problem_code(asked) == "challenge-required"
    assert service.client.get(path).json == before
    solution = solve(asked.json["challenge"])
    assert service.again(identity, key="key", challenge_solution=solution).status_code == 201
    service.clock.advance(300)
    service.clock.now = service.clock.now.replace(minute=9)
    assert problem_code(service.again(identity, channel="voice")) == "sends-paused"
    resends = [row.resend for row in service.decisions() if row.verdict == "allow"]
    assert resends == [False, True, True]
    assert service.traffic()["DE", "d"] == (3, 0)


REFUSING = [
    '[[rules]]\nrule = "number-type"\ndeny = ["mobile"]\n',
    '[[rules]]\nrule = "country"\ndeny = ["DE"]\n',
    velocity("number-and-requester", 1),
    velocity("number", 1, over="challenge"),
    velocity("network", 1),
    velocity("country", 1, over="challenge"),
    conversion("country", 1, 1),
    conversion("prefix", 1, 1, lost_per_day=0.0),
    budget("total", 0.05),
    budget("prefix", 0.01),
]


@pytest.mark.parametrize("rule", REFUSING)
def test_a_refused_start_leaves_its_refusal_and_nothing_else(serve: Serve, rule: str) -> None:
    """No verification, no send, no key, and no counter is another."""
    others = (other for other in ROOMY if other.splitlines()[1:3] != rule.splitlines()[1:3])
    service = serve(rule, *others)
    service.start()
    before, decided = service.everything(), service.decisions()
    refused = sum(row.requests for row in service.refusals())
    assert service.start(key="key").status_code in (403, 422, 428, 429)
    assert service.everything() == before
    assert service.decisions() == decided
    assert sum(row.requests for row in service.refusals()) == refused + 1


FAULTS: list[tuple[Exception, bool]] = [
    (Unavailable(), False),
    (Rejected("21211"), True),
    (Blocked("21408"), True),
]


@pytest.mark.parametrize(("fault", "asked_for"), FAULTS)
def test_a_send_that_failed_is_given_back(serve: Serve, fault: Exception, asked_for: bool) -> None:
    """Money and traffic to the last millionth; that it was asked for only when nobody was there."""
    service = serve(*ROOMY, budget("total", 9.0))
    service.start()
    service.clock.advance(7)
    before = service.buckets(), service.money(), service.traffic()
    service.providers[0].faults = [fault, fault]
    assert service.start().status_code >= 400
    assert (service.money(), service.traffic()) == before[1:]
    assert (service.buckets() == before[0]) != asked_for
    assert service.start(number(2), by="203.0.113.5").status_code >= 400
    assert (service.money(), service.traffic()) == before[1:]
    assert (service.buckets() == before[0]) != asked_for
    assert service.money()["money-total"] == service.paid()


@pytest.mark.parametrize("fault", [Ambiguous("timeout"), RuntimeError("bug")])
def test_a_send_that_may_have_happened_stays_counted(serve: Serve, fault: Exception) -> None:
    """It may have cost something."""
    service = serve(*ROOMY, budget("total", 9.0))
    service.providers[0].faults = [fault]
    assert service.start().status_code == 201
    assert set(service.money().values()) == {50_000}
    assert service.traffic()["DE", "h"] == (1, 0)
    assert len(service.buckets()) == 6


@pytest.mark.parametrize("second_price", [0.03, 0.05, 0.07])
def test_who_sent_it_in_the_end_is_paid(serve: Serve, second_price: float) -> None:
    """The dearest is reserved, and what the one that took it costs is spent."""
    service = serve(budget("total", 9.0), second_price=second_price)
    one, two = service.providers
    assert service.start(number(1)).status_code == 201
    assert set(service.money().values()) == {50_000}
    one.faults = [Unavailable()]
    assert service.start(number(2)).status_code == 201
    assert (len(one.taken), len(two.taken)) == (1, 1)
    assert set(service.money().values()) == {50_000 + round(second_price * 1_000_000)}
    reserved = {row.price_micros for row in service.decisions()}
    assert reserved == {max(50_000, round(second_price * 1_000_000))}
    assert service.money()["money-total"] == service.paid()
    one.faults, two.faults = [Unavailable()], [Unavailable()]
    assert service.start(number(3)).status_code == 503
    assert service.money()["money-total"] == service.paid()


def test_a_budget_holds_the_dearest_price(serve: Serve) -> None:
    """What a failover might cost must fit, though the first is cheap."""
    service = serve(budget("total", 0.1), second_price=0.07)
    assert [service.start(number(n)).status_code for n in (1, 2)] == [201, 429]


def test_money_is_a_day_s(serve: Serve) -> None:
    """At midnight UTC there is new, and what a send of yesterday cost is yesterday's."""
    service = serve(budget("total", 0.05))
    assert [service.start(number(n)).status_code for n in (1, 2)] == [201, 429]
    service.clock.now = service.clock.now.replace(hour=23, minute=59, second=59)
    late = service.start(number(2))
    assert (late.status_code, late.headers["Retry-After"]) == (429, "1")
    service.clock.advance(1)

    def past_midnight(message: Any) -> None:
        service.clock.advance(days=1)

    service.providers[0].before_answer = past_midnight
    service.providers[0].faults = [Unavailable()]
    assert service.start(number(2)).status_code == 503
    service.providers[0].before_answer = lambda message: None
    assert [service.start(number(n)).status_code for n in (3, 4)] == [201, 429]
