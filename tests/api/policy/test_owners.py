"""Strangers lock nobody out: owners come through whatever was filled, and money keeps a share for them."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.api.policy.conftest import Serve, Service, number
from tests.api.policy.test_verdicts import SAFE
from tests.camara import Service as CamaraClient
from tests.conftest import MakeApp, problem_code
from tests.matrix import Homeserver, MatrixClient, make_matrix_app
from tests.policies import budget, conversion, solve, velocity, write_policy
from tests.scripted import Scripted
from verification.policy.file import DEFAULT
from verification.policy.models import SpentChallenge


def elsewhere(n: int) -> str:
    """Give an address of a network of its own."""
    return f"203.0.{n}.5"


def fill(service: Service, texts: int) -> None:
    """Let strangers, each from elsewhere, have as many texts as they get, working where they are asked to."""
    for n in range(texts):
        stranger = number(9_000 + n)
        asked = service.start(stranger, by=elsewhere(n))
        if asked.status_code == 428:
            solution = solve(asked.json["challenge"])
            asked = service.start(stranger, by=elsewhere(n), challenge_solution=solution)
        if asked.status_code != 201:
            return


def ask(service: Service, phone_number: str, by: str = "192.0.2.9") -> Any:
    """Ask for a code as Kith's client does: a challenge is solved, and the answer after it counts."""
    asked = service.start(phone_number, by)
    if asked.status_code != 428:
        return asked
    return service.start(phone_number, by, challenge_solution=solve(asked.json["challenge"]))


@pytest.fixture
def default(make_app: MakeApp, tmp_path: Path) -> Service:
    """A service with the default policy as production has it, but that challenges are easy."""
    text = DEFAULT.read_text()
    easy = text.replace("iterations = 500", "iterations = 1").replace("tries = 800", "tries = 16")
    path = tmp_path / "default.toml"
    path.write_text(easy)
    providers = (Scripted("one"),)
    app = make_app(
        ports={"providers": providers}, policy_file=path, environment="production", **SAFE
    )
    return Service(app, providers)


def test_nineteen_texts_of_a_stranger_close_no_prefix(default: Service) -> None:
    """Nor do forty: whoever has a number there works, and gets the code."""
    for texts in (19, 40):
        fill(default, texts)
        asked = default.start(number(texts), by="192.0.2.9")
        assert problem_code(asked) == "challenge-required"
        assert ask(default, number(texts)).status_code == 201
    default.clock.advance(60)
    assert {row.verdict for row in default.refusals()} == {"challenge"}


def test_a_network_that_did_it_works_harder(default: Service) -> None:
    """Who asks from elsewhere is not made to work for what strangers did."""
    for n in range(30):
        stranger = number(9_000 + n)
        asked = default.start(stranger, by="203.0.113.5")
        if asked.status_code == 428:
            solution = solve(asked.json["challenge"])
            default.start(stranger, by="203.0.113.5", challenge_solution=solution)
    strengths = [
        default.start(number(1), by=by).json["challenge"]["parameters"]["data"]["strength"]
        for by in ("203.0.113.7", "192.0.2.9")
    ]
    assert strengths[0] == 8
    assert strengths[1] <= 3


SPENT = [
    budget("total", 0.4, reserve=0.25),
    budget("country", 0.4, reserve=0.25),
    budget("prefix", 0.4, reserve=0.25),
]


@pytest.mark.parametrize("rule", SPENT)
def test_what_is_kept_is_for_known_numbers(serve: Serve, rule: str) -> None:
    """Of eight texts strangers get six; two are for numbers that were verified before, and no more."""
    service = serve(rule)
    service.verify(number(1))
    service.clock.advance(days=1)
    fill(service, 9)
    assert len(service.providers[0].taken) == 1 + 6
    newcomer = ask(service, number(2))
    assert problem_code(newcomer) == "sends-paused" and newcomer.status_code == 429
    assert [ask(service, number(1)).status_code for _ in range(3)] == [201, 201, 429]
    reserved = [row.reserve for row in service.decisions()]
    assert reserved.count(True) == 2 and reserved.count(False) == 1 + 6
    assert service.money()[f"money-{rule.split('of = ')[1].split()[0].strip(chr(34))}"] == 300_000
    service.clock.advance(days=1)
    assert ask(service, number(2)).status_code == 201


def test_an_account_is_known_however_old(serve: Serve) -> None:
    """A number that leads to an account is known when it was verified too long ago for the history."""
    service = serve(budget("total", 0.2, reserve=0.5))
    identity = service.start(number(1)).json["id"]
    code = re.search(r"\d{6}", service.providers[0].taken[-1].body)
    assert code
    service.client.post(f"/v1/verifications/{identity}/checks", json={"code": code[0]})
    registered = service.client.post("/v1/registrations", json={"verification_id": identity})
    assert registered.status_code == 201, registered.text
    service.clock.advance(days=366)
    service.app.extensions["kith"].maintenance.run()
    fill(service, 5)
    assert ask(service, number(2)).status_code == 429
    assert ask(service, number(1)).status_code == 201


def test_nobody_learns_for_nothing_who_is_known(serve: Serve) -> None:
    """Known or not, who asks without work is answered the same; the answer after it costs that work."""
    service = serve(budget("total", 0.4, reserve=0.25))
    service.verify(number(1))
    service.clock.advance(days=1)
    fill(service, 9)
    (spent,) = service.rows(SpentChallenge)
    told = []
    for n in (1, 2):
        answer = service.start(number(n))
        said = answer.json | {"challenge": None, "instance": None, "decision": None}
        told.append((answer.status_code, sorted(answer.headers.keys()), said))
    assert told[0] == told[1]
    assert told[0][2]["detail"].startswith("Few codes are left there today.")
    assert service.rows(SpentChallenge) == [spent]


def test_lost_money_keeps_out_strangers_and_not_the_known(serve: Serve) -> None:
    """Where texts that nobody typed in cost too much, a newcomer is refused and a known number is not."""
    service = serve(
        conversion("country", 1, 1, lost_per_day=0.1), budget("total", 9.0, reserve=0.25)
    )
    service.verify(number(1))
    service.clock.advance(days=1)
    fill(service, 9)
    assert problem_code(ask(service, number(2))) == "sends-paused"
    assert ask(service, number(1)).status_code == 201
    # A budget that keeps nothing pays for all alike.
    assert service.money() == {
        "money-total": 150_000,
        "money-total-reserve": 50_000,
        "money-country": 200_000,
        "money-prefix": 200_000,
    }


class TestOtherDoors:
    """With protocols that carry no challenge only known numbers pass without one, paid from the reserve."""

    RULES = (velocity("prefix", 2), budget("prefix", 0.8, reserve=0.25))

    @staticmethod
    def crowd(service: Service) -> None:
        """Let the number be verified, and strangers fill its prefix the day after."""
        service.verify(number(1))
        service.clock.advance(days=1)
        fill(service, 2)

    def test_camara(self, serve: Serve) -> None:
        """A service's texts to known numbers go on as long as the reserve lasts, and no longer."""
        service = serve(*self.RULES)
        self.crowd(service)
        camara = CamaraClient(service.app)
        assert camara.send(number(2)).status_code == 429
        answers = [camara.send(number(1)).status_code for _ in range(5)]
        assert answers == [200] * 4 + [429]
        assert service.money()["money-prefix-reserve"] == 200_000
        assert ask(service, number(2)).status_code == 201

    def test_matrix(self, make_app: MakeApp, tmp_path: Path) -> None:
        """So do those that a homeserver's user asks for."""
        providers = (Scripted("one"),)
        policy = write_policy(tmp_path, *self.RULES)
        app = make_matrix_app(make_app, ports={"providers": providers}, policy_file=policy)
        service = Service(app, providers)
        self.crowd(service)
        with Homeserver() as homeserver:
            alice = MatrixClient.register(app, homeserver)
        assert alice.request_token(number(2)).status_code == 429
        assert alice.request_token(number(1)).status_code == 200
        assert service.money()["money-prefix-reserve"] == 50_000
