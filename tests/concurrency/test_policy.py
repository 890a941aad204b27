"""The policy's limits hold when requests really run side by side, and its counters are what was sent."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

import pytest
from flask_openapi3 import OpenAPI
from sqlalchemy import case, func, select

from core.clock import unix_microseconds
from core.rate_limit_statements import RateLimitCounter
from sms.models import Send
from sms.provider import Ambiguous, Rejected, SmsMessage, Unavailable
from tests.concurrency.test_verification import together
from tests.conftest import Clock, MakeApp, problem_code
from tests.policies import budget, conversion, countries, solve, velocity, write_policy
from tests.scripted import Scripted
from verification.models import Verification
from verification.policy.counters import KNOWN_NUMBER_QUESTIONS
from verification.policy.known_numbers import remember_proven
from verification.policy.models import (
    Decision,
    NetworkCountry,
    Refusal,
    SpentChallenge,
    Traffic,
)

HERE = "198.51.100.7"
#: One mobile number of each of twelve countries.
ABROAD = [
    *("+4915112345678", "+33612345678", "+447400123456", "+34612345678", "+393123456789"),
    *("+31612345678", "+32470123456", "+41781234567", "+43664123456", "+4532123456"),
    *("+46701234567", "+351912345678"),
]

MakePolicyApp = Callable[..., OpenAPI]


@pytest.fixture
def provider() -> Scripted:
    """The provider of the application."""
    return Scripted()


@pytest.fixture
def serve(make_app: MakeApp, provider: Scripted, tmp_path: Path) -> MakePolicyApp:
    """Serve with a policy of these rules."""
    return lambda *rules: make_app(
        ports={"providers": (provider,)}, policy_file=write_policy(tmp_path, *rules)
    )


def number(n: int) -> str:
    """Give a number of one prefix."""
    return f"+491511234{n:04d}"


def address(n: int) -> str:
    """Give an address of a network of its own."""
    return f"203.0.{n}.5"


def start(app: OpenAPI, phone_number: str, by: str, **fields: Any) -> Any:
    """Ask for a code with a client of its own."""
    return app.test_client().post(
        "/v1/verifications",
        json={"phone_number": phone_number, **fields},
        environ_overrides={"REMOTE_ADDR": by},
    )


@pytest.mark.parametrize(
    ("rule", "admitted", "otherwise"),
    [
        (velocity("prefix", 13), 13, 428),
        (velocity("country", 13, over="challenge"), 13, 428),
        (budget("total", 0.65), 13, 429),
        (budget("prefix", 0.65), 13, 429),
        (conversion("prefix", 13, 60), 13, 428),
        (conversion("country", 60, 13), 13, 428),
        (budget("country", 1.3, reserve=0.5), 13, 428),
    ],
)
def test_of_sixty_at_once_as_many_as_are_allowed_are_sent(
    serve: MakePolicyApp, provider: Scripted, rule: str, admitted: int, otherwise: int
) -> None:
    """Sixty numbers of a prefix are asked for at once, from as many networks."""
    app = serve(rule)
    answers = together(60, lambda n: start(app, number(n), address(n)))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {201: admitted, otherwise: 60 - admitted}
    assert len(provider.taken) == admitted
    with app.extensions["kith"].runtime.database.read() as connection:
        allowed = connection.scalars(select(Decision.verdict)).all()
        refused = select(Refusal.verdict, func.sum(Refusal.requests)).group_by(Refusal.verdict)
        counted = [(verdict, int(requests)) for verdict, requests in connection.execute(refused)]
        assert connection.scalar(select(func.count()).select_from(Refusal)) == 1
    assert allowed == ["allow"] * admitted
    assert counted == [("deny" if otherwise == 429 else "challenge", 60 - admitted)]


def test_of_sixty_texts_to_one_known_number_at_once_three_come_from_the_reserve(
    serve: MakePolicyApp, provider: Scripted
) -> None:
    """Each is asked for from a network of its own, with a solution; the reserve would pay for all."""
    app = serve(budget("total", 8.0, reserve=0.9), velocity("reserve-number", 3, over="deny"))
    database, keyring = (
        app.extensions["kith"].runtime.database,
        app.extensions["kith"].runtime.keyring,
    )
    for n in range(100, 116):
        assert start(app, number(n), address(n)).status_code == 201
    with database.write() as connection:
        remember_proven(connection, keyring.digest("number", number(1)), Clock.now)
    asked = [start(app, number(1), address(n)) for n in range(60)]
    solutions = [solve(answer.json["challenge"]) for answer in asked]
    answers = together(
        60, lambda n: start(app, number(1), address(n), challenge_solution=solutions[n])
    )
    assert Counter(answer.status_code for answer in answers) == {201: 3, 429: 57}
    assert len(provider.taken) == 16 + 3


def test_of_sixty_misses_at_once_ten_are_asked_about(
    serve: MakePolicyApp, provider: Scripted
) -> None:
    """All from one network, whose eleventh question would have been about a number that is known."""
    app = serve(budget("total", 0.4, reserve=0.75))
    kith = app.extensions["kith"]
    for n in range(100, 102):
        assert start(app, number(n), address(n)).status_code == 201
    with kith.runtime.database.write() as connection:
        remember_proven(connection, kith.runtime.keyring.digest("number", number(99)), Clock.now)
    solutions = [solve(start(app, number(n), HERE).json["challenge"]) for n in (*range(60), 99)]
    answers = together(60, lambda n: start(app, number(n), HERE, challenge_solution=solutions[n]))
    assert Counter(answer.status_code for answer in answers) == {429: 60}
    with kith.runtime.database.read() as connection:
        misses = select(RateLimitCounter.until_us).where(
            RateLimitCounter.name == KNOWN_NUMBER_QUESTIONS.name
        )
        (until_us,) = connection.scalars(misses)
    assert until_us == unix_microseconds(Clock.now) + 10 * KNOWN_NUMBER_QUESTIONS.interval_us
    known = start(app, number(99), HERE, challenge_solution=solutions[60])
    assert known.status_code == 429


def test_of_sixty_known_numbers_at_once_as_many_as_the_reserve_pays_for(
    serve: MakePolicyApp, provider: Scripted
) -> None:
    """Strangers have spent the rest; each solves a challenge, and seven texts are kept for the known."""
    app = serve(budget("total", 0.7, reserve=0.5))
    database = app.extensions["kith"].runtime.database
    keyring = app.extensions["kith"].runtime.keyring
    for n in range(100, 107):
        assert start(app, number(n), address(n)).status_code == 201
    with database.write() as connection:
        for n in range(60):
            remember_proven(connection, keyring.digest("number", number(n)), Clock.now)
    asked = [start(app, number(n), address(n)) for n in range(61)]
    assert {answer.status_code for answer in asked} == {428}
    solutions = [solve(answer.json["challenge"]) for answer in asked]
    answers = together(
        61, lambda n: start(app, number(n), address(n), challenge_solution=solutions[n])
    )
    assert answers[60].status_code == 429
    assert Counter(answer.status_code for answer in answers) == {201: 7, 429: 54}
    assert len(provider.taken) == 14
    with database.read() as connection:
        spent = dict(connection.execute(select(RateLimitCounter.name, RateLimitCounter.used)).all())
        assert connection.scalar(select(func.count()).select_from(SpentChallenge)) == 61
    assert spent["money-total"] == spent["money-total-reserve"] == 350_000


def test_countries_of_one_network_at_once(serve: MakePolicyApp, provider: Scripted) -> None:
    """Of twelve countries that one network asks for five times each, at once, three are sent to."""
    app = serve(countries(3))
    answers = together(60, lambda n: start(app, ABROAD[n % 12], HERE))
    assert Counter(answer.status_code for answer in answers) == {201: 15, 428: 45}
    assert len({message.to for message in provider.taken}) == 3
    with app.extensions["kith"].runtime.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(NetworkCountry)) == 3


def test_one_solution_of_many_at_once(serve: MakePolicyApp, provider: Scripted) -> None:
    """Of twenty requests that bring the same solution one is sent."""
    app = serve(velocity("number", 1, over="challenge"))
    start(app, number(1), HERE)
    challenge = start(app, number(1), HERE).json["challenge"]
    solution = solve(challenge)
    answers = together(20, lambda n: start(app, number(1), address(n), challenge_solution=solution))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 422: 19}
    assert len(provider.taken) == 2
    with app.extensions["kith"].runtime.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(SpentChallenge)) == 1


class Moody(Scripted):
    """A provider that fails in every way, in an order that is the same each time."""

    def __init__(self) -> None:
        super().__init__()
        self._random = Random(3)
        self._lock = Lock()
        self.codes: dict[str, list[str]] = {}

    def send(self, message: SmsMessage) -> str:
        """Take it, or fail."""
        faults = [None, None, None, Unavailable(), Rejected("21211"), Ambiguous("timeout")]
        with self._lock:
            fault = self._random.choice(faults)
            if message.channel == "sms":
                self.codes.setdefault(message.to, []).append(message.body.split()[0])
        if fault:
            raise fault
        return "id"


def test_counters_are_what_was_sent(make_app: MakeApp, tmp_path: Path, clock: Clock) -> None:
    """Starts, resends, checks and failures of a few prefixes and networks, all at once.

    None waits for another in a circle, and when all is over what was counted is what the sends say.
    """
    provider = Moody()
    rules = [velocity(of, 40, over="challenge") for of in ("network", "subnet", "prefix")]
    policy = write_policy(
        tmp_path,
        velocity("number-and-requester", 20),
        *rules,
        countries(2),
        conversion("prefix", 30, 30, lost_per_day=2.0),
        conversion("country", 60, 60),
        *(budget(of, 100.0) for of in ("total", "country", "prefix")),
    )
    app = make_app(ports={"providers": (provider,)}, policy_file=policy)
    numbers = [f"+49151123{n % 3}{n:04d}" for n in range(8)] + ["+33612345678", "+33612345679"]
    pending: list[tuple[str, str]] = []
    seen: list[str] = []

    def note(answer: Any) -> Any:
        seen.append(problem_code(answer) if answer.status_code >= 400 else "done")
        return answer

    def ask(n: int) -> None:
        random = Random(n)
        for _ in range(4):
            to = random.choice(numbers)
            started = note(start(app, to, f"198.51.100.{n % 4}"))
            if started.status_code == 201:
                pending.append((f"/v1/verifications/{started.json['id']}", to))

    def go_on(n: int) -> None:
        if n % 3 == 0:
            ask(n + 100)
            return
        client = app.test_client()
        for path, to in asked[n::12] + asked[n + 1 :: 12]:
            note(client.post(f"{path}/sends", json={"channel": "voice"}))
            for code in set(provider.codes[to]):
                note(client.post(f"{path}/checks", json={"code": code}))

    together(12, ask)
    clock.advance(60)
    asked = list(pending)
    together(12, go_on)

    assert not {"internal-error", "service-unavailable"} & set(seen)
    assert {"done", "code-rejected", "send-rejected", "send-unavailable"} <= set(seen)
    _recount(app)


def _recount(app: OpenAPI) -> None:
    """Hold what was counted against the sends and the verifications."""
    happened = func.sum(case((Send.status != "failed", 1), else_=0))
    with app.extensions["kith"].runtime.database.read() as connection:
        for scope in (Send.prefix, Send.country):
            query = select(scope, happened, func.sum(Send.price_micros)).group_by(scope)
            for name, count, _ in connection.execute(query):
                traffic = select(Traffic.sends).where(Traffic.scope == name)
                assert set(connection.scalars(traffic)) == {count}
        money = select(RateLimitCounter.name, func.sum(RateLimitCounter.used)).where(
            RateLimitCounter.name.startswith("money-")
        )
        spent = {
            row[0]: int(row[1]) for row in connection.execute(money.group_by(RateLimitCounter.name))
        }
        paid = int(connection.scalar(select(func.sum(Send.price_micros))) or 0)
        assert spent == dict.fromkeys(("money-total", "money-country", "money-prefix"), paid)
        # A newer proof voids an older one, which was proven all the same.
        proven = select(func.sum(Verification.sms_count + Verification.call_count)).where(
            select(Decision.id)
            .where(
                Decision.number_digest == Verification.number_digest,
                Decision.verification_nonce == Verification.nonce,
                Decision.verified_at.is_not(None),
            )
            .exists()
        )
        credited = select(func.sum(Traffic.verified)).where(
            Traffic.span == "d", Traffic.scope.startswith("+")
        )
        assert connection.scalar(proven) == connection.scalar(credited) > 0
