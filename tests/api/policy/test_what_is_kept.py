"""What the policy keeps tells no number and no code, and is deleted in time."""

import re

import pytest

from sms.provider import Rejected
from tests.api.policy.conftest import HERE, Serve, number
from tests.policies import budget, conversion, solve, velocity
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
