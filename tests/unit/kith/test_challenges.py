"""The client does the work that a server asks for before a text, and no more than a person waits for."""

import json
import threading
from collections.abc import Mapping
from typing import Any

import altcha
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kith import ChallengeRefused, Kith, solve_challenge
from kith.commands.errors import describe_error
from kith.problems import ChallengeRejected, ChallengeRequired, SendsPaused
from tests.unit.kith.canned import ACCOUNT, REGISTRATION, VERIFICATION, Script, ok, problem
from tests.unit.kith.conftest import Run

NUMBER = ACCOUNT["phone_number"]
START = "POST /v1/verifications"
AGAIN = f"POST /v1/verifications/{VERIFICATION['id']}/sends"
CHECK = f"POST /v1/verifications/{VERIFICATION['id']}/checks"
SECRET = "secret"
STARTED = ok(VERIFICATION, 201)


def made(**parameters: Any) -> dict[str, Any]:
    """Make a challenge as a server does, with some parameters changed afterwards."""
    challenge: dict[str, Any] = altcha.create_challenge(
        "PBKDF2/SHA-256", 3, key_prefix="0", data={"number": "aa"}, hmac_secret=SECRET
    ).to_dict()
    challenge["parameters"] |= parameters
    return challenge


def required(challenge: Any) -> Any:
    """Ask for a challenge to be solved."""
    return problem("challenge-required", 428, challenge=challenge, decision="decision-1")


def solved(body: Mapping[str, Any]) -> bool:
    """Verify a solution as the server does."""
    return altcha.verify_solution(body["challenge_solution"], SECRET).verified


@pytest.mark.parametrize("line", [START, AGAIN])
def test_a_challenge_is_solved_and_the_request_sent_again(
    client: Kith, script: Script, line: str
) -> None:
    """With the same key and the same fields, and the solution."""
    script.on(line, required(made()), STARTED)
    if line == START:
        answer = client.start_verification(NUMBER, region="DE")
    else:
        answer = client.send_code(VERIFICATION["id"], "voice")
    assert answer.id == VERIFICATION["id"]
    first, second = script.bodies(line)
    assert solved(second)
    assert {name: second[name] for name in first} == first
    assert set(second) - set(first) == {"challenge_solution"}
    keys = {request.headers["Idempotency-Key"] for request in script.sent(line)}
    assert len(keys) == 1


def test_a_fourth_challenge_is_the_caller_s(client: Kith, script: Script) -> None:
    """A server that is never content does not keep a client busy."""
    script.on(START, required(made()))
    with pytest.raises(ChallengeRequired):
        client.start_verification(NUMBER)
    assert len(script.sent(START)) == 4


def test_a_solution_that_is_rejected(client: Kith, script: Script) -> None:
    """It is told, and not tried again."""
    script.on(START, required(made()), problem("challenge-rejected", 422))
    with pytest.raises(ChallengeRejected):
        client.start_verification(NUMBER)
    assert len(script.sent(START)) == 2


def test_a_client_that_leaves_challenges_to_its_caller(script: Script) -> None:
    """It raises, and takes the solution when it is asked again."""
    client = Kith("http://kith.test", transport=script, solve_challenge=None)
    challenge = made()
    script.on(START, required(challenge), STARTED)
    script.on(AGAIN, STARTED)
    with pytest.raises(ChallengeRequired) as caught:
        client.start_verification(NUMBER)
    assert caught.value.challenge == challenge
    assert caught.value.decision == "decision-1"
    solution = solve_challenge(caught.value.challenge)
    client.start_verification(NUMBER, challenge_solution=solution)
    client.send_code(VERIFICATION["id"], challenge_solution=solution)
    assert script.bodies(START)[1] == {
        "phone_number": NUMBER,
        "channel": "sms",
        "challenge_solution": solution,
    }
    assert script.bodies(AGAIN) == [{"channel": "sms", "challenge_solution": solution}]


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when any work is begun."""

    def begin(*_: Any, **__: Any) -> None:
        pytest.fail("work was begun")

    monkeypatch.setattr(altcha, "solve_challenge", begin)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    "parameters",
    [
        {"cost": 12_500_000},
        {"cost": 10**30},
        {"keyPrefix": "0000000"},
        {"keyPrefix": "0" * 64},
        {"cost": 48_829, "keyPrefix": "000"},
    ],
)
def test_too_much_work_is_refused(parameters: dict[str, Any]) -> None:
    """What would take longer than half a minute is not begun."""
    with pytest.raises(ChallengeRefused, match="more work"):
        solve_challenge(made(**parameters))


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    "challenge",
    [
        {},
        {"parameters": None},
        {"parameters": {}},
        *(
            made(**parameters)
            for parameters in (
                {"algorithm": "ARGON2ID", "memoryCost": 10**9},
                {"algorithm": "SCRYPT"},
                {"algorithm": None},
                {"cost": "3"},
                {"cost": 3.0},
                {"cost": True},
                {"keyLength": 10**9},
                {"keyPrefix": ""},
                {"keyPrefix": "g"},
                {"keyPrefix": "0 "},
                {"keyPrefix": "0" * 65},
                {"keyPrefix": 0},
                {"nonce": "xyz"},
                {"salt": None},
            )
        ),
    ],
)
def test_what_is_no_challenge_is_refused(challenge: dict[str, Any]) -> None:
    """Another algorithm, and whatever cannot be read."""
    with pytest.raises(ChallengeRefused, match="cannot be read"):
        solve_challenge(challenge)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.dictionaries(
            st.sampled_from(["parameters", "signature", "algorithm", "nonce", "salt", "cost"]),
            inner,
        ),
    )
)
def test_garbage_is_refused(challenge: Any) -> None:
    """Nothing a server sends is a fault of the client's."""
    script = Script().on(START, required(challenge))
    client = Kith("http://kith.test", transport=script)
    with pytest.raises(ChallengeRefused):
        client.start_verification(NUMBER)


def test_work_that_luck_makes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends after a while too."""
    monkeypatch.setattr(altcha, "solve_challenge", lambda *_, **__: None)
    with pytest.raises(ChallengeRefused, match="in time"):
        solve_challenge(made())


def test_register_proves_its_work(run: Run, script: Script) -> None:
    """The command says what takes so long, and goes on."""
    script.on(START, required(made()), STARTED)
    script.on(CHECK, ok({**VERIFICATION, "status": "verified"}))
    script.on("POST /v1/registrations", ok(REGISTRATION, 201))
    result = run("register", NUMBER, stdin="123456\n")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("Proving that you are no robot…\nA text is on its way")
    assert solved(script.bodies(START)[1])
    assert "robot" not in result.stdout


def test_register_on_a_terminal(run: Run, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a spinner turns until it is done."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    script.on(START, required(made()), STARTED)
    script.on(CHECK, ok({**VERIFICATION, "status": "verified"}))
    script.on("POST /v1/registrations", ok(REGISTRATION, 201))
    before = threading.active_count()
    result = run("register", NUMBER, stdin="123456\n")
    assert result.exit_code == 0, result.output
    assert "Proving that you are no robot…" in result.stderr
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("answer", "code", "hint"),
    [
        (required(made(cost=10**9)), 1, "Tell its operator."),
        (problem("destination-refused", 403, decision="d-1"), 5, "look up why: d-1."),
        (problem("sends-paused", 429, {"Retry-After": "7200"}), 6, "Try again in 2 hours."),
    ],
)
def test_what_ends_the_command(run: Run, script: Script, answer: Any, code: int, hint: str) -> None:
    """A policy that refuses, and a challenge that asks for too much."""
    script.on(START, answer)
    result = run("register", NUMBER)
    assert result.exit_code == code
    assert hint in result.stderr


def test_whom_to_ask() -> None:
    """The name of a decision is for the operator, and a long one is cut."""
    paused = SendsPaused(code="sends-paused", title="", status=429, decision="d" * 43)
    assert "d" * 43 in describe_error(paused).hint
    script = Script().on(START, problem("sends-paused", 429, decision="d" * 500))
    with pytest.raises(SendsPaused) as caught:
        Kith("http://kith.test", transport=script).start_verification(NUMBER)
    assert caught.value.decision == "d" * 128
    assert json.dumps(caught.value.challenge) == "null"
