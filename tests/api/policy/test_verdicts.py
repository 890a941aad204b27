"""Who is let through, who is asked for a challenge and who is refused, and what each is told."""

import json
import re
from datetime import timedelta

import pytest

from tests.api.policy.conftest import BRITISH, FRENCH, HERE, Serve, number
from tests.conftest import problem_code
from tests.policies import budget, conversion, countries, solve, velocity
from verification.policy.refusals import RefusalKey

HALF_A_DAY = "43200"
SAME = [(number(1), HERE)] * 3
NUMBERS = [(number(n), HERE) for n in (1, 2, 3)]
AROUND = [(number(1), f"198.51.100.{n}") for n in (1, 2, 3)]
IPV6 = [(number(1), f"2001:db8:1:2::{n}") for n in (1, 2, 3)]
AROUND_IPV6 = [(number(1), f"2001:db8:1:{n}::1") for n in (1, 2, 3)]
ABROAD = [(number(1), HERE), (FRENCH, HERE), (BRITISH, HERE)]


@pytest.mark.parametrize(
    ("rule", "asked", "code", "status", "retry_after"),
    [
        (velocity("number-and-requester", 2), SAME, "too-many-sends", 429, HALF_A_DAY),
        (velocity("number", 2, over="challenge"), AROUND, "challenge-required", 428, None),
        (velocity("network", 2), NUMBERS, "challenge-required", 428, None),
        (velocity("network", 2), IPV6, "challenge-required", 428, None),
        (velocity("subnet", 2), AROUND, "challenge-required", 428, None),
        (velocity("subnet", 2), AROUND_IPV6, "challenge-required", 428, None),
        (velocity("prefix", 2, period="1h"), NUMBERS, "challenge-required", 428, None),
        (velocity("country", 2), NUMBERS, "challenge-required", 428, None),
        (countries(2), ABROAD, "challenge-required", 428, None),
        (conversion("prefix", 2, 9), NUMBERS, "challenge-required", 428, None),
        (conversion("country", 9, 2), NUMBERS, "challenge-required", 428, None),
        (conversion("country", 9, 2, lost_per_day=0.01), NUMBERS, "challenge-required", 428, None),
        (budget("total", 0.1), ABROAD, "sends-paused", 429, HALF_A_DAY),
        (budget("country", 0.1), NUMBERS, "sends-paused", 429, HALF_A_DAY),
        (budget("prefix", 0.1), NUMBERS, "sends-paused", 429, HALF_A_DAY),
        (budget("prefix", 0.2, reserve=0.5), NUMBERS, "challenge-required", 428, None),
    ],
)
def test_the_third_is_one_too_many(
    serve: Serve,
    rule: str,
    asked: list[tuple[str, str]],
    code: str,
    status: int,
    retry_after: str | None,
) -> None:
    """It is told why, when to come back, and which decision an operator may look up."""
    service = serve(rule)
    *allowed, refused = (service.start(number, by) for number, by in asked)
    assert [answer.status_code for answer in allowed] == [201, 201]
    assert (problem_code(refused), refused.status_code) == (code, status)
    assert refused.headers.get("Retry-After") == retry_after
    assert ("challenge" in refused.json) == (code == "challenge-required")
    assert [row.verdict for row in service.decisions()] == ["allow", "allow"]
    (row,) = service.refusals()
    verdict = "challenge" if status == 428 else "deny"
    assert (row.verdict, row.requests) == (verdict, 1)
    assert RefusalKey(row.subject, row.rule, row.minute).id == refused.json["decision"]
    (finding,) = json.loads(row.rule_results)
    assert (finding["rule"], finding["mode"]) == (row.rule, "enforce")
    assert finding["verdict"] != "allow"
    assert len(service.providers[0].taken) == 2


NUMBER_TYPE = '[[rules]]\nrule = "number-type"\ndeny = ["premium_rate", "mobile"]\n'
COUNTRY = '[[rules]]\nrule = "country"\ndeny = ["FR"]\n'
ONLY_FRANCE = '[[rules]]\nrule = "country"\nallow = ["FR"]\n'


@pytest.mark.parametrize(
    ("rule", "code", "status", "told"),
    [
        (NUMBER_TYPE, "phone-number-refused", 422, {"number_type": "mobile"}),
        (COUNTRY, "destination-refused", 403, {"country": "FR"}),
        (ONLY_FRANCE, None, 201, {}),
    ],
)
def test_where_nothing_is_sent(
    serve: Serve, rule: str, code: str | None, status: int, told: dict[str, str]
) -> None:
    """Whoever asks for it is told what of the number it is."""
    answer = serve(rule).start(FRENCH)
    assert answer.status_code == status
    if code:
        assert problem_code(answer) == code
        assert "Retry-After" not in answer.headers
        assert told.items() <= answer.json.items()


@pytest.mark.parametrize("by", ["198.51.101.7", "198.51.100.8"])
def test_other_networks_have_limits_of_their_own(serve: Serve, by: str) -> None:
    """One address is no other, and neither is the next /24."""
    service = serve(velocity("network", 1), velocity("subnet", 2))
    assert [service.start().status_code for _ in range(2)] == [201, 428]
    assert service.start(number(2), by).status_code == 201


def test_recording_rules_only_write_down(serve: Serve) -> None:
    """Nobody is refused, and every decision holds what would have been done."""
    mode = 'mode = "record"\n'
    service = serve(
        *(
            rule + mode
            for rule in (
                NUMBER_TYPE,
                COUNTRY,
                velocity("number-and-requester", 1),
                velocity("prefix", 1),
                countries(1),
                conversion("prefix", 0, 0),
                budget("total", 0.05),
            )
        )
    )
    assert [service.start(n).status_code for n in (number(1), number(1), FRENCH)] == [201] * 3
    rows = service.decisions()
    assert [(row.verdict, row.rule) for row in rows] == [("allow", None)] * 3
    found = [{f["rule"]: f["verdict"] for f in json.loads(row.rule_results)} for row in rows]
    minded = {name for one in found for name, verdict in one.items() if verdict != "allow"}
    assert minded == {
        "number-type",
        "country",
        "velocity/number-and-requester",
        "velocity/prefix",
        "countries",
        "conversion/prefix",
        "budget/total",
    }
    metrics = service.client.get("/metrics").text
    assert 'rule="budget/total",verdict="deny"' in re.sub(r'mode="record",', "", metrics)


#: What production asks for; the providers are scripted all the same.
SAFE = {
    "secret_key": "s" * 32,
    "sms_provider": ("twilio",),
    "twilio_account_sid": "AC" + "0" * 32,
    "twilio_auth_token": "token",
    "twilio_from": "+15005550006",
}


@pytest.mark.parametrize("environment", ["development", "production"])
def test_what_development_only_records(serve: Serve, environment: str) -> None:
    """A rule can be another in development."""
    rule = velocity("network", 1) + 'in_development = "record"\n'
    service = serve(rule, environment=environment, **SAFE)
    second = [service.start().status_code for _ in range(2)][1]
    assert second == (201 if environment == "development" else 428)


def test_strangers_never_use_up_what_is_the_owner_s(serve: Serve) -> None:
    """However many networks hammer her number, she has her five a day for a little work."""
    service = serve(velocity("number-and-requester", 5), velocity("number", 10, over="challenge"))
    answers = [service.start(by=f"203.0.{n}.5").status_code for n in range(25)]
    assert answers == [201] * 10 + [428] * 15
    for n in range(5):
        by = f"203.0.{n}.6"
        solution = solve(service.start(by=by).json["challenge"])
        assert service.start(by=by, challenge_solution=solution).status_code == 201
    for left in range(4, -1, -1):
        asked = service.start()
        assert problem_code(asked) == "challenge-required"
        answer = service.start(challenge_solution=solve(asked.json["challenge"]))
        assert answer.status_code == 201
        assert f"r={left};" in answer.headers["RateLimit"]
    assert problem_code(service.start()) == "too-many-sends"


def test_a_clock_set_back_reopens_nothing(serve: Serve) -> None:
    """Neither a bucket nor a budget nor what stayed unverified."""
    service = serve(velocity("network", 2), budget("country", 0.1), conversion("prefix", 2, 2))
    assert [service.start(number(n)).status_code for n in (1, 2)] == [201, 201]
    for back in (timedelta(hours=1), timedelta(days=40)):
        service.clock.now -= back
        refused = service.start(number(3))
        assert problem_code(refused) == "sends-paused"
        findings = json.loads(service.refusals()[0].rule_results)
        verdicts = [finding["verdict"] for finding in findings]
        assert verdicts == ["challenge", "deny", "challenge"]


def test_those_who_verify_earn_more(serve: Serve) -> None:
    """A verified number costs no trust, so that a prefix whose people verify goes on."""
    service = serve(conversion("prefix", 1, 1))
    for n in range(4):
        service.verify(number(n))
    assert service.traffic()["DE", "d"] == (4, 4)
    assert {counts for (_, span), counts in service.traffic().items() if span == "n"} == {(4, 4)}
    assert service.traffic()["+491511234", "h"] == (4, 4)
    assert all(row.verified_at == service.clock() for row in service.decisions())
