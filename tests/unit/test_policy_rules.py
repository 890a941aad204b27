"""The rules of the policy: what each says of the facts, exactly at its limits and just over them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from core.phone_numbers import PhoneNumberRefused
from tests.conftest import Clock
from verification.policy.conversion import ConversionRule, UnverifiedAllowance
from verification.policy.facts import Facts, RecentTraffic, SendAttempt, SpanTraffic
from verification.policy.ranges import Range, RangeRule
from verification.policy.rules import (
    BudgetRule,
    CountriesRule,
    CountryRule,
    NumberTypeRule,
    RuleResult,
    VelocityRule,
)
from verification.problems import DestinationRefused, SendsPaused, TooManySends

ATTEMPT = SendAttempt(
    number_digest=b"n" * 16,
    verification_nonce=b"v" * 16,
    network=b"w" * 16,
    subnet=b"x" * 16,
    country="DE",
    prefix="+4915112",
    number_type="mobile",
    channel="sms",
    resend=False,
    solved=False,
    at=Clock.now,
    price_micros=50_000,
)
QUIET = SpanTraffic(sends=1, verified=0, best=0, last=0)


def facts(attempt: dict[str, Any] | None = None, **fields: Any) -> Facts:
    """Build the facts of the first send there ever was, but for what is given."""
    first = {
        "levels": {},
        "country": RecentTraffic(QUIET, QUIET),
        "prefix": RecentTraffic(QUIET, QUIET),
        "unverified_ratio": 0.0,
        "suspect": 1.0,
        "countries": 1,
        "spent": {"total": 50_000, "country": 50_000, "prefix": 50_000},
        "hour_ends_in": 1_200,
        "day_ends_in": 40_000,
    }
    return Facts(attempt=replace(ATTEMPT, **(attempt or {})), **(first | fields))


def span(sends: int, verified: int = 0, best: int = 0, last: int = 0) -> SpanTraffic:
    """Describe an hour or a day."""
    return SpanTraffic(sends, verified, best, last)


def verdicts(rule: Any, *cases: Facts) -> list[str]:
    """Say what a rule makes of each."""
    return [rule.evaluate(case).verdict for case in cases]


def test_number_types() -> None:
    """What is on the list is denied with its kind, whatever else is true of it."""
    rule = NumberTypeRule(rule="number-type", deny=("voip", "pager"))
    kinds = ("mobile", "voip", "pager", "unknown")
    found = [rule.evaluate(facts({"number_type": kind})) for kind in kinds]
    assert [one.verdict for one in found] == ["allow", "deny", "deny", "allow"]
    assert found[1].figures == {"number_type": "voip"}
    assert (rule.denial, rule.problem_figures) == (PhoneNumberRefused, ("number_type",))


def test_ranges() -> None:
    """What begins as the list says is denied, by the longest beginning, with its reason."""
    rule = RangeRule(
        rule="range",
        deny=(
            Range(starts_with="+88", reason="No country."),
            Range(starts_with="+881", reason="A satellite."),
            Range(starts_with="+377 44", reason="Dead."),
        ),
    )
    prefixes = ("+4915112", "+8816211", "+8821234", "+377441", "+37745")
    found = [rule.evaluate(facts({"prefix": prefix})) for prefix in prefixes]
    assert [one.verdict for one in found] == ["allow", "deny", "deny", "deny", "allow"]
    reasons = [one.figures.get("reason") for one in found]
    assert reasons == [None, "A satellite.", "No country.", "Dead.", None]
    assert (rule.denial, rule.problem_figures) == (DestinationRefused, ("country",))


@pytest.mark.parametrize("begins", ["", "+", "49", "+0", "+49x", "+491511234567", "00377"])
def test_what_no_range_begins_with(begins: str) -> None:
    """A beginning is a plus and digits, of which decisions hold all but the last four."""
    with pytest.raises(ValidationError, match="write a plus and the first digits"):
        Range(starts_with=begins, reason="No.")


@pytest.mark.parametrize(
    ("allow", "deny", "denied"),
    [
        ((), (), []),
        ((), ("FR",), ["FR"]),
        (("DE", "FR"), (), ["US", "001"]),
        (("DE", "FR"), ("FR",), ["FR", "US", "001"]),
    ],
)
def test_countries_that_are_sent_to(
    allow: tuple[str, ...], deny: tuple[str, ...], denied: list[str]
) -> None:
    """An empty list allows all; whoever is on both is denied."""
    rule = CountryRule(rule="country", allow=allow, deny=deny)
    found = {name: rule.evaluate(facts({"country": name})) for name in ("DE", "FR", "US", "001")}
    assert [name for name, one in found.items() if one.verdict == "deny"] == denied
    assert (rule.denial, rule.problem_figures) == (DestinationRefused, ("country",))


def velocity(of: str, sends: int = 3, over: str = "deny") -> VelocityRule:
    """Make a rule whose bucket leaks one every ten seconds."""
    period = timedelta(seconds=10 * sends)
    return VelocityRule.model_construct(
        rule="velocity", of=of, sends=sends, period=period, over=over
    )


def level(of: str, seconds: float) -> Facts:
    """Describe a bucket that is empty after so many seconds."""
    return facts(levels={of: round(seconds * 1_000_000)})


@pytest.mark.parametrize("over", ["challenge", "deny"])
def test_velocity(over: str) -> None:
    """As many as the bucket holds pass, to the microsecond; one more waits until it fits."""
    rule = velocity("prefix", over=over)
    cases = [level("prefix", seconds) for seconds in (10, 30, 30.000001, 40)]
    assert verdicts(rule, *cases) == ["allow", "allow", over, over]
    just, one = rule.evaluate(cases[2]), rule.evaluate(cases[3])
    assert (just.retry_after, one.retry_after) == (1, 10)
    assert one.pressure == pytest.approx(4 / 3)
    assert one.figures == {"sends": 4.0, "allowed": 3}
    assert rule.denial is SendsPaused


@pytest.mark.parametrize("of", ["network", "subnet"])
def test_velocity_of_a_service(of: str) -> None:
    """A service has no network, so that its limit says nothing of it."""
    assert velocity(of).evaluate(level("prefix", 10_000)) == RuleResult("allow", {})


def test_the_status_is_what_a_bucket_has_left() -> None:
    """And the wait is until one more fits, which a refused one waited for already."""
    rule = velocity("number-and-requester")
    left = [
        (one.remaining, one.retry_after)
        for one in (rule.rate_limit_status(level(rule.of, s)) for s in (10, 20, 21, 30, 33, 40))
    ]
    assert left == [(2, 0), (1, 0), (0, 1), (0, 10), (0, 3), (0, 10)]
    assert rule.rate_limit_status(level(rule.of, 10))[:3] == ("sends", 3, 30)
    assert rule.denial is TooManySends


def conversion(of: str = "prefix", **fields: Any) -> ConversionRule:
    """Make a rule with a floor of three an hour and five a day."""
    hour = UnverifiedAllowance(floor=3, best=0.2, last=0.5)
    day = UnverifiedAllowance(floor=5, best=0.2, last=0.5)
    return ConversionRule(rule="conversion", of=of, hour=hour, day=day, **fields)


def prefix(hour: SpanTraffic, day: SpanTraffic, **fields: Any) -> Facts:
    """Describe a prefix."""
    return facts(prefix=RecentTraffic(hour, day), **fields)


def test_the_floor_of_conversion() -> None:
    """As many as the floor may stay unverified, in the hour and in the day."""
    rule = conversion()
    assert verdicts(
        rule,
        prefix(span(3), span(5)),
        prefix(span(4), span(4)),
        prefix(span(1), span(6)),
        prefix(span(7, verified=4), span(7, verified=4)),
    ) == ["allow", "challenge", "challenge", "allow"]


def test_when_an_unverified_span_is_over() -> None:
    """The wait is until the end of the span that is more over, and the pressure is how far."""
    hour = conversion().evaluate(prefix(span(6), span(6), suspect=4.0))
    day = conversion().evaluate(prefix(span(1), span(10), suspect=4.0))
    assert (hour.pressure, hour.retry_after) == (2.0, 1_200)
    assert (day.pressure, day.retry_after) == (2.0, 40_000)
    assert day.figures == {
        "unverified_hour": 1,
        "allowed_hour": 3,
        "unverified_day": 10,
        "allowed_day": 5,
        "weight": 1.0,
    }


@pytest.mark.parametrize(
    ("suspect", "pressure"),
    [(-40.0, 3.0), (1.0, 3.0), (2.0, 5.0), (4.0, 9.0), (400.0, 9.0), (None, 9.0)],
)
def test_the_work_is_weighed_by_network(suspect: float | None, pressure: float) -> None:
    """A network whose codes are typed in works little for what strangers did; of a service none is known."""
    found = conversion().evaluate(prefix(span(27), span(27), suspect=suspect))
    assert (found.verdict, found.pressure) == ("challenge", pressure)


def test_what_conversion_allows_is_earned() -> None:
    """The most of the floor, of the best span and of the last one; each alone raises it."""
    allowed = UnverifiedAllowance(floor=20, best=0.2, last=0.5)
    spans = (span(1), span(1, best=100), span(1, best=105), span(1, last=42))
    assert [allowed.in_span(one, 0.0) for one in spans] == [20, 20, 21, 21]


def test_what_usually_stays_unverified_is_allowed_too() -> None:
    """For each that this span verified; for what was not verified nothing."""
    allowed = UnverifiedAllowance(floor=2, best=0, last=0)
    assert [allowed.in_span(span(100, verified), 0.25) for verified in (0, 40, 100)] == [2, 12, 27]


@pytest.mark.parametrize("sends", [11, 20, 1_000_000])
def test_floors_alone_never_deny(sends: int) -> None:
    """However much strangers send, whoever asks after them works, and comes through."""
    case = prefix(span(sends), span(sends), country=RecentTraffic(span(sends), span(sends)))
    for of in ("prefix", "country"):
        assert verdicts(conversion(of), case) == ["challenge"]


def test_money_that_is_lost_denies_strangers() -> None:
    """At 0.05 a text, 20 over what is allowed cost 1.0; a known number that draws on the reserve works."""
    rule = conversion(lost_per_day=1.0)
    cases = [prefix(span(sends), span(sends)) for sends in (25, 26)]
    assert verdicts(rule, *cases) == ["challenge", "deny"]
    assert rule.evaluate(cases[1]).retry_after == 40_000
    assert rule.evaluate(cases[1]).figures["lost"] == 1.05
    known = facts({"reserve": True}, prefix=RecentTraffic(span(26), span(26)))
    free = facts({"price_micros": 0}, prefix=RecentTraffic(span(26), span(26)))
    assert verdicts(rule, known, free) == ["challenge", "challenge"]


def test_nothing_on_trust() -> None:
    """With a floor of none the first is challenged already, and one verified pays for itself."""
    nothing = UnverifiedAllowance(floor=0, best=0, last=0)
    rule = ConversionRule(rule="conversion", of="prefix", hour=nothing, day=nothing)
    assert verdicts(rule, prefix(span(1), span(1)), prefix(span(1, 1), span(1, 1))) == [
        "challenge",
        "allow",
    ]


def test_a_country_spares_quiet_prefixes() -> None:
    """Once it is over, only prefixes with more unverified than `spare` are asked."""
    over = RecentTraffic(span(100), span(100))

    def asked(unverified: int, spare: int) -> str:
        record = RecentTraffic(QUIET, span(unverified + 7, verified=7))
        case = facts(country=over, prefix=record)
        return conversion("country", spare=spare).evaluate(case).verdict

    assert [asked(unverified, 2) for unverified in (1, 2, 3)] == ["allow", "allow", "challenge"]
    assert [asked(unverified, 0) for unverified in (0, 1)] == ["allow", "challenge"]
    found = conversion("country", spare=2).evaluate(facts(country=over))
    assert found.figures["unverified_prefix"] == 1
    quiet = facts(prefix=over)
    assert conversion("country").evaluate(quiet).verdict == "allow"


def test_countries_of_a_network() -> None:
    """As many as the rule says pass, and a service, which has no network, always does."""
    over = "challenge"
    rule = CountriesRule(rule="countries", max=3, over=over)
    found = [rule.evaluate(facts(countries=count)) for count in (0, 3, 4, 6)]
    assert [one.verdict for one in found] == ["allow", "allow", over, over]
    assert (found[3].pressure, found[3].retry_after) == (2.0, 86_400)


def budget(of: str, per_day: float, **fields: Any) -> BudgetRule:
    """Make a budget that keeps nothing for known numbers, unless told to."""
    return BudgetRule(rule="budget", of=of, per_day=per_day, **({"reserve": 0.0} | fields))


@pytest.mark.parametrize("of", ["total", "country", "prefix"])
def test_budgets(of: str) -> None:
    """The last millionth is spent, and nothing over it until the day is over."""
    spent = {"total": 0, "country": 0, "prefix": 0}
    cases = [facts(spent=spent | {of: micros}) for micros in (1_500_000, 1_500_001, 3_000_000)]
    found = [budget(of, 1.5).evaluate(case) for case in cases]
    assert [one.verdict for one in found] == ["allow", "deny", "deny"]
    assert (found[2].pressure, found[2].retry_after) == (2.0, 40_000)
    assert found[2].figures == {"spent": 3.0, "budget": 1.5, "part": "open"}


@pytest.mark.parametrize("of", ["total", "country", "prefix"])
def test_what_a_budget_keeps_for_known_numbers(of: str) -> None:
    """A quarter is no stranger's, and once the rest is spent no more than that is a known number's."""
    rule = budget(of, 2.0, reserve=0.25)
    assert rule.exempts_known_numbers and not budget(of, 2.0).exempts_known_numbers
    found = {
        (reserve, micros): rule.evaluate(facts({"reserve": reserve}, spent={of: micros})).verdict
        for reserve, limit in ((False, 1_500_000), (True, 500_000))
        for micros in (limit, limit + 1)
    }
    assert list(found.values()) == ["allow", "deny"] * 2
    drawn = facts({"reserve": True}, spent={of: 500_001})
    assert rule.evaluate(drawn).figures == {"spent": 0.5, "budget": 0.5, "part": "reserve"}


def test_a_budget_of_nothing() -> None:
    """It stops what costs anything, and what is free goes on when all is spent."""
    rule = budget("total", 0)
    assert rule.evaluate(facts()).verdict == "deny"
    free = facts({"price_micros": 0}, spent={"total": 0})
    assert rule.evaluate(free).verdict == "allow"
    spent = facts({"price_micros": 0}, spent={"total": 9_000_000})
    assert rule.evaluate(spent).verdict == "allow"


def test_a_country_with_a_budget_of_its_own() -> None:
    """It is more or less than the others have, or nothing."""
    rule = budget("country", 1.0, countries={"DE": 2.0, "FR": 0.0})
    spent = {"country": 1_500_000}
    cases = [facts({"country": name}, spent=spent) for name in ("DE", "FR", "US")]
    assert verdicts(rule, *cases) == ["allow", "deny", "deny"]
    assert rule.evaluate(cases[0]).figures["budget"] == 2.0


def test_what_a_budget_of_tenths_adds_up_to() -> None:
    """Prices and budgets are decimal: ten sends at 0.1 fit into 1."""
    case = facts(spent={"total": 10 * round(0.1 * 1_000_000)})
    assert budget("total", 1.0).evaluate(case).verdict == "allow"
