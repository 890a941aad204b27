"""Explaining a decision: every rule's word, in words, and no number."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask_openapi3 import OpenAPI

from core.base64url import encode
from core.database import table
from tests.conftest import NUMBER, Clock, MakeApp, problem_code
from tests.policies import CHALLENGE, velocity, write_policy
from verification.policy import file as policy_file
from verification.policy.explain import KINDS, describe
from verification.policy.models import Decision
from verification.policy.service import RETENTION

BUDGET = (
    '[[rules]]\nrule = "budget"\nof = "total"\nper_day = 20.0\nreserve = 0.0\nmode = "record"\n'
)


@pytest.fixture
def app(make_app: MakeApp, tmp_path: Path) -> OpenAPI:
    """The application with a policy that lets a network send two texts before a challenge."""
    policy = write_policy(tmp_path, velocity("network", 2, over="challenge"), BUDGET)
    return make_app(policy_file=policy)


def run(app: OpenAPI, *arguments: str) -> Result:
    """Run a command of the policy."""
    return app.test_cli_runner().invoke(args=["policy", *arguments])


def explained(app: OpenAPI, identity: str, what: str = "decisions") -> list[dict[str, Any]]:
    """Give the decisions of a verification, or the refusals of a minute, as JSON."""
    result = run(app, "explain", identity, "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)[what]
    return found


def test_first_send_and_resend_are_explained_in_their_order(
    app: OpenAPI, client: Any, clock: Clock
) -> None:
    """Each decision of a verification tells its rules, their figures in words, and no whole number."""
    identity = client.post("/v1/verifications", json={"phone_number": NUMBER}).json["id"]
    clock.advance(60)
    again = client.post(f"/v1/verifications/{identity}/sends", json={"channel": "sms"})
    assert again.status_code == 201

    first, second = explained(app, identity)

    assert (first["resend"], second["resend"]) == (False, True)
    assert first["at"] == "2026-03-01T12:00:00Z" and second["at"] == "2026-03-01T12:01:00Z"
    assert (first["country"], first["prefix"]) == ("DE", NUMBER[:-4])
    assert (first["verdict"], first["rule"], first["detail"]) == ("allow", None, None)
    assert [result["description"] for result in first["rules"]] == [
        "1 sends in the bucket, 2 allowed",
        "0.05 spent today, 20 allowed; open part of the budget",
    ]
    assert [result["mode"] for result in first["rules"]] == ["enforce", "record"]
    text = run(app, "explain", identity).stdout
    assert text.index("first send on sms") < text.index("resend on sms")
    assert "0.05 EUR reserved" in text and "verified: no" in text
    assert NUMBER not in text and NUMBER[1:] not in text


def test_refusal_is_explained_by_the_id_in_its_problem(app: OpenAPI, client: Any) -> None:
    """What a person was told stands beside the rule that refused her, and its figures."""
    for last in range(2):
        client.post("/v1/verifications", json={"phone_number": NUMBER[:-1] + str(last)})
    refused = client.post("/v1/verifications", json={"phone_number": NUMBER})
    assert problem_code(refused) == "challenge-required"

    (refusal,) = explained(app, refused.json["decision"], "refusals")

    assert (refusal["verdict"], refusal["rule"]) == ("challenge", "velocity/network")
    assert refusal["detail"] == refused.json["detail"]
    assert refusal["rules"][0]["figures"] == {"sends": 3.0, "allowed": 2}
    assert (refusal["requests"], refusal["solved"], refusal["one_number"]) == (1, 0, True)
    text = run(app, "explain", refused.json["decision"]).stdout
    assert "challenged by velocity/network, once in this minute" in text
    assert "3 sends in the bucket, 2 allowed" in text


def test_refusals_of_a_minute_are_explained_together(
    app: OpenAPI, client: Any, clock: Clock
) -> None:
    """Their answers name one row, which says how many there were and of whom."""
    for last in range(2):
        client.post("/v1/verifications", json={"phone_number": NUMBER[:-1] + str(last)})
    named = set()
    for last in range(3, 8):
        refused = client.post("/v1/verifications", json={"phone_number": NUMBER[:-1] + str(last)})
        named.add(refused.json["decision"])
        clock.advance(5)
    (decision,) = named
    (refusal,) = explained(app, decision, "refusals")
    assert (refusal["requests"], refusal["one_number"], refusal["one_network"]) == (5, False, True)
    assert (refusal["at"], refusal["last_at"]) == ("2026-03-01T12:00:00Z", "2026-03-01T12:00:20Z")
    assert refusal["decision"] == decision
    text = run(app, "explain", decision).stdout
    assert "5 times in this minute" in text and "several numbers, one network" in text
    clock.advance(60)
    later = client.post("/v1/verifications", json={"phone_number": NUMBER})
    assert later.json["decision"] != decision


def test_a_number_is_explained(app: OpenAPI, client: Any, verify: Any, clock: Clock) -> None:
    """What was decided of it, sent to it and refused, without one whole number."""
    nothing = run(app, "explain", NUMBER)
    assert nothing.exit_code == 0 and "No request for it reached the policy" in nothing.stdout
    assert "it has no account and was not verified" in nothing.stdout
    identity = verify(NUMBER)
    clock.advance(30)
    client.post("/v1/verifications", json={"phone_number": NUMBER})
    for number in (NUMBER, NUMBER[:-1] + "0"):
        refused = client.post("/v1/verifications", json={"phone_number": number})
        assert problem_code(refused) == "challenge-required"

    spelled = f"{NUMBER[:3]} {NUMBER[3:7]} {NUMBER[7:]}"
    result = run(app, "explain", spelled, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["country"], found["prefix"], found["known"]) == ("DE", NUMBER[:-4], True)
    assert [each["verdict"] for each in found["decisions"]] == ["allow", "allow"]
    assert found["decisions"][0]["verified_at"] == "2026-03-01T12:00:00Z"
    assert [each["status"] for each in found["sends"]] == ["delivered", "sent"]
    assert found["sends"][0]["verification"] == identity
    assert [each["requests"] for each in found["refusals"]] == [2]
    text = run(app, "explain", spelled).stdout
    assert "Sends:" in text and "it has an account or was verified" in text
    assert "2 times in this minute" in text and "several numbers" in text
    for said in (text, result.output, nothing.output):
        assert NUMBER[1:] not in said and NUMBER[-6:] not in said
    clock.advance(days=8)
    assert (
        "No request for it reached the policy in the last 7 days"
        in run(app, "explain", NUMBER).stdout
    )
    assert "2 times in this minute" in run(app, "explain", NUMBER, "--since", "9d").stdout


def test_what_is_refused_of_others_is_not_told_of_a_number(
    app: OpenAPI, client: Any, clock: Clock
) -> None:
    """Refusals of one other number, of another prefix and of another country are not its own."""
    for last in range(2):
        client.post("/v1/verifications", json={"phone_number": NUMBER[:-1] + str(last)})
    for number in (NUMBER[:-1] + "3", "+33612345678", "+491701234567"):
        clock.advance(60)
        assert client.post("/v1/verifications", json={"phone_number": number}).status_code == 428
    assert "Refused" not in run(app, "explain", NUMBER).stdout


@pytest.mark.parametrize("wrong", ["+49", "+999123456789", "+4915"])
def test_numbers_that_are_none(app: OpenAPI, wrong: str) -> None:
    """They end with 2."""
    result = run(app, "explain", wrong)
    assert result.exit_code == 2 and "NUMBER" in result.output


def test_verified_is_told(app: OpenAPI, verify: Any) -> None:
    """A verification that was verified says when."""
    (decision,) = explained(app, verify())
    assert decision["verified_at"] == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize("begins", [b"\x01", b"\xf8", b"\xfb\xef"])
def test_any_id_is_read(app: OpenAPI, begins: bytes) -> None:
    """An id may begin with a dash or two; one of the CAMARA adapter leaves out the zeros at its end."""
    kith = app.extensions["kith"]
    whole = begins.ljust(27, b"x").ljust(32, b"\0")
    with kith.runtime.database.write() as connection:
        connection.execute(
            table(Decision).insert(),
            {
                "number_digest": whole[:16],
                "verification_nonce": whole[16:],
                "id": b"d" * 16,
                "network": b"w" * 16,
                "country": "DE",
                "prefix": NUMBER[:-4],
                "number_type": "mobile",
                "channel": "sms",
                "resend": False,
                "price_micros": 0,
                "solved": False,
                "verdict": "allow",
                "rule_results": "[]",
                "created_at": kith.runtime.clock(),
            },
        )
    assert len(explained(app, encode(whole[:27]))) == len(explained(app, encode(whole))) == 1


def test_ids_that_name_nothing_are_refused(app: OpenAPI, client: Any, clock: Clock) -> None:
    """What is no id ends with 2; what was purged or never was ends with 1."""
    identity = client.post("/v1/verifications", json={"phone_number": NUMBER}).json["id"]
    wrong = run(app, "explain", "not-an-id")
    assert wrong.exit_code == 2 and "43 letters" in wrong.output
    clock.advance(RETENTION.total_seconds() + 1)
    app.extensions["kith"].maintenance.run()
    gone = run(app, "explain", identity)
    assert gone.exit_code == 1 and "kept for 30 days" in gone.output


@pytest.mark.parametrize(
    ("label", "figures", "said"),
    [
        ("number-type", {"number_type": "mobile"}, "the number type is mobile"),
        ("country", {"country": "DE"}, "the country is DE"),
        (
            "range",
            {"country": "MC", "range": "+37744", "reason": "It is dead."},
            "it is in the range +37744",
        ),
        (
            "range",
            {"country": "DE", "ranges": 9},
            "it is in none of 9 denied ranges",
        ),
        ("velocity/network", {}, "does not apply"),
        (
            "conversion/prefix",
            {
                "unverified_hour": 1,
                "allowed_hour": 3.0,
                "unverified_day": 7,
                "allowed_day": 6.5,
            },
            "1 unverified this hour, 3 allowed; 7 unverified today, 6.5 allowed",
        ),
        (
            "countries",
            {"countries": 7, "allowed": 6},
            "7 countries from its network in a day, 6 allowed",
        ),
        ("gone/rule", {"moons": 2}, "moons 2"),
    ],
)
def test_words(label: str, figures: dict[str, Any], said: str) -> None:
    """Figures are said in words, whatever the rule; of one that is no more, as they are."""
    assert describe(label, figures) == said


def test_every_kind_of_rule_has_words() -> None:
    """Each rule that the policy file knows is known here, with its reason."""
    assert set(KINDS) == {
        "number-type",
        "country",
        "range",
        "velocity",
        "conversion",
        "countries",
        "budget",
    }
    assert all(kind.detail for kind in KINDS.values())


def test_check_prints_rules_and_refuses_with_lines(app: OpenAPI, tmp_path: Path) -> None:
    """A policy file is shown rule by rule; one that cannot be used is refused with each line."""
    shown = run(app, "check")
    assert shown.exit_code == 0
    assert "velocity/network" in shown.stdout and "over = challenge" in shown.stdout
    assert "period = 1d" in shown.stdout
    default = Path(policy_file.__file__).with_name("default.toml")
    of_default = run(app, "check", str(default))
    assert of_default.exit_code == 0, of_default.output
    assert all(name in of_default.stdout for name in ("range", "conversion/prefix", "budget/total"))
    none = tmp_path / "none.toml"
    none.write_text(f"rules = []\n{CHALLENGE}")
    assert run(app, "check", str(none)).exit_code == 0
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[challenge]\n" + BUDGET.replace("20.0", "-1.0"))
    for command in (("check", str(wrong)), ("replay", "--policy", str(wrong))):
        refused = run(app, *command)
        assert refused.exit_code == 1
        assert f"{wrong}:1: challenge.iterations: is missing" in refused.output
        assert f"{wrong}:5: rules[0].per_day: Input should be greater" in refused.output
