"""The client and the service, when the policy asks for a proof of work."""

from pathlib import Path

import httpx
import pytest

from kith import Kith, RetryPolicy, solve_challenge
from kith.problems import ChallengeRejected, ChallengeRequired, TooManySends
from sms.provider import Unavailable
from tests.conftest import NUMBER, OTHER_NUMBER, Clock, MakeApp
from tests.policies import velocity, write_policy
from tests.scripted import Scripted

PATIENT = RetryPolicy(total_wait=60)


@pytest.fixture
def transport(make_app: MakeApp, tmp_path: Path) -> httpx.WSGITransport:
    """Reach a service whose every text but the first takes a proof of work."""
    rules = velocity("network", 1, over="challenge"), velocity("number-and-requester", 3)
    return httpx.WSGITransport(make_app(policy_file=write_policy(tmp_path, *rules)))


def test_a_person_behind_a_busy_network(transport: httpx.WSGITransport, clock: Clock) -> None:
    """Her client proves its work, for the text, for the next one, and until her own limit."""
    with Kith("http://kith.test", transport=transport) as kith:
        kith.start_verification(OTHER_NUMBER)
        started = kith.start_verification(NUMBER)
        clock.advance(60)
        again = kith.send_code(started.id)
        assert again.next_sms_in == 120
        kith.start_verification(NUMBER)
        with pytest.raises(TooManySends):
            kith.start_verification(NUMBER)
        assert len(kith.outbox(NUMBER)) == 3


def test_a_provider_that_comes_back(make_app: MakeApp, tmp_path: Path) -> None:
    """The client's own second try brings the same solution, and is sent."""
    provider = Scripted()
    policy = write_policy(tmp_path, velocity("network", 1, over="challenge"))
    app = make_app(ports={"providers": (provider,)}, policy_file=policy)
    waits: list[float] = []
    with Kith(
        "http://kith.test", transport=httpx.WSGITransport(app), sleep=waits.append, retries=PATIENT
    ) as kith:
        kith.start_verification(OTHER_NUMBER)
        provider.faults = [Unavailable(retry_after=1)]
        kith.start_verification(NUMBER)
    assert len(provider.taken) == len(waits) + 1 == 2


def test_a_client_that_solves_elsewhere(transport: httpx.WSGITransport) -> None:
    """One solution is good for one text to one number."""
    with Kith("http://kith.test", transport=transport, solve_challenge=None) as kith:
        kith.start_verification(OTHER_NUMBER)
        with pytest.raises(ChallengeRequired) as required:
            kith.start_verification(NUMBER)
        assert required.value.challenge is not None
        solution = solve_challenge(required.value.challenge)
        with pytest.raises(ChallengeRejected):
            kith.start_verification(OTHER_NUMBER, challenge_solution=solution)
        kith.start_verification(NUMBER, challenge_solution=solution)
        with pytest.raises(ChallengeRejected):
            kith.start_verification(NUMBER, challenge_solution=solution)
