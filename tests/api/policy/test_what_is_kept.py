"""What the policy keeps tells no number and no code, and is deleted in time."""

import json
import re
from datetime import timedelta

import phonenumbers
import pytest

from sms.provider import Rejected
from tests.api.policy.conftest import BRITISH, FRENCH, HERE, Serve, number
from tests.policies import budget, conversion, countries, solve, velocity
from verification.policy.history import RecordedRefusals, read_history
from verification.policy.models import Decision, ProvenNumber, Refusal


def test_nothing_that_is_kept_tells_a_number_or_a_code(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither decisions nor metrics nor logs nor what is limited hold one, or an address."""
    service = serve(
        velocity("network", 2, over="challenge"), budget("total", 0.2), log_level="debug"
    )
    service.verify(number(4711))
    service.start(number(4712))
    asked = service.start(number(4713))
    solution = solve(asked.json["challenge"])
    service.start(number(4713), challenge_solution=solution)
    service.providers[0].faults = [Rejected("21211")]
    service.start(number(4714), by="203.0.113.77")
    kept = [repr(tuple(row)) for row in service.decisions() + service.refusals()]
    tables = service.everything()
    for name in (
        "limits",
        "traffic",
        "network_countries",
        "spent_challenges",
        "sends",
        "proven_numbers",
    ):
        kept += tables[name]
    assert any("+491511234" in line for line in kept)
    out, err = capfd.readouterr()
    said = "\n".join([*kept, service.client.get("/metrics").text, out, err])
    codes = [re.search(r"\d{6}", one.body) for one in service.providers[0].taken]
    secrets = [number(n)[3:] for n in range(4711, 4715)] + [HERE, "203.0.113.77", solution]
    secrets += [code[0] for code in codes if code]
    assert len(secrets) == 10
    assert [secret for secret in secrets if secret in said] == []


def test_decisions_are_kept_thirty_days(serve: Serve) -> None:
    """Then maintenance deletes them."""
    service = serve(velocity("network", 1))
    service.start()
    service.start()
    kith = service.app.extensions["kith"]
    for days, left in ((30, 1), (1, 0)):
        service.clock.advance(days=days)
        kith.maintenance.run()
        assert len(service.rows(Decision)) == len(service.rows(Refusal)) == left


def test_known_numbers_are_kept_a_year(serve: Serve) -> None:
    """Since they were verified last; then maintenance deletes them."""
    service = serve(velocity("network", 9))
    service.verify(number(1))
    kith = service.app.extensions["kith"]
    service.clock.advance(days=200)
    service.verify(number(1))
    for days, left in ((365, 1), (1, 0)):
        service.clock.advance(days=days)
        kith.maintenance.run()
        assert len(service.rows(ProvenNumber)) == left


@pytest.mark.parametrize(
    ("rules", "rows"),
    [
        # Nothing was ever sent to these prefixes, so all are refused under their country.
        ((conversion("prefix", 0, 0),), 1),
        ((budget("prefix", 0.01),), 1),
        (('[[rules]]\nrule = "country"\ndeny = ["DE"]\n',), 1),
        (('[[rules]]\nrule = "number-type"\ndeny = ["mobile"]\n',), 1),
        # One text that was sent filled each of these.
        ((velocity("country", 1),), 1),
        ((budget("total", 0.05),), 1),
        ((conversion("country", 1, 1),), 1),
        ((velocity("prefix", 1), conversion("country", 1, 1)), 1),
    ],
)
def test_refused_requests_add_to_a_count_and_no_rows(
    serve: Serve, rules: tuple[str, ...], rows: int
) -> None:
    """Thirty numbers of as many prefixes, asked for from as many networks, within a minute."""
    service = serve(*rules)
    answers = [
        service.start(f"+49151{1000 + n}0001", by=f"203.0.{n}.5").status_code for n in range(30)
    ]
    refusals = service.refusals()
    assert len(refusals) == rows
    assert sum(row.requests for row in refusals) == sum(status != 201 for status in answers) >= 29
    assert all(row.number_digest is None and row.network is None for row in refusals)
    assert all(row.prefix is None for row in refusals)


def _all_over_the_world(*kinds: int) -> list[str]:
    found = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in kinds:
            example = phonenumbers.example_number_for_type(region, kind)
            if example:
                found.append(
                    phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
                )
    return found


DENIED_KINDS = (
    phonenumbers.PhoneNumberType.PREMIUM_RATE,
    phonenumbers.PhoneNumberType.TOLL_FREE,
    phonenumbers.PhoneNumberType.PERSONAL_NUMBER,
)


@pytest.mark.parametrize(
    "rule",
    [
        '[[rules]]\nrule = "country"\ndeny = ["DE", "FR"]\n',
        '[[rules]]\nrule = "range"\ndeny = [{ starts_with = "+49", reason = "a" },'
        ' { starts_with = "+33", reason = "b" }]\n',
    ],
)
def test_what_a_list_refused_of_several_countries_is_refused_when_it_is_replayed(
    serve: Serve, rule: str
) -> None:
    """The country and the prefix are empty in the row; the figures of the first have what the list is of."""
    service = serve(rule)
    for n, phone_number in enumerate((number(1), FRENCH, FRENCH)):
        assert service.start(phone_number, channel=("sms", "voice")[n % 2]).status_code in (
            403,
            422,
        )
    (row,) = service.refusals()
    assert (row.country, row.prefix, row.requests) == (None, None, 3)
    now = service.clock()
    stored = list(read_history(service.database, now - timedelta(hours=1), now + timedelta(1)))
    (refused,) = stored
    assert isinstance(refused, RecordedRefusals) and refused.count == 3
    again = [refused.attempt(place, solved=False) for place in range(3)]
    assert {attempt.country for attempt in again} == {"DE"}
    if row.rule == "range":
        assert {attempt.prefix for attempt in again} == {"+49"}


@pytest.mark.parametrize(
    ("rule", "kinds", "sent"),
    [
        (
            '[[rules]]\nrule = "number-type"\n'
            'deny = ["premium_rate", "toll_free", "personal_number"]\n',
            DENIED_KINDS,
            (),
        ),
        (
            '[[rules]]\nrule = "country"\nallow = ["ZM"]\n',
            (phonenumbers.PhoneNumberType.MOBILE,),
            (),
        ),
        (countries(2), (phonenumbers.PhoneNumberType.MOBILE,), (BRITISH, FRENCH)),
        (budget("country", 0.01), (phonenumbers.PhoneNumberType.MOBILE,), ()),
        (conversion("country", 0, 0), (phonenumbers.PhoneNumberType.MOBILE,), ()),
    ],
)
@pytest.mark.slow
def test_whoever_tries_all_countries_has_a_handful_of_rows(
    serve: Serve, rule: str, kinds: tuple[int, ...], sent: tuple[str, ...]
) -> None:
    """Every region, kind and channel within a minute: what they differ in is empty, and short is kept."""
    service = serve(rule, velocity("country", 9))
    for phone_number in sent:
        assert service.start(phone_number).status_code == 201
    refused = 0
    for place, phone_number in enumerate(_all_over_the_world(*kinds)):
        answer = service.start(phone_number, channel=("sms", "voice")[place % 2])
        refused += answer.status_code in (403, 422, 428, 429)
    assert refused > 150
    refusals = service.refusals()
    assert len(refusals) <= 2
    assert sum(row.requests for row in refusals) == refused
    assert {(row.country, row.channel, row.resend) for row in refusals} == {(None, None, False)}
    assert all(len(row.rule_results) < 300 for row in refusals)
    assert all(json.loads(row.rule_results)[0]["rule"] == row.rule for row in refusals)
