"""Limits hold and nothing is done twice when requests really run side by side, on both databases."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import func, select, text

from sms.provider import BOTH
from tests.conftest import KEY, NUMBER, OTHER_NUMBER, Clock, MakeApp, Person, problem_code
from tests.contract.openapi import ContractClient
from tokens.models import RetiredToken


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run work in threads that all start at once."""
    barrier = threading.Barrier(count)

    def run(n: int) -> Any:
        barrier.wait()
        return work(n)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def post(app: OpenAPI, path: str, body: Any, **headers: str) -> Any:
    """Send a request with a client of its own."""
    return app.test_client().post(path, json=body, headers=headers)


def outbox(client: ContractClient) -> list[dict[str, str]]:
    """List all texts."""
    return list(client.get("/dev/outbox.json").json["messages"])


def test_sixty_parallel_checks_judge_exactly_five(app: OpenAPI, client: ContractClient) -> None:
    """Of 60 wrong codes at once exactly 5 are evaluated."""
    started = post(app, "/v1/verifications", {"phone_number": NUMBER}).json
    path = f"/v1/verifications/{started['id']}/checks"
    right = outbox(client)[0]["body"][:6]
    wrong = f"{(int(right) + 1) % 10**6:06d}"
    answers = together(60, lambda _: post(app, path, {"code": wrong}))
    codes = Counter(problem_code(answer) for answer in answers)
    assert codes == {"code-rejected": 5, "checks-exhausted": 55}
    left = sorted(a.json["checks_left"] for a in answers if problem_code(a) == "code-rejected")
    assert left == [0, 1, 2, 3, 4]
    assert client.get(f"/v1/verifications/{started['id']}").json["checks_left"] == 0


def test_sixty_parallel_pastes_count_nothing(app: OpenAPI, client: ContractClient) -> None:
    """Of 57 texts that cannot be the code and 3 wrong codes at once exactly the 3 are counted."""
    started = post(app, "/v1/verifications", {"phone_number": NUMBER}).json
    path = f"/v1/verifications/{started['id']}"
    right = outbox(client)[0]["body"][:6]
    wrong = f"{(int(right) + 1) % 10**6:06d}"
    texts = [wrong] * 3 + [right[1:], f"{right}0", "12 34", f"{right}x", "", f"{right}00"] * 10
    answers = together(60, lambda n: post(app, f"{path}/checks", {"code": texts[n]}))
    codes = Counter(problem_code(answer) for answer in answers)
    assert codes == {"code-rejected": 3, "code-unreadable": 57}
    assert client.get(path).json["checks_left"] == 2
    spaced = " ".join(right)
    assert post(app, f"{path}/checks", {"code": spaced}).json["status"] == "verified"


def test_parallel_guesses_over_many_verifications(app: OpenAPI) -> None:
    """Of 50 wrong codes at once, over ten verifications of a number, exactly 25 are evaluated."""
    ids = []
    for n in range(10):
        answer = app.test_client().post(
            "/v1/verifications",
            json={"phone_number": NUMBER},
            environ_overrides={"REMOTE_ADDR": f"10.0.0.{n + 1}"},
        )
        ids.append(answer.json["id"])
    answers = together(
        50, lambda n: post(app, f"/v1/verifications/{ids[n % 10]}/checks", {"code": "000000"})
    )
    codes = Counter(problem_code(answer) for answer in answers)
    assert codes == {"code-rejected": 25, "longer-code-required": 25}


def test_fifty_parallel_starts_with_a_key_send_one_text(
    app: OpenAPI, client: ContractClient
) -> None:
    """All 50 get the same answer, and one text is sent."""
    answers = together(
        50,
        lambda _: post(
            app, "/v1/verifications", {"phone_number": NUMBER}, **{"Idempotency-Key": KEY}
        ),
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(outbox(client)) == 1


def start_from(app: OpenAPI, address: str, key: str) -> Any:
    """Start from an address, under a key."""
    return app.test_client().post(
        "/v1/verifications",
        json={"phone_number": NUMBER},
        headers={"Idempotency-Key": key},
        environ_overrides={"REMOTE_ADDR": address},
    )


def test_parallel_starts_from_sixty_networks_with_a_secret_key_send_one_text(
    app: OpenAPI, client: ContractClient
) -> None:
    """However often a phone changes its network while it retries, one text comes."""
    answers = together(60, lambda n: start_from(app, f"10.0.{n}.1", KEY))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len(outbox(client)) == 1


def test_parallel_starts_with_a_short_key_send_one_text_and_tell_one_id(
    app: OpenAPI, client: ContractClient
) -> None:
    """Behind one address one of 60 is told the id, and nobody else anything."""
    answers = together(60, lambda _: start_from(app, "10.0.0.1", "start-1"))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 59}
    refused = {problem_code(answer) for answer in answers if answer.status_code == 409}
    assert refused == {"idempotency-answer-withheld"}
    assert len(outbox(client)) == 1


def test_parallel_starts_without_a_key_keep_to_the_limit(
    app: OpenAPI, client: ContractClient
) -> None:
    """Of 30 starts at once 5 send, and one verification of them stays open."""
    answers = together(30, lambda _: post(app, "/v1/verifications", {"phone_number": NUMBER}))
    started = [answer.json["id"] for answer in answers if answer.status_code == 201]
    refused = {problem_code(answer) for answer in answers if answer.status_code != 201}
    assert len(started) == 5
    assert refused == {"too-many-sends"}
    assert len(outbox(client)) == 5


def test_parallel_resends_take_one_step(app: OpenAPI, client: ContractClient, clock: Any) -> None:
    """Of 20 resends at once one sends; the others come too soon."""
    started = post(app, "/v1/verifications", {"phone_number": NUMBER}).json
    clock.advance(60)
    path = f"/v1/verifications/{started['id']}/sends"
    answers = together(20, lambda _: post(app, path, {}))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 429: 19}
    assert len(outbox(client)) == 2


@pytest.mark.parametrize("with_key", [False, True])
def test_fifty_parallel_registrations_give_one_account_and_one_token(
    app: OpenAPI, client: ContractClient, verify: Callable[..., str], with_key: bool
) -> None:
    """One of 50 registers, or with an idempotency key all are told the same; either way one token."""
    identity = verify()
    headers = {"Idempotency-Key": KEY} if with_key else {}
    answers = together(
        50, lambda _: post(app, "/v1/registrations", {"verification_id": identity}, **headers)
    )
    done = [answer.json for answer in answers if answer.status_code == 201]
    assert len(done) == (50 if with_key else 1)
    assert len({answer["device_token"] for answer in done}) == 1
    assert len({answer["account_id"] for answer in done}) == 1
    token = {"Authorization": f"Bearer {done[0]['device_token']}"}
    assert len(client.get("/v1/devices", headers=token).json["devices"]) == 1


def start_many(app: OpenAPI, client: ContractClient, count: int) -> list[tuple[str, str]]:
    """Have many people start to prove one number; give ids with their codes."""
    started = []
    for n in range(count):
        requester = {"REMOTE_ADDR": f"10.0.{n // 250}.{n % 250 + 1}"}
        answer = app.test_client().post(
            "/v1/verifications", json={"phone_number": NUMBER}, environ_overrides=requester
        )
        assert answer.status_code == 201, answer.text
        started.append((answer.json["id"], outbox(client)[0]["body"][:6]))
    return started


def test_of_right_codes_at_once_one_is_a_proof(app: OpenAPI, client: ContractClient) -> None:
    """Of 20 right codes of one number, checked and then used at once, exactly one registers."""
    started = start_many(app, client, 20)
    checks = together(
        20,
        lambda n: post(app, f"/v1/verifications/{started[n][0]}/checks", {"code": started[n][1]}),
    )
    assert {answer.status_code for answer in checks} == {200}
    shown = [client.get(f"/v1/verifications/{identity}").json["status"] for identity, _ in started]
    assert Counter(shown) == {"verified": 1, "canceled": 19}
    answers = together(
        60, lambda n: post(app, "/v1/registrations", {"verification_id": started[n % 20][0]})
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 59}
    codes = Counter(problem_code(answer) for answer in answers if answer.status_code == 409)
    assert codes == {"verification-used": 2, "verification-closed": 57}


def test_a_proof_is_used_or_voided_and_never_both(app: OpenAPI, client: ContractClient) -> None:
    """Older proofs that are used while newer ones come either came first or are refused."""
    started = start_many(app, client, 10)
    identity, code = started[0]
    assert post(app, f"/v1/verifications/{identity}/checks", {"code": code}).status_code == 200

    def act(n: int) -> Any:
        # Each older proof is used at the moment in which the next right code comes.
        if n % 2:
            newer, its_code = started[n // 2 + 1]
            return post(app, f"/v1/verifications/{newer}/checks", {"code": its_code})
        return post(app, "/v1/registrations", {"verification_id": started[n // 2][0]})

    answers = together(18, act)
    assert {answer.status_code for answer in answers[1::2]} == {200}
    registered = [answer.json for answer in answers[::2] if answer.status_code == 201]
    assert {problem_code(answer) for answer in answers[::2] if answer.status_code != 201} <= {
        "verification-closed",
        "verification-not-verified",
    }
    proofs = [
        identity
        for identity, _ in started
        if post(app, "/v1/registrations", {"verification_id": identity}).status_code == 201
    ]
    assert len(proofs) <= 1, "but one of them was a proof still"
    assert len({answer["account_id"] for answer in registered}) <= 1


def test_one_link_code_one_device(
    app: OpenAPI, client: ContractClient, register: Callable[..., Person]
) -> None:
    """Of 20 redemptions at once one joins."""
    person = register()
    code = client.post("/v1/device-links", headers=person.headers).json["link_code"]
    answers = together(20, lambda _: post(app, "/v1/device-links/redeem", {"link_code": code}))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 404: 19}
    assert len(client.get("/v1/devices", headers=person.headers).json["devices"]) == 2


def test_parallel_pin_tries_are_counted(
    app: OpenAPI, client: ContractClient, register: Callable[..., Person], verify: Any
) -> None:
    """Of 30 wrong PINs at once ten are evaluated."""
    person = register()
    client.put("/v1/account/registration-lock", json={"pin": "471130"}, headers=person.headers)
    body = {"verification_id": verify(), "registration_lock_pin": "0000"}
    answers = together(30, lambda _: post(app, "/v1/registrations", body))
    codes = Counter(problem_code(answer) for answer in answers)
    assert codes == {"registration-locked": 10, "too-many-pin-tries": 20}


def test_parallel_rotations_are_counted(app: OpenAPI, register: Callable[..., Person]) -> None:
    """Of 60 at once ten are done, and nine of their tokens wait for a thief."""
    person = register()
    answers = together(
        60, lambda _: app.test_client().post("/v1/tokens/rotate", headers=person.headers)
    )
    assert Counter(answer.status_code for answer in answers) == {201: 10, 429: 50}
    with app.extensions["kith"].runtime.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(RetiredToken)) == 9


@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_no_registration_slips_past_a_lock_while_the_number_is_left(
    app: OpenAPI, client: ContractClient, register: Callable[..., Person], verify: Any, how: str
) -> None:
    """Of 20 registrations without the PIN, while the account goes or moves, none succeeds."""
    person = register()
    client.put("/v1/account/registration-lock", json={"pin": "471130"}, headers=person.headers)
    body = {"verification_id": verify()}
    move = {"verification_id": verify(OTHER_NUMBER)}

    def act(place: int) -> Any:
        if place != 10:
            return post(app, "/v1/registrations", body)
        if how == "deleted":
            return app.test_client().delete("/v1/account", headers=person.headers)
        path = "/v1/account/phone-number"
        return app.test_client().post(path, json=move, headers=person.headers)

    answers = together(21, act)
    assert answers.pop(10).status_code in (200, 204)
    assert {problem_code(answer) for answer in answers} == {"registration-locked"}


def test_first_use_of_a_rotated_token_from_many_sides(
    app: OpenAPI, client: ContractClient, register: Callable[..., Person], clock: Clock
) -> None:
    """A new token first used by 20 requests at once works for all, and retires the old one once."""
    person = register()
    new = client.post("/v1/tokens/rotate", headers=person.headers).json["device_token"]
    headers = {"Authorization": f"Bearer {new}"}
    answers = together(20, lambda _: app.test_client().get("/v1/account", headers=headers))
    assert {answer.status_code for answer in answers} == {200}
    clock.advance(61)
    refused = together(20, lambda _: app.test_client().get("/v1/account", headers=person.headers))
    codes = Counter(problem_code(answer) for answer in refused)
    assert codes == {"token-reused": 1, "token-invalid": 19}


class Slow:
    """A provider that holds every send until it is told to go on."""

    name = "slow"
    channels = BOTH

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.sent = 0

    def send(self, message: Any) -> str:
        """Wait, then take it."""
        self.arrived.release()
        assert self.go_on.wait(30)
        self.sent += 1
        return "id"


def test_no_transaction_is_open_while_the_provider_is_called(make_app: MakeApp) -> None:
    """With sends held up at the provider, others start, check and write as if nothing was."""
    provider = Slow()
    app = make_app(ports={"providers": (provider,)})
    client = app.test_client()
    with ThreadPoolExecutor(8) as pool:
        held = [
            pool.submit(post, app, "/v1/verifications", {"phone_number": f"+491511234567{n}"})
            for n in range(8)
        ]
        for _ in held:
            assert provider.arrived.acquire(timeout=30)
        assert client.get("/livez").status_code == 200
        with app.extensions["kith"].runtime.database.write() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        provider.go_on.set()
        assert {future.result().status_code for future in held} == {201}
    assert provider.sent == 8


def test_two_who_swap_their_numbers_do_not_wait_for_each_other(
    app: OpenAPI,
    client: ContractClient,
    register: Callable[..., Person],
    verify: Callable[..., str],
) -> None:
    """One moves to the other's number, whose account is gone then, and nobody is told of a fault of ours."""
    for round_ in range(5):
        numbers = [f"+4915112340{round_}{n}0" for n in (1, 2)]
        people = [register(number) for number in numbers]
        proofs = [verify(number) for number in reversed(numbers)]

        def move(n: int, people: list[Person] = people, proofs: list[str] = proofs) -> Any:
            body = {"verification_id": proofs[n]}
            return app.test_client().post(
                "/v1/account/phone-number", json=body, headers=people[n].headers
            )

        answers = together(2, move)
        assert {answer.status_code for answer in answers} == {200, 401}
        (moved,) = [answer.json for answer in answers if answer.status_code == 200]
        assert moved["phone_number"] in numbers
