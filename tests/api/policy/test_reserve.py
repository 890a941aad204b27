"""What is kept for known numbers is not drained by one of them, and tells nobody for nothing who is known."""

from pathlib import Path

import pytest

from sms.provider import Unavailable
from tests.api.policy.conftest import Serve, Service, number
from tests.api.policy.test_owners import ask, elsewhere, fill
from tests.camara import Service as CamaraClient
from tests.conftest import MakeApp, problem_code
from tests.matrix import Homeserver, MatrixClient, make_matrix_app
from tests.policies import budget, countries, solve, velocity, write_policy
from tests.scripted import Scripted
from verification.policy.models import SpentChallenge

ONE_NUMBER = velocity("reserve-number", 3, over="deny")
ONE_NETWORK = velocity("reserve-subnet", 10, over="deny")
MANY = budget("total", 8.0, reserve=0.5)


def around(n: int) -> str:
    """Give an address of the one /48 that somebody has."""
    return f"2001:db8:7:{n:x}::5"


@pytest.fixture
def known(serve: Serve) -> Service:
    """A service where twenty numbers are known, and strangers have spent all that is not kept."""
    service = serve(MANY, ONE_NUMBER, ONE_NETWORK)
    for n in range(20):
        service.verify(number(n), by=elsewhere(n))
    service.clock.advance(days=1)
    fill(service, 90)
    return service


class TestDraining:
    """One number, and one network, draw a bounded part of it."""

    def test_one_known_number(self, known: Service) -> None:
        """It gets three texts a day, from wherever they are asked for; the others come through."""
        answers = [ask(known, number(1), by=f"2001:db8:{n:x}::5") for n in range(6)]
        assert [answer.status_code for answer in answers] == [201] * 3 + [429] * 3
        assert known.money()["money-total-reserve"] == 150_000
        assert ask(known, number(2)).status_code == 201
        known.clock.advance(hours=8)
        again = [ask(known, number(1), by=f"2001:db8:{n:x}::5") for n in range(8, 10)]
        assert [answer.status_code for answer in again] == [201, 429]

    def test_one_network(self, known: Service) -> None:
        """Ten texts, whatever numbers it has verified; whoever asks from elsewhere comes through."""
        answers = [ask(known, number(n), by=around(n)) for n in range(12)]
        assert [answer.status_code for answer in answers] == [201] * 10 + [429] * 2
        assert ask(known, number(11), by="192.0.2.9").status_code == 201

    def test_beyond_it_a_known_number_is_answered_as_any(self, known: Service) -> None:
        """Or an empty share would say of every number, for nothing, whether it is known."""
        for n in range(3):
            assert ask(known, number(1), by=f"2001:db8:{n:x}::5").status_code == 201
        told = [
            ask(known, number(n), by="192.0.2.9").json | {"instance": None, "decision": None}
            for n in (1, 4711)
        ]
        assert told[0] == told[1]

    def test_what_was_not_sent_is_given_back_with_the_money(self, known: Service) -> None:
        """A provider that is away counts for nobody."""
        provider = known.providers[0]
        provider.faults = [Unavailable("away")] * 4
        refused = [ask(known, number(1), by=elsewhere(100 + n)).status_code for n in range(4)]
        assert set(refused) == {503}
        provider.faults = []
        answers = [ask(known, number(1), by=elsewhere(110 + n)).status_code for n in range(4)]
        assert answers == [201] * 3 + [429]


class TestAsking:
    """Who asks whether numbers are known pays for it, with work and within a limit of their network."""

    def test_a_solution_is_spent_on_a_number_that_is_refused(self, known: Service) -> None:
        """So that the next number, or the same again, costs another."""
        stranger = number(4711)
        spent = len(known.rows(SpentChallenge))
        solution = solve(known.start(stranger).json["challenge"])
        first = known.start(stranger, challenge_solution=solution)
        again = known.start(stranger, challenge_solution=solution)
        assert problem_code(first) == "sends-paused"
        assert problem_code(again) == "challenge-rejected"
        assert len(known.rows(SpentChallenge)) == spent + 1

    def test_ten_misses_a_day_then_nobody_is_asked(self, known: Service) -> None:
        """Then known numbers are refused from there too; those that ask from elsewhere come through."""
        for n in range(9):
            assert ask(known, number(5_000 + n), by=around(n)).status_code == 429
        # Hits are no misses.
        for n in range(3):
            assert ask(known, number(n), by=around(n)).status_code == 201
        assert ask(known, number(5_009), by=around(9)).status_code == 429
        assert ask(known, number(9), by=around(10)).status_code == 429
        assert ask(known, number(9), by="192.0.2.9").status_code == 201


class TestDoorsWithoutChallenges:
    """There known numbers are spared from what strangers filled, not from what their own network has."""

    @staticmethod
    def matrix(make_app: MakeApp, tmp_path: Path, *rules: str) -> tuple[Service, MatrixClient]:
        """Serve a user of a homeserver, where ten numbers are known."""
        providers = (Scripted("one"),)
        policy = write_policy(tmp_path, *rules, MANY, ONE_NUMBER, ONE_NETWORK)
        app = make_matrix_app(make_app, ports={"providers": providers}, policy_file=policy)
        service = Service(app, providers)
        for n in range(10):
            service.verify(number(n), by=elsewhere(n))
        service.clock.advance(days=1)
        with Homeserver() as homeserver:
            return service, MatrixClient.register(app, homeserver)

    @pytest.mark.parametrize("rule", [velocity("network", 2), velocity("subnet", 2), countries(1)])
    def test_a_full_network_tells_of_nobody(
        self, make_app: MakeApp, tmp_path: Path, rule: str
    ) -> None:
        """Known or not, all that is asked for from there is refused alike."""
        service, mallory = self.matrix(make_app, tmp_path, rule)
        for filler in ("+447400123456", "+447400123457"):
            mallory.request_token(filler)
        sent = len(service.providers[0].taken)
        answers = [mallory.request_token(number(n), client_secret=f"s{n}") for n in (1, 2, 4711)]
        assert [answer.status_code for answer in answers] == [429] * 3
        assert len({answer.text for answer in answers}) == 1
        assert len(service.providers[0].taken) == sent

    def test_a_full_prefix_spares_the_known_within_the_limits(
        self, make_app: MakeApp, tmp_path: Path
    ) -> None:
        """Ten numbers that are not known, and the adapter tells nothing more to that network that day."""
        service, mallory = self.matrix(make_app, tmp_path, velocity("prefix", 10))
        fill(service, 10)
        assert mallory.request_token(number(1)).status_code == 200
        misses = [
            mallory.request_token(number(5_000 + n), client_secret=f"s{n}").status_code
            for n in range(10)
        ]
        assert misses == [429] * 10
        assert mallory.request_token(number(2), client_secret="t").status_code == 429

    def test_a_service_has_no_network(self, serve: Serve) -> None:
        """It asks for many people; each known number draws three texts of the reserve."""
        service = serve(velocity("prefix", 2), MANY, ONE_NUMBER, ONE_NETWORK)
        service.verify(number(1))
        service.clock.advance(days=1)
        fill(service, 2)
        camara = CamaraClient(service.app)
        for n in range(12):
            assert camara.send(number(5_000 + n)).status_code == 429
        assert [camara.send(number(1)).status_code for _ in range(4)] == [200] * 3 + [429]
