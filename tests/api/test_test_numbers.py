"""Test numbers: never sent to, verified by their own code until their last day, guessable by nobody."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import func, select

from core.database import Base
from core.settings import SettingsError
from sms.models import OutboxMessage, Send
from tests.conftest import KEY, NUMBER, Clock, MakeApp, problem_code
from tests.contract.openapi import ContractClient
from tests.databases import objects
from verification.policy.models import Decision, Traffic

#: One that could be somebody's, one that is too short, one in a country that is none.
REVIEWER, FILM, NOWHERE = "+14155550100", "+15550100", "+999123456789"
CODES = {REVIEWER: "123456", FILM: "31415926", NOWHERE: "000000"}
LAST_DAY = "2026-03-10"


@pytest.fixture
def app(make_app: MakeApp) -> OpenAPI:
    """The application with three test numbers, of which one is for ever."""
    return make_app(
        test_numbers=f"{REVIEWER}={CODES[REVIEWER]}@{LAST_DAY}, {FILM}={CODES[FILM]},"
        f"{NOWHERE}={CODES[NOWHERE]}"
    )


Start = Callable[..., Any]


@pytest.fixture
def start(client: ContractClient) -> Start:
    """Ask for a verification and give the answer."""

    def begin(number: str = REVIEWER, address: str = "127.0.0.1", **fields: Any) -> Any:
        return client.post(
            "/v1/verifications",
            json={"phone_number": number, **fields},
            environ_overrides={"REMOTE_ADDR": address},
        )

    return begin


def check(client: ContractClient, identity: str, code: str) -> Any:
    """Send a guess."""
    return client.post(f"/v1/verifications/{identity}/checks", json={"code": code})


def count_sent(app: OpenAPI) -> int:
    """Count what any provider was given or was to be given."""
    return count(app, Send, OutboxMessage)


def count(app: OpenAPI, *models: type[Base]) -> int:
    """Count the rows of tables."""
    with objects(app.extensions["kith"].runtime.database) as session:
        return sum(session.scalar(select(func.count()).select_from(model)) or 0 for model in models)


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("channel", ["sms", "voice"])
def test_the_code_of_the_settings_verifies(
    app: OpenAPI, client: ContractClient, start: Start, number: str, channel: str
) -> None:
    """It looks as with any number, nothing is sent, and the number can be registered."""
    started = start(number, channel=channel)

    assert started.status_code == 201
    body = started.json
    assert (body["phone_number"], body["status"], body["channel"]) == (number, "pending", channel)
    assert (body["code_length"], body["checks_left"]) == (len(CODES[number]), 5)
    assert body["next_sms_in"] == 60
    assert check(client, body["id"], CODES[number]).json["status"] == "verified"
    registered = client.post("/v1/registrations", json={"verification_id": body["id"]})
    assert registered.status_code == 201
    assert registered.json["phone_number"] == number
    assert count_sent(app) == 0


def test_the_policy_learns_nothing(app: OpenAPI, client: ContractClient, start: Start) -> None:
    """Codes that anybody may know do not pass for people of a prefix or a country."""
    identity = start().json["id"]
    assert check(client, identity, CODES[REVIEWER]).status_code == 200
    assert count(app, Decision, Traffic) == 0
    start(NUMBER)
    assert count(app, Decision, Traffic) > 0


@pytest.mark.parametrize(
    ("written", "region"),
    [
        ("+1 (415) 555-0100", None),
        ("(415) 555-0100", "US"),
        ("tel:+1-415-555-0100", None),
        ("＋１４１５５５５０１００", None),
        ("0011 1 415 555 0100", "AU"),
    ],
)
def test_however_it_is_written(
    client: ContractClient, start: Start, written: str, region: str | None
) -> None:
    """A test number is recognised in every form that people write numbers in."""
    fields = {"region": region} if region else {}
    started = start(written, **fields)

    assert started.json["phone_number"] == REVIEWER
    assert check(client, started.json["id"], CODES[REVIEWER]).status_code == 200


def test_other_numbers_are_sent_to(app: OpenAPI, client: ContractClient, start: Start) -> None:
    """Neighbours of a test number are numbers like any other: sent to, or refused as not valid."""
    assert start(NUMBER).status_code == 201
    assert count_sent(app) == 2
    assert problem_code(start("+15550101")) == "phone-number-invalid"
    assert problem_code(start("5550100")) == "phone-number-invalid"
    assert problem_code(start("+999123456788")) == "phone-number-invalid"


def test_a_resend_only_follows_the_schedule(
    app: OpenAPI, client: ContractClient, start: Start, clock: Clock
) -> None:
    """A resend waits and counts as ever, by text and by call, and nothing is sent."""
    identity = start().json["id"]
    path = f"/v1/verifications/{identity}/sends"
    assert problem_code(client.post(path, json={"channel": "sms"})) == "send-too-soon"
    clock.advance(60)
    again = client.post(path, json={"channel": "sms"}, headers={"Idempotency-Key": KEY})
    assert (again.status_code, again.json["next_sms_in"]) == (201, 120)
    repeated = client.post(path, json={"channel": "sms"}, headers={"Idempotency-Key": KEY})
    assert repeated.json == again.json
    assert client.post(path, json={"channel": "voice"}).json["next_voice_in"] == 60
    assert check(client, identity, CODES[REVIEWER]).status_code == 200
    assert count_sent(app) == 0


def test_suites_start_as_often_as_they_like(
    app: OpenAPI, client: ContractClient, start: Start
) -> None:
    """The limit on sends is for what is sent; a verification supersedes the one that it names."""
    ids = [start().json["id"] for _ in range(12)]
    body = {"phone_number": REVIEWER, "supersedes": ids[-2]}

    assert client.post("/v1/verifications", json=body).status_code == 201
    assert client.get(f"/v1/verifications/{ids[-2]}").json["status"] == "canceled"
    assert check(client, ids[-1], CODES[REVIEWER]).status_code == 200


def test_a_start_is_idempotent(client: ContractClient, start: Start) -> None:
    """The same key gives the same answer."""
    twice = [
        client.post(
            "/v1/verifications",
            json={"phone_number": REVIEWER},
            headers={"Idempotency-Key": KEY},
        )
        for _ in range(2)
    ]
    assert twice[0].json == twice[1].json


@pytest.mark.parametrize(("number", "bound"), [(REVIEWER, 25), (FILM, 100)])
def test_guesses_are_bounded(
    client: ContractClient, start: Start, clock: Clock, number: str, bound: int
) -> None:
    """Five a verification, and of 6 digits 25 a day over all of them; of 8 as many as of any number.

    Its code does not get longer, so past the bound its number waits for the next day.
    """
    guessed = 0
    for n in range(20):
        started = start(number, f"10.0.0.{n + 1}")
        if started.status_code != 201:
            break
        for left in (4, 3, 2, 1, 0):
            answer = check(client, started.json["id"], "9" * len(CODES[number]))
            assert (problem_code(answer), answer.json["checks_left"]) == ("code-rejected", left)
            guessed += 1
        answer = check(client, started.json["id"], CODES[number])
        assert problem_code(answer) == "checks-exhausted"
    assert guessed == bound
    if number == REVIEWER:
        assert problem_code(started) == "too-many-wrong-codes"
        assert int(started.headers["Retry-After"]) == 86_400
        clock.advance(86_400)
        assert start(number).status_code == 201


def test_a_code_that_is_out_is_not_judged_past_the_bound(
    client: ContractClient, start: Start
) -> None:
    """Verifications begun before the 25th wrong code are no way around it."""
    ids = [start(REVIEWER, f"10.0.0.{n + 1}").json["id"] for n in range(6)]
    for identity in ids[:5]:
        for _ in range(5):
            check(client, identity, "999999")

    assert problem_code(check(client, ids[5], CODES[REVIEWER])) == "longer-code-required"


def test_the_last_day(app: OpenAPI, client: ContractClient, start: Start, clock: Clock) -> None:
    """It works to the end of its last day, UTC, and is then refused, still never sent to."""
    clock.now = datetime(2026, 3, 10, 23, 59, 59, tzinfo=UTC)
    identity = start().json["id"]
    clock.advance(1)

    refused = start()
    assert problem_code(refused) == "test-number-expired"
    assert REVIEWER[1:] not in refused.text
    assert check(client, identity, CODES[REVIEWER]).status_code == 200
    assert start(FILM).status_code == 201
    assert count_sent(app) == 0


def test_a_number_that_is_taken_off_the_list(
    client: ContractClient, start: Start, make_app: MakeApp
) -> None:
    """Its code is worth nothing from then on, not even to a verification under way."""
    identity = start().json["id"]
    elsewhere = make_app().test_client()

    answer = elsewhere.post(f"/v1/verifications/{identity}/checks", json={"code": CODES[REVIEWER]})

    assert problem_code(answer) == "code-rejected"


def test_rotating_the_secret(make_app: MakeApp) -> None:
    """A verification begun under the previous secret is finished with the same code."""
    numbers = f"{REVIEWER}={CODES[REVIEWER]}"
    before = make_app(secret_key="a" * 32, test_numbers=numbers).test_client()
    identity = before.post("/v1/verifications", json={"phone_number": REVIEWER}).json["id"]
    after = make_app(
        secret_key="b" * 32, secret_key_previous="a" * 32, test_numbers=numbers
    ).test_client()

    answer = after.post(f"/v1/verifications/{identity}/checks", json={"code": CODES[REVIEWER]})

    assert answer.status_code == 200


def test_operators_see_it(
    client: ContractClient, start: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    """A line in the log and a metric say that a test number was used, without it or its code."""
    capfd.readouterr()
    start()

    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    (used,) = [line for line in lines if line["event"] == "test_number.used"]
    assert used["number"] == "+14155•••100"
    assert not any(event["event"] == "send" for event in lines)
    assert "kith_test_numbers_total 1.0" in client.get("/metrics").text


def production(**settings: Any) -> dict[str, Any]:
    """Return what production needs, and more."""
    return {
        "environment": "production",
        "secret_key": "k" * 32,
        "sms_provider": "twilio",
        "twilio_account_sid": "AC" + "0" * 32,
        "twilio_auth_token": "t" * 32,
        "twilio_from": "+15005550006",
    } | settings


def test_an_expired_entry_does_not_stop_the_start(
    make_app: MakeApp, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is warned of, masked, and the number is refused."""
    client = make_app(
        **production(test_numbers=f"{REVIEWER}={CODES[REVIEWER]}@2026-02-28")
    ).test_client()

    written = capfd.readouterr().out
    assert "test_number.expired" in written
    assert "+14155•••100" in written
    assert CODES[REVIEWER] not in written
    answer = client.post("/v1/verifications", json={"phone_number": REVIEWER})
    assert problem_code(answer) == "test-number-expired"


def test_production_bounds_the_date(make_app: MakeApp) -> None:
    """90 days ahead is as far as a last day may be there; elsewhere the date is free."""
    furthest, beyond = (f"{REVIEWER}={CODES[REVIEWER]}@2026-05-{day}" for day in (30, 31))

    assert make_app(**production(test_numbers=furthest))
    assert make_app(test_numbers=beyond)
    with pytest.raises(SettingsError, match=r"KITH_TEST_NUMBERS: .*\+14155•••100.* 90 days"):
        make_app(**production(test_numbers=beyond))
