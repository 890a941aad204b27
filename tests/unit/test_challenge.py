"""Challenges: solved once, for one number, in time, and nothing else gets through."""

import base64
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import altcha
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from core.database import Database
from core.secrets import Keyring
from kith import solve_challenge
from tests.conftest import NUMBER, OTHER_NUMBER, Clock
from tests.policies import solve
from verification.policy.challenge import (
    ChallengeService,
    Solution,
    purge_spent,
)
from verification.policy.file import (
    MAX_DIFFICULTY,
    PHONE_ITERATIONS_PER_SECOND,
    PHONE_SECONDS_PER_TRY,
    ChallengeParameters,
    load_policy,
)
from verification.policy.models import SpentChallenge
from verification.problems import ChallengeRejected

NOW = Clock.now
TEN_MINUTES = timedelta(minutes=10)
RING = Keyring((b"n" * 32,))
ROTATED = Keyring((b"m" * 32, b"n" * 32))


def service(
    keyring: Keyring = RING,
    tries: int = 16,
    entropy: Callable[[int], bytes] = os.urandom,
) -> ChallengeService:
    """Create and verify easy challenges."""
    return ChallengeService(
        keyring,
        ChallengeParameters.model_construct(iterations=1, tries=tries, lifetime=TEN_MINUTES),
        entropy,
    )


def digests(number: str = NUMBER, keyring: Keyring = RING) -> list[bytes]:
    """Name a number under every accepted secret."""
    return keyring.digests("number", number)


def make(pressure: float = 1.0) -> dict[str, Any]:
    """Make a challenge for the number."""
    return service().create(digests()[0], pressure, NOW)


def check(payload: str | None, number: str = NUMBER, after: timedelta = timedelta()) -> Any:
    """Verify a payload as the solution of a number's challenge."""
    return service().verify(payload, digests(number), NOW + after)


def opened(payload: str) -> Any:
    """Read what a client sends."""
    return json.loads(base64.b64decode(payload))


def closed(document: Any) -> str:
    """Write what a client sends."""
    return base64.b64encode(json.dumps(document).encode()).decode()


def test_a_solved_challenge() -> None:
    """It is the number's, and good until it expires."""
    challenge = make()
    solution = check(solve(challenge))
    nonce = bytes.fromhex(challenge["parameters"]["nonce"])
    assert solution == Solution(digests()[0], nonce, NOW + TEN_MINUTES, 1)


def test_no_solution() -> None:
    """Nothing given is no fault."""
    assert check(None) is None


def test_it_tells_nothing_of_the_number() -> None:
    """What travels to whoever asks holds its digest only."""
    assert NUMBER[1:] not in json.dumps(make())


@pytest.mark.parametrize(
    ("pressure", "tries"), [(0.0, 100), (1.4, 100), (1.6, 200), (3.0, 300), (8.0, 800), (1e9, 800)]
)
def test_the_work_grows_with_the_pressure(pressure: float, tries: int) -> None:
    """As a multiple of the least, up to a bound; the unluckiest person never tries more than that."""
    for drawn, expected in ((0, 0), (tries - 1, tries - 1), (tries, 0)):
        unlucky = service(tries=100, entropy=lambda size, drawn=drawn: drawn.to_bytes(size, "big"))
        solved = opened(solve(unlucky.create(digests()[0], pressure, NOW)))
        # Another try matches the key's first bytes once in 65,536 times; it is right too, and earlier.
        assert solved["solution"]["counter"] <= expected


def test_a_solution_suffices_for_twice_its_strength() -> None:
    """Limits go on filling while it is worked at; one that was got when it was easy is not hoarded."""
    one, three = (check(solve(make(pressure))) for pressure in (1.0, 3.0))
    assert [one.suffices(pressure) for pressure in (1.0, 2.4, 2.6)] == [True, True, False]
    assert [three.suffices(pressure) for pressure in (6.0, 7.0, 1e9)] == [True, False, False]


def test_the_default_challenge_is_ten_seconds_of_an_old_phone() -> None:
    """By what the file is held against, and within what Kith's own client takes on."""
    parameters = load_policy(None).challenge
    a_try = parameters.iterations / PHONE_ITERATIONS_PER_SECOND + PHONE_SECONDS_PER_TRY
    assert 5.0 < MAX_DIFFICULTY * parameters.tries * a_try <= 10.0
    solve_challenge(ChallengeService(RING, parameters).create(digests()[0], 1.0, NOW))


def test_another_number_s() -> None:
    """One number's solution lets no other through."""
    found = check(solve(make()), OTHER_NUMBER)
    assert isinstance(found, ChallengeRejected)
    assert "another number" in found.detail


def test_when_it_expires() -> None:
    """At the very end of its life it is over."""
    payload = solve(make())
    assert isinstance(check(payload, after=TEN_MINUTES - timedelta(microseconds=1)), Solution)
    found = check(payload, after=TEN_MINUTES)
    assert isinstance(found, ChallengeRejected)
    assert "expired" in found.detail


def _changes() -> dict[str, Callable[[Any], Any]]:
    def parameter(name: str, value: Any) -> Callable[[Any], Any]:
        def change(document: Any) -> None:
            before = document["challenge"]["parameters"].get(name)
            assert before != value
            document["challenge"]["parameters"][name] = value

        return change

    changes = {
        f"parameter {name}": parameter(name, value)
        for name, value in {
            "algorithm": "SHA-256",
            "cost": 0,
            "keyLength": 16,
            "keyPrefix": "",
            "nonce": "00" * 16,
            "salt": "00" * 16,
            "data": {"number": digests(OTHER_NUMBER)[0].hex(), "expires": 2_000_000_000},
            "expiresAt": 2_000_000_000,
            "keySignature": "00" * 32,
            "memoryCost": 8,
            "parallelism": 1,
        }.items()
    }
    return changes | {
        "later": lambda d: d["challenge"]["parameters"]["data"].update(expires=2_000_000_000),
        "cost with a fraction": lambda d: d["challenge"]["parameters"].update(cost=1.0),
        "length with a fraction": lambda d: d["challenge"]["parameters"].update(keyLength=32.0),
        "signature": lambda d: d["challenge"].update(signature="00" * 32),
        "no signature": lambda d: d["challenge"].pop("signature"),
        "counter": lambda d: d["solution"].update(counter=d["solution"]["counter"] + 1),
        "large counter": lambda d: d["solution"].update(counter=2**32),
        "counter as text": lambda d: d["solution"].update(counter="0"),
        "key": lambda d: d["solution"].update(derivedKey="00" * 32),
        "no key": lambda d: d["solution"].update(derivedKey=None),
        "no solution": lambda d: d.pop("solution"),
        "no challenge": lambda d: d.pop("challenge"),
    }


@pytest.mark.parametrize("change", _changes().values(), ids=_changes().keys())
def test_what_is_tampered_with(change: Callable[[Any], Any]) -> None:
    """Every field is signed or checked."""
    document = opened(solve(make()))
    assert isinstance(check(closed(document)), Solution)
    change(document)
    assert isinstance(check(closed(document)), ChallengeRejected)


def test_a_counter_that_was_not_searched_for() -> None:
    """A key that is derived right but does not begin as it should is no work."""
    document = opened(solve(make()))
    challenge = altcha.Challenge.from_dict(document["challenge"])
    parameters = challenge.parameters
    for counter in range(100):
        password = bytes.fromhex(parameters.nonce) + counter.to_bytes(4, "big")
        key = altcha.derive_key_pbkdf2(parameters, bytes.fromhex(parameters.salt), password)
        rightly = key.hex().startswith(parameters.key_prefix)
        document["solution"] = {"counter": counter, "derivedKey": key.hex()}
        assert isinstance(check(closed(document)), Solution) == rightly


def test_a_challenge_of_somebody_else_s_key() -> None:
    """Whoever signs her own challenge has made nothing."""
    strange = service(Keyring((b"x" * 32,))).create(digests()[0], 1.0, NOW)
    assert isinstance(check(solve(strange)), ChallengeRejected)


def test_a_solution_outlives_a_rotation_of_secrets() -> None:
    """While the previous secret is accepted it is good, for the number under either."""
    payload = solve(make())
    rotated = service(ROTATED)
    found = rotated.verify(payload, digests(keyring=ROTATED), NOW)
    assert isinstance(found, Solution)
    assert found.number_digest == digests()[0]
    after = service(Keyring((b"m" * 32,)))
    gone = after.verify(payload, digests(keyring=Keyring((b"m" * 32,))), NOW)
    assert isinstance(gone, ChallengeRejected)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["challenge", "parameters", "solution", "signature", "counter", "data"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
payloads = (
    st.text(alphabet="ABCabc019+/=", max_size=60)
    | st.binary(max_size=80).map(lambda data: base64.b64encode(data).decode())
    | json_values.map(closed)
)


@given(payloads)
@settings(max_examples=200)
def test_garbage_is_rejected(payload: str) -> None:
    """Whatever is sent is verified without a fault, and is no solution."""
    assert isinstance(check(payload), ChallengeRejected)


@given(
    st.sampled_from(["algorithm", "cost", "keyLength", "keyPrefix", "nonce", "salt", "data"]),
    json_values,
)
@settings(max_examples=100)
def test_a_payload_cannot_choose_what_it_costs(name: str, value: Any) -> None:
    """Whatever stands in a parameter that the server did not sign is never worked with."""
    document = opened(solve(make()))
    parameters = document["challenge"]["parameters"]
    if json.dumps(parameters[name]) != json.dumps(value):
        parameters[name] = value
        assert isinstance(check(closed(document)), ChallengeRejected)


@pytest.mark.parametrize("depth", [400, 700, 1_000, 5_000])
def test_payloads_that_are_nested(depth: int) -> None:
    """They are too deep to sign and are rejected like others."""
    challenge = make()
    challenge["parameters"]["data"] = "DEEP"
    text = json.dumps({"challenge": challenge, "solution": {"counter": 0, "derivedKey": ""}})
    deep = text.replace('"DEEP"', "[" * depth + "]" * depth)
    payload = base64.b64encode(deep.encode()).decode()
    assert isinstance(check(payload), ChallengeRejected)


def spend(database: Database, solution: Solution) -> bool:
    """Use a solution up in a transaction of its own."""
    with database.write() as connection:
        return solution.spend(connection)


def spent(database: Database) -> int:
    """Count what was used up."""
    with database.read() as connection:
        return int(connection.scalar(select(func.count()).select_from(SpentChallenge)) or 0)


def test_of_twenty_at_once_one_passes(database: Database) -> None:
    """A solution is used up once, however many bring it."""
    solution = check(solve(make()))
    barrier = Barrier(20)

    def run(_: int) -> bool:
        barrier.wait()
        return spend(database, solution)

    with ThreadPoolExecutor(20) as pool:
        assert sorted(pool.map(run, range(20))) == [False] * 19 + [True]
    assert spent(database) == 1


def test_every_solution_of_a_challenge_is_the_same_one(database: Database) -> None:
    """Another counter that solves it too does not pass again."""
    challenge = make()
    first = altcha.Challenge.from_dict(challenge)
    one = altcha.solve_challenge(first)
    assert one is not None
    other = altcha.solve_challenge(first, counter_start=one.counter + 1)
    assert other is not None
    found = [check(altcha.Payload(first, solution).to_base64()) for solution in (one, other)]
    assert [spend(database, solution) for solution in found] == [True, False]


def test_what_is_rolled_back_was_not_used(database: Database) -> None:
    """Whoever was refused all the same may bring it again."""
    solution = check(solve(make()))
    with database.write() as connection:
        savepoint = connection.begin_nested()
        assert solution.spend(connection)
        savepoint.rollback()
    assert spend(database, solution)


def test_used_ones_are_purged_when_they_have_expired(database: Database) -> None:
    """Not before: until then they could come again."""
    assert spend(database, check(solve(make())))
    for after, left in ((TEN_MINUTES, 1), (TEN_MINUTES + timedelta(seconds=1), 0)):
        with database.write() as connection:
            purge_spent(connection, NOW + after)
        assert spent(database) == left
