"""Verifications through HTTP: start, send again, check, cancel, and their limits."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.camara import Service
from tests.conftest import KEY, NUMBER, OTHER_NUMBER, Clock, MakeApp, problem_code
from tests.contract.openapi import ContractClient
from tests.policies import velocity, write_policy

STRANGER = {"REMOTE_ADDR": "203.0.113.9"}


@pytest.fixture
def start(client: ContractClient) -> Callable[..., dict[str, Any]]:
    """Start a verification and give what was answered."""

    def begin(number: str = NUMBER, **request: Any) -> dict[str, Any]:
        fields = request.pop("fields", {})
        answer = client.post(
            "/v1/verifications", json={"phone_number": number, **fields}, **request
        )
        assert answer.status_code == 201, answer.text
        return dict(answer.json)

    return begin


def check(client: ContractClient, identity: str, code: str) -> Any:
    """Send a guess."""
    return client.post(f"/v1/verifications/{identity}/checks", json={"code": code})


def wrong(code: str) -> str:
    """Return a code of the same length that is not it."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


def texts(client: ContractClient, number: str = NUMBER) -> list[dict[str, str]]:
    """List the number's texts, newest first."""
    return list(client.get("/dev/outbox.json", query_string={"to": number}).json["messages"])


def test_a_start_says_what_comes(
    start: Callable[..., dict[str, Any]], client: ContractClient
) -> None:
    """A new verification is pending, with all its checks and the waits of its schedule."""
    started = start()
    assert started["status"] == "pending"
    assert started["channel"] == "sms"
    assert started["code_length"] == 6
    assert started["checks_left"] == 5
    assert (started["next_sms_in"], started["next_voice_in"]) == (60, 60)
    assert client.get(f"/v1/verifications/{started['id']}").json == started


def test_limits_are_announced(client: ContractClient) -> None:
    """The answer carries RateLimit fields that count down."""
    answer = client.post("/v1/verifications", json={"phone_number": NUMBER})
    assert answer.headers["RateLimit-Policy"] == '"sends";q=5;w=86400'
    assert answer.headers["RateLimit"] == '"sends";r=4;t=0'


def test_national_numbers_need_their_region(client: ContractClient) -> None:
    """A number without country code is understood with its region only."""
    national = {"phone_number": "0151 12345678", "region": "DE"}
    answer = client.post("/v1/verifications", json=national)
    assert answer.json["phone_number"] == NUMBER
    answer = client.post("/v1/verifications", json={"phone_number": "0151 12345678"})
    assert problem_code(answer) == "phone-number-invalid"
    assert "region" in answer.json["detail"]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("+999123456789", "phone-number-invalid"),
        ("+49151", "phone-number-invalid"),
        ("hello", "phone-number-invalid"),
        ("+4915112345678901234", "phone-number-invalid"),
        ("+1 555 000", "phone-number-invalid"),
        ("+49 900 1234567", "phone-number-refused"),  # premium rate
        ("+49 180 5123456", "phone-number-refused"),  # shared cost
        ("+44 7640 123456", "phone-number-refused"),  # pager
        ("+44 7012 345678", "phone-number-refused"),  # personal number
        ("+49 800 1234567", "phone-number-refused"),  # toll free
    ],
)
def test_numbers_not_worth_a_text_are_refused(
    client: ContractClient, number: str, code: str
) -> None:
    """Impossible and dear numbers are refused with the reason, and nothing is sent."""
    answer = client.post("/v1/verifications", json={"phone_number": number})
    assert problem_code(answer) == code
    assert number not in answer.text
    assert client.get("/dev/outbox.json").json == {"messages": []}


def test_the_policy_names_the_refused_kinds(make_app: MakeApp, tmp_path: Path) -> None:
    """An operator chooses which kinds of numbers are refused."""
    policy = write_policy(tmp_path, '[[rules]]\nrule = "number-type"\ndeny = ["mobile"]')
    client = make_app(policy_file=policy).test_client()
    answer = client.post("/v1/verifications", json={"phone_number": NUMBER})
    assert problem_code(answer) == "phone-number-refused"
    assert answer.json["number_type"] == "mobile"
    answer = client.post("/v1/verifications", json={"phone_number": "+498001234567"})
    assert answer.status_code == 201


def test_the_right_code_verifies(
    client: ContractClient,
    start: Callable[..., dict[str, Any]],
    read_code: Callable[[str], str],
) -> None:
    """The right code verifies, also when it is sent again after a lost answer."""
    identity = start()["id"]
    for _ in range(2):
        answer = check(client, identity, read_code(NUMBER))
        assert answer.status_code == 200
        assert answer.json["status"] == "verified"


def test_a_wrong_code_costs_a_check(
    client: ContractClient,
    start: Callable[..., dict[str, Any]],
    read_code: Callable[[str], str],
) -> None:
    """A wrong code is rejected and counted; after five the right one is not accepted any more."""
    identity = start()["id"]
    code = read_code(NUMBER)
    for left in (4, 3, 2, 1, 0):
        answer = check(client, identity, wrong(code))
        assert problem_code(answer) == "code-rejected"
        assert answer.json["checks_left"] == left
    answer = check(client, identity, code)
    assert problem_code(answer) == "checks-exhausted"
    assert client.get(f"/v1/verifications/{identity}").json["status"] == "failed"


def test_a_resend_repeats_the_code_and_gives_no_checks_back(
    client: ContractClient,
    start: Callable[..., dict[str, Any]],
    read_code: Callable[[str], str],
    clock: Clock,
) -> None:
    """The second text holds the same code, and the checks used stay used."""
    identity = start()["id"]
    code = read_code(NUMBER)
    check(client, identity, wrong(code))
    clock.advance(60)
    again = client.post(f"/v1/verifications/{identity}/sends", json={})
    assert again.status_code == 201
    assert again.json["checks_left"] == 4
    assert len(texts(client)) == 2
    assert read_code(NUMBER) == code


def test_the_schedule_of_texts(
    client: ContractClient, start: Callable[..., dict[str, Any]], clock: Clock
) -> None:
    """Texts come after 60, 120 and 300 seconds, never sooner, and say when."""
    identity = start()["id"]
    for wait in (60, 120, 300):
        assert client.get(f"/v1/verifications/{identity}").json["next_sms_in"] == wait
        clock.advance(wait - 1)
        early = client.post(f"/v1/verifications/{identity}/sends", json={"channel": "sms"})
        assert problem_code(early) == "send-too-soon"
        assert early.headers["Retry-After"] == "1"
        clock.advance(1)
        sent = client.post(f"/v1/verifications/{identity}/sends", json={"channel": "sms"})
        assert sent.status_code == 201, sent.text
    assert client.get(f"/v1/verifications/{identity}").json["next_sms_in"] is None
    last = client.post(f"/v1/verifications/{identity}/sends", json={"channel": "sms"})
    assert problem_code(last) == "no-sends-left"
    assert len(texts(client)) == 4


def test_the_fourth_resend_in_a_longer_life(
    make_app: MakeApp, clock: Clock, tmp_path: Path
) -> None:
    """Where a code lives longer, the schedule's last wait is 600 seconds."""
    policy = write_policy(tmp_path, velocity("number-and-requester", 20))
    client = make_app(code_lifetime=3600, policy_file=policy).test_client()
    identity = client.post("/v1/verifications", json={"phone_number": NUMBER}).json["id"]
    for wait in (60, 120, 300, 600):
        clock.advance(wait)
        assert client.post(f"/v1/verifications/{identity}/sends", json={}).status_code == 201
    clock.advance(1200)
    answer = client.post(f"/v1/verifications/{identity}/sends", json={})
    assert problem_code(answer) == "no-sends-left"


def test_calls_speak_the_same_code(
    client: ContractClient,
    start: Callable[..., dict[str, Any]],
    read_code: Callable[[str], str],
    clock: Clock,
) -> None:
    """A call comes a minute after the first text, at most three times, and speaks the code."""
    identity = start()["id"]
    code = read_code(NUMBER)
    early = client.post(f"/v1/verifications/{identity}/sends", json={"channel": "voice"})
    assert problem_code(early) == "send-too-soon"
    for wait in (60, 60, 120):
        clock.advance(wait)
        sent = client.post(f"/v1/verifications/{identity}/sends", json={"channel": "voice"})
        assert sent.status_code == 201, sent.text
        assert sent.json["channel"] == "voice"
        spoken = texts(client)[0]
        assert spoken["channel"] == "voice"
        assert code in re.sub(r"\D", "", spoken["body"])
    clock.advance(120)
    late = client.post(f"/v1/verifications/{identity}/sends", json={"channel": "voice"})
    assert problem_code(late) == "no-sends-left"


def test_a_verification_may_start_with_a_call(
    client: ContractClient, start: Callable[..., dict[str, Any]]
) -> None:
    """A landline is called at once."""
    started = start(fields={"channel": "voice"})
    assert started["channel"] == "voice"
    assert texts(client)[0]["channel"] == "voice"
    assert (started["next_sms_in"], started["next_voice_in"]) == (60, 60)


def test_sends_a_day(
    client: ContractClient, start: Callable[..., dict[str, Any]], clock: Clock
) -> None:
    """A requester gets five texts a number and day; one more comes back every 4.8 hours."""
    for _ in range(5):
        start()
    refused = client.post("/v1/verifications", json={"phone_number": NUMBER})
    assert problem_code(refused) == "too-many-sends"
    assert refused.headers["Retry-After"] == str(24 * 3600 // 5)
    assert refused.headers["RateLimit"] == f'"sends";r=0;t={24 * 3600 // 5}'
    assert len(texts(client)) == 5
    start(OTHER_NUMBER)
    start(environ_overrides=STRANGER)
    clock.advance(24 * 3600 / 5)
    start()
    assert (
        problem_code(client.post("/v1/verifications", json={"phone_number": NUMBER}))
        == "too-many-sends"
    )


def test_a_start_supersedes_what_it_names(
    client: ContractClient, start: Callable[..., dict[str, Any]]
) -> None:
    """Behind one address there are many people, so only the id that is named is canceled."""
    mine, neighbours = start()["id"], start()["id"]
    strangers = start(environ_overrides=STRANGER)["id"]
    newest = start(fields={"supersedes": mine})["id"]
    status = {
        identity: client.get(f"/v1/verifications/{identity}").json["status"]
        for identity in (mine, neighbours, strangers, newest)
    }
    assert status == {
        mine: "canceled",
        neighbours: "pending",
        strangers: "pending",
        newest: "pending",
    }
    assert problem_code(check(client, mine, "123456")) == "verification-closed"


def test_a_start_supersedes_from_another_network_and_for_another_number(
    client: ContractClient, start: Callable[..., dict[str, Any]]
) -> None:
    """Who has the id has the verification: after a mistyped number, and after Wi-Fi became mobile."""
    mistyped = start(OTHER_NUMBER)["id"]
    start(fields={"supersedes": mistyped}, environ_overrides=STRANGER)
    assert client.get(f"/v1/verifications/{mistyped}").json["status"] == "canceled"


def test_what_is_over_or_unknown_is_not_superseded(
    client: ContractClient,
    start: Callable[..., dict[str, Any]],
    read_code: Callable[[str], str],
) -> None:
    """A proof stays one, a service's verification stays its own, and no id is a reason to refuse."""
    proven = start()["id"]
    check(client, proven, read_code(NUMBER))
    start(fields={"supersedes": proven})
    assert client.get(f"/v1/verifications/{proven}").json["status"] == "verified"
    service = Service(client.application)
    identity = service.sent()
    code = service.code()
    start(fields={"supersedes": (identity + "A" * 7)[:43]})
    assert service.validate(identity, code).status_code == 204
    for unknown in ("x", "", "A" * 43, "A" * 64):
        start(OTHER_NUMBER, fields={"supersedes": unknown}, environ_overrides=STRANGER)


def test_a_refused_start_supersedes_nothing(
    client: ContractClient, start: Callable[..., dict[str, Any]]
) -> None:
    """Until a newer code is on its way the older one stays good."""
    *_, last = (start()["id"] for _ in range(5))
    refused = client.post("/v1/verifications", json={"phone_number": NUMBER, "supersedes": last})
    assert problem_code(refused) == "too-many-sends"
    assert client.get(f"/v1/verifications/{last}").json["status"] == "pending"


def test_a_secret_key_is_found_again_from_another_network(
    client: ContractClient, start: Callable[..., dict[str, Any]], clock: Clock
) -> None:
    """A retry after Wi-Fi became mobile gets the first answer, and sends no second text."""
    headers = {"Idempotency-Key": "x" * 22}
    first = start(headers=headers)
    clock.advance(30)
    assert start(headers=headers, environ_overrides=STRANGER) == first
    assert len(texts(client)) == 1
    other = client.post(
        "/v1/verifications",
        json={"phone_number": NUMBER, "locale": "de"},
        headers=headers,
        environ_overrides=STRANGER,
    )
    assert problem_code(other) == "idempotency-key-reused"
    elsewhere = start(OTHER_NUMBER, headers=headers)
    assert elsewhere["id"] != first["id"]


def test_a_short_key_tells_nothing_behind_a_shared_address(
    client: ContractClient, start: Callable[..., dict[str, Any]]
) -> None:
    """Under it nothing is sent twice from one network, and who repeats it learns no id."""
    headers = {"Idempotency-Key": "x" * 21}
    first = start(headers=headers)
    repeated = client.post("/v1/verifications", json={"phone_number": NUMBER}, headers=headers)
    assert (problem_code(repeated), repeated.status_code) == ("idempotency-answer-withheld", 409)
    assert first["id"] not in repeated.text
    assert len(texts(client)) == 1
    elsewhere = start(headers=headers, environ_overrides=STRANGER)
    assert elsewhere["id"] != first["id"]


def test_an_idempotency_key_sends_once(client: ContractClient, clock: Clock) -> None:
    """The same request with the same key gets the same answer and no second text."""
    headers = {"Idempotency-Key": KEY}
    first = client.post("/v1/verifications", json={"phone_number": NUMBER}, headers=headers)
    clock.advance(30)
    second = client.post("/v1/verifications", json={"phone_number": NUMBER}, headers=headers)
    assert second.status_code == 201
    assert second.json == first.json
    assert len(texts(client)) == 1
    other = client.post(
        "/v1/verifications", json={"phone_number": NUMBER, "locale": "de"}, headers=headers
    )
    assert problem_code(other) == "idempotency-key-reused"


def test_an_idempotent_resend(
    client: ContractClient, start: Callable[..., dict[str, Any]], clock: Clock
) -> None:
    """A resend repeated with its key sends once; without one the schedule refuses it."""
    identity = start()["id"]
    clock.advance(60)
    headers = {"Idempotency-Key": "again"}
    first = client.post(f"/v1/verifications/{identity}/sends", json={}, headers=headers)
    second = client.post(f"/v1/verifications/{identity}/sends", json={}, headers=headers)
    assert first.json == second.json
    assert len(texts(client)) == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "schlüssel"])
def test_bad_idempotency_keys(client: ContractClient, key: str) -> None:
    """A key that is empty, too long or not visible ASCII is refused before anything is done."""
    answer = client.post(
        "/v1/verifications",
        json={"phone_number": NUMBER},
        environ_overrides={"HTTP_IDEMPOTENCY_KEY": key.encode().decode("latin-1")},
    )
    assert problem_code(answer) == "malformed-request"
    assert texts(client) == []


def test_expiry(
    client: ContractClient,
    start: Callable[..., dict[str, Any]],
    read_code: Callable[[str], str],
    clock: Clock,
) -> None:
    """After ten minutes the code is not accepted and nothing more is sent."""
    identity = start()["id"]
    clock.advance(600)
    assert client.get(f"/v1/verifications/{identity}").json["status"] == "expired"
    assert problem_code(check(client, identity, read_code(NUMBER))) == "verification-expired"
    again = client.post(f"/v1/verifications/{identity}/sends", json={})
    assert problem_code(again) == "verification-expired"


def test_cancel(
    client: ContractClient,
    start: Callable[..., dict[str, Any]],
    read_code: Callable[[str], str],
) -> None:
    """A canceled verification accepts and sends nothing; canceling twice is harmless."""
    identity = start()["id"]
    for _ in range(2):
        assert client.delete(f"/v1/verifications/{identity}").status_code == 204
    assert client.get(f"/v1/verifications/{identity}").json["status"] == "canceled"
    assert problem_code(check(client, identity, read_code(NUMBER))) == "verification-closed"


@pytest.mark.parametrize("identity", ["x", "A" * 43, "A" * 42 + "B", "é" * 43, "%00" * 9])
def test_unknown_verifications(client: ContractClient, identity: str) -> None:
    """An id that is malformed or unknown is not found, whatever is asked of it."""
    path = f"/v1/verifications/{identity}"
    answers = [
        client.get(path),
        client.delete(path),
        client.post(f"{path}/checks", json={"code": "123456"}),
        client.post(f"{path}/sends", json={}),
    ]
    assert {problem_code(answer) for answer in answers} == {"verification-not-found"}


@pytest.mark.parametrize(
    "fields",
    [
        {"region": "DEU"},
        {"channel": "fax"},
        {"locale": 7},
        {"app_hash": "short"},
        {"web_origin": "https://example.com/path"},
        {"web_origin": "example.com", "app_hash": "AbCdEfGhIjK"},
        {"phone_number": 4915112345678},
        {"phone_number": "1" * 251},
        {"phone_number": None},
        {"unknown": 1},
    ],
)
def test_bad_fields_are_named(client: ContractClient, fields: dict[str, Any]) -> None:
    """Each field that is not valid is refused, by its pointer."""
    answer = client.post("/v1/verifications", json={"phone_number": NUMBER, **fields})
    assert problem_code(answer) == "invalid-fields"
    pointers = {error["pointer"] for error in answer.json["errors"]}
    assert pointers == {f"/{name}" for name in fields} or pointers == {""}
    assert client.get("/dev/outbox.json").json == {"messages": []}


def test_a_region_that_does_not_exist(client: ContractClient) -> None:
    """Two letters that name no region are refused with the reason."""
    answer = client.post("/v1/verifications", json={"phone_number": "0151", "region": "ZZ"})
    assert problem_code(answer) == "phone-number-invalid"


def test_the_last_line_binds_the_code(client: ContractClient) -> None:
    """A text carries the origin-bound line or the Android hash last, as it was asked for."""
    for fields, line in (
        ({"web_origin": "https://example.com"}, r"@example\.com #\d{6}"),
        ({"app_hash": "AbC/+fGhIjK"}, r"AbC/\+fGhIjK"),
    ):
        client.post("/v1/verifications", json={"phone_number": NUMBER, **fields})
        assert re.fullmatch(line, texts(client)[0]["body"].splitlines()[-1])


def test_origins_and_hashes_are_listed_in_production_terms(make_app: MakeApp) -> None:
    """Where the operator lists origins and hashes, no other is sent to."""
    app = make_app(web_origins=("example.com",), android_app_hashes=("AbCdEfGhIjK",))
    client = app.test_client()

    def ask(**fields: str) -> Any:
        return client.post("/v1/verifications", json={"phone_number": NUMBER, **fields})

    assert ask(web_origin="example.com").status_code == 201
    assert ask(app_hash="AbCdEfGhIjK").status_code == 201
    assert problem_code(ask(web_origin="evil.example")) == "web-origin-refused"
    assert problem_code(ask(app_hash="XXXXXXXXXXX")) == "app-hash-refused"


def test_texts_speak_the_persons_language(client: ContractClient) -> None:
    """The text is in the language asked for, on its primary tag."""
    client.post("/v1/verifications", json={"phone_number": NUMBER, "locale": "de-AT"})
    german = texts(client)[0]["body"]
    client.post("/v1/verifications", json={"phone_number": OTHER_NUMBER, "locale": "tlh"})
    assert "Bestätigungscode" in german
    assert german != texts(client, OTHER_NUMBER)[0]["body"]


def test_null_is_as_good_as_nothing(client):
    """What may be left out may be null: clients write out all of their fields."""
    body = {
        "phone_number": NUMBER,
        **dict.fromkeys(("region", "locale", "app_hash", "web_origin", "challenge_solution")),
    }
    assert client.post("/v1/verifications", json=body).status_code == 201
