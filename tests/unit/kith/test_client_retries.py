"""What is safe to repeat is repeated, a bounded number of times and with a bounded wait."""

import time
from collections.abc import Callable

import httpx
import pytest

from kith import NO_RETRIES, Envelope, Kith, KithProblem, KithUnreachable, Lookup, RetryPolicy
from kith.problems import DeviceNotFound, IdempotencyInProgress, ServiceUnavailable
from tests.unit.kith.canned import (
    ACCOUNT,
    PARAMETERS,
    REGISTRATION,
    TOKEN,
    VERIFICATION,
    Script,
    ok,
    problem,
)

BROKEN = httpx.ReadTimeout("lost")
ACCEPTED = {"id": "m1", "accepted_at": "2026-11-22T10:20:30Z"}

KEYED: list[tuple[str, Callable[[Kith], object], httpx.Response]] = [
    ("POST /v1/verifications", lambda k: k.start_verification("+49"), ok(VERIFICATION, 201)),
    ("POST /v1/verifications/a/sends", lambda k: k.send_code("a"), ok(VERIFICATION, 201)),
    ("POST /v1/registrations", lambda k: k.register("a"), ok(REGISTRATION, 201)),
    ("POST /v1/device-links/redeem", lambda k: k.redeem_device_link("c"), ok(REGISTRATION, 201)),
    ("POST /v1/tokens/rotate", lambda k: k.rotate_token(), ok({"device_token": "k"}, 201)),
]


@pytest.mark.parametrize(("line", "call", "answer"), KEYED)
def test_keyed_posts_repeat_with_the_same_key(
    line: str,
    call: Callable[[Kith], object],
    answer: httpx.Response,
    client: Kith,
    script: Script,
) -> None:
    """A retry carries the first try's Idempotency-Key and body, another call another key."""
    script.on(line, BROKEN, answer)

    call(client)
    call(client)

    keys = [request.headers["Idempotency-Key"] for request in script.requests]
    assert len(keys) == 3
    assert keys[0] == keys[1] != keys[2]
    assert script.requests[0].content == script.requests[1].content


def test_messages_repeat_with_the_same_client_id(client: Kith, script: Script) -> None:
    """A message whose answer was lost is sent again as the same message."""
    script.on("POST /v1/messages", BROKEN, problem("service-unavailable", 503), ok(ACCEPTED, 202))

    client.send_message("a1", [Envelope("d1", b"x")])

    bodies = script.bodies("POST /v1/messages")
    assert len(bodies) == 3
    assert len({body["client_id"] for body in bodies}) == 1


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("POST /v1/verifications/a/checks", lambda k: k.check_code("a", "123456")),
        ("POST /v1/device-links", lambda k: k.create_device_link()),
        ("POST /v1/account/phone-number", lambda k: k.change_phone_number("a")),
    ],
)
def test_what_counts_each_time_is_not_repeated(
    line: str, call: Callable[[Kith], object], client: Kith, script: Script
) -> None:
    """A guess is spent once, even when its answer is lost."""
    script.on(line, BROKEN)

    with pytest.raises(KithUnreachable):
        call(client)

    assert len(script.requests) == 1
    assert script.slept == []


def test_tries_are_bounded(client: Kith, script: Script) -> None:
    """After three tries the last failure is raised."""
    script.on("GET /v1/account", BROKEN)

    with pytest.raises(KithUnreachable):
        client.account()

    assert len(script.requests) == 3
    assert len(script.slept) == 2


def test_backoff_grows_and_is_jittered() -> None:
    """Delays double up to a bound, and half of each is left to chance."""
    policy = RetryPolicy(first_delay=1.0, longest_delay=4.0)
    samples = {attempt: [policy.delay(attempt) for _ in range(200)] for attempt in (1, 2, 3, 9)}

    for attempt, whole in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 4.0)):
        assert all(whole / 2 <= delay <= whole for delay in samples[attempt])
        assert len(set(samples[attempt])) > 1


def test_total_wait_is_bounded(script: Script) -> None:
    """A 503 that asks for more patience than a call has is raised at once."""
    script.on("GET /v1/account", problem("service-unavailable", 503, {"Retry-After": "15"}))
    client = Kith("http://kith.test", TOKEN, transport=script, sleep=script.sleep)

    with pytest.raises(ServiceUnavailable) as caught:
        client.account()

    assert caught.value.retry_after == 15
    assert script.slept == [15.0]


@pytest.mark.parametrize(
    ("answer", "waited"),
    [
        (problem("service-unavailable", 503, {"Retry-After": "3"}), True),
        (httpx.Response(504, text="gateway"), True),
        (problem("mailbox-full", 429, {"Retry-After": "5"}), True),
        (problem("mailbox-full", 429, {"Retry-After": "6"}), False),
        (problem("mailbox-full", 429), False),
        (problem("idempotency-in-progress", 409, {"Retry-After": "1"}), True),
        (problem("client-id-reused", 409, {"Retry-After": "1"}), False),
        (problem("internal-error", 500), False),
    ],
)
def test_which_refusals_are_waited_out(
    answer: httpx.Response, waited: bool, client: Kith, script: Script
) -> None:
    """503 is waited out, 429 and a running twin only when the wait is short, all else not."""
    script.on("POST /v1/messages", answer, ok(ACCEPTED, 202))

    if waited:
        assert client.send_message("a1", []).id == "m1"
    else:
        with pytest.raises(KithProblem):
            client.send_message("a1", [])

    assert len(script.requests) == (2 if waited else 1)


def test_retry_after_is_the_least_wait(client: Kith, script: Script) -> None:
    """The client never comes back before the server said."""
    busy = problem("idempotency-in-progress", 409, {"Retry-After": "2"})
    script.on("POST /v1/tokens/rotate", busy, ok({"device_token": "kith_new"}, 201))

    client.rotate_token()

    assert script.slept == [2.0]


def test_patience_is_a_setting(script: Script) -> None:
    """A program may refuse to wait for a twin request at all."""
    script.on(
        "POST /v1/tokens/rotate", problem("idempotency-in-progress", 409, {"Retry-After": "1"})
    )
    client = Kith("http://kith.test", TOKEN, transport=script, retries=RetryPolicy(patience=0))

    with pytest.raises(IdempotencyInProgress):
        client.rotate_token()

    assert len(script.requests) == 1


def test_retries_can_be_turned_off(script: Script) -> None:
    """NO_RETRIES sends each request once."""
    script.on("GET /v1/discovery/parameters", BROKEN, ok(PARAMETERS))
    client = Kith("http://kith.test", TOKEN, transport=script, retries=NO_RETRIES)

    with pytest.raises(KithUnreachable):
        client.discovery_parameters()

    assert len(script.requests) == 1


def test_a_repeated_delete_that_finds_nothing_has_done_its_work(
    client: Kith, script: Script
) -> None:
    """When the first answer was lost, "not found" means that the first try arrived."""
    script.on("DELETE /v1/devices/d1", BROKEN, problem("device-not-found", 404))
    script.on("DELETE /v1/devices/d2", problem("device-not-found", 404))

    client.remove_device("d1")
    with pytest.raises(DeviceNotFound):
        client.remove_device("d2")

    assert len(script.requests) == 3


def test_sleep_defaults_to_the_real_one() -> None:
    """Without an injected sleep the client really waits."""
    client = Kith("http://kith.test")

    assert client._transport._sleep is time.sleep


def test_lookups_are_repeatable(client: Kith, script: Script) -> None:
    """Asking about the same hashes twice does nothing twice."""
    script.on("POST /v1/discovery/lookups", BROKEN, ok({"matches": {}}))
    script.on("GET /v1/account", BROKEN, ok(ACCOUNT))

    assert client.look_up("e1", []) == Lookup({})
    assert client.account().discoverable
