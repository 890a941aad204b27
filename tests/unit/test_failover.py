"""Failover: who is tried after whom, what stays of each attempt, and that nothing is sent twice."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from flask_openapi3 import OpenAPI
from sqlalchemy import select, update

from sms.delivery import Outcome
from sms.models import RoutingOutcome, Send
from sms.problems import SendBlocked, SendRejected, SendUnavailable
from sms.provider import Ambiguous, Blocked, Rejected, Unavailable
from sms.service import QueuedSend, SendResult
from tests.conftest import NUMBER, Clock, MakeApp, problem_code
from tests.policies import velocity, write_policy
from tests.scripted import Scripted

KEY = {"Idempotency-Key": "a-key-that-nobody-else-has"}
DIGEST, VERIFICATION = b"d" * 16, b"v" * 16
ROUTING = """
currency = "EUR"
choice = { margin = 0.05, half_life_sends = 300, patience_seconds = 180 }
pins = { DE = ["one", "two", "three"] }
[prices]
default = { sms = { default = 0.05 }, voice = { default = 0.05 } }
two = { sms = { default = 0.06 } }
three = { sms = { default = 0.07 } }
"""
PRICES = (50_000, 60_000, 70_000)

Providers = tuple[Scripted, Scripted, Scripted]


class Crash(BaseException):
    """The process dies here."""


@pytest.fixture
def providers() -> Providers:
    """Three providers, tried in this order."""
    return Scripted("one"), Scripted("two"), Scripted("three")


@pytest.fixture
def app(make_app: MakeApp, providers: Providers, tmp_path: Path) -> OpenAPI:
    """An application that sends through them."""
    path = tmp_path / "routing.toml"
    path.write_text(ROUTING)
    policy = write_policy(tmp_path, velocity("number-and-requester", 100))
    return make_app(ports={"providers": providers}, routing_file=path, policy_file=policy)


class Sends:
    """The application's sends, without a verification around them."""

    def __init__(self, app: OpenAPI) -> None:
        self.kith = app.extensions["kith"]

    def queue(self, *, first: bool = True) -> QueuedSend:
        """Record a send."""
        with self.kith.runtime.database.write() as connection:
            return self.kith.sms.sends.queue(
                connection,
                self.kith.sms.sends.route(connection, "DE", "sms"),
                number_digest=DIGEST,
                verification_nonce=VERIFICATION,
                prefix="+4915112",
                first=first,
            )

    def deliver(self, queued: QueuedSend) -> SendResult:
        """Hand a send over, and record how that ended."""
        delivered: SendResult = self.kith.sms.sends.dispatch(
            queued, to=NUMBER, body="a code", language="en"
        )
        with self.kith.runtime.database.write() as connection:
            self.kith.sms.sends.record(connection, delivered)
        return delivered

    def verified(self) -> None:
        """Say that the code was right."""
        with self.kith.runtime.database.write() as connection:
            self.kith.sms.sends.record_verified(connection, DIGEST, VERIFICATION)

    def set(self, queued: QueuedSend, status: str) -> None:
        """Let a send have come this far."""
        with self.kith.runtime.database.write() as connection:
            connection.execute(update(Send).where(Send.id == queued.id).values(status=status))

    def rows(self) -> list[Any]:
        """Read all attempts, by provider."""
        query = select(*Send.__table__.columns).order_by(Send.created_at, Send.provider)
        with self.kith.runtime.database.read() as connection:
            rows = {row.provider: row for row in connection.execute(query)}
        return [rows[name] for name in ("one", "two", "three") if name in rows]

    def outcomes(self) -> list[tuple[str, int, int]]:
        """Read what the router is to learn."""
        query = select(RoutingOutcome.provider, RoutingOutcome.sends, RoutingOutcome.verified)
        with self.kith.runtime.database.read() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def empty(self) -> None:
        """Begin anew."""
        with self.kith.runtime.database.write() as connection:
            connection.execute(Send.__table__.delete())
            connection.execute(RoutingOutcome.__table__.delete())


@pytest.fixture
def sends(app: OpenAPI) -> Sends:
    """The application's sends."""
    return Sends(app)


ANSWERS: dict[str, Callable[[], Exception | None]] = {
    "sent": lambda: None,
    "unknown": lambda: Ambiguous("timeout"),
    "rejected": lambda: Rejected("1"),
    "blocked": lambda: Blocked("2"),
    "away": lambda: Unavailable("3", retry_after=7),
}
#: After these nobody else is tried.
LAST = ("sent", "unknown", "rejected")


def test_every_way_three_providers_can_answer(
    sends: Sends, providers: Providers, clock: Clock
) -> None:
    """Each that failed for certain is followed by the next; each attempt is a row of its own."""
    for answers in product(ANSWERS, repeat=3):
        sends.empty()
        clock.advance(hours=2)
        before = [provider.calls for provider in providers]
        for provider, answer in zip(providers, answers, strict=True):
            provider.faults = [ANSWERS[answer]()]
        delivered = sends.deliver(sends.queue())

        tried = next((n for n, answer in enumerate(answers, 1) if answer in LAST), 3)
        made = [provider.calls - was for provider, was in zip(providers, before, strict=True)]
        assert made == [1] * tried + [0] * (3 - tried), answers
        rows = sends.rows()
        ends = [answer if answer in ("sent", "unknown") else "failed" for answer in answers]
        assert [row.status for row in rows] == ends[:tried]
        assert [row.first for row in rows] == [True, False, False][:tried]
        assert [row.price_micros for row in rows] == [
            0 if end == "failed" else price
            for end, price in zip(ends[:tried], PRICES[:tried], strict=True)
        ]
        # The first choice is judged by this, and nobody else.
        assert sends.outcomes() == [("one", 1, 0)]
        final = answers[tried - 1]
        assert delivered.provider == providers[tried - 1].name
        assert delivered.price_micros == rows[-1].price_micros
        if final in ("sent", "unknown"):
            assert delivered.problem is None
        elif final == "rejected":
            assert isinstance(delivered.problem, SendRejected)
        elif "away" in answers:
            assert isinstance(delivered.problem, SendUnavailable)
        else:
            assert isinstance(delivered.problem, SendBlocked)


def test_when_to_come_back(sends: Sends, providers: Providers) -> None:
    """When all are away it is the earliest that any of them named."""
    for provider, seconds in zip(providers, (9, 5, None), strict=True):
        provider.faults = [Unavailable(retry_after=seconds)]
    failure = sends.deliver(sends.queue()).problem
    assert failure is not None
    assert failure.retry_after == 5


def test_the_time_for_it_is_bounded(sends: Sends, providers: Providers, clock: Clock) -> None:
    """Once it is over no other provider is started, however many there are."""
    for provider in providers:
        provider.before_answer = lambda message: clock.advance(10)
        provider.faults = [Unavailable()]
    assert isinstance(sends.deliver(sends.queue()).problem, SendUnavailable)
    assert [provider.calls for provider in providers] == [1, 1, 0]
    assert [row.status for row in sends.rows()] == ["failed", "failed"]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_crash_during_an_attempt(
    sends: Sends, providers: Providers, clock: Clock, at: int
) -> None:
    """Those before it are known to have failed; the one it hit is queued, and then unknown."""
    for provider in providers[:at]:
        provider.faults = [Unavailable()]
    providers[at].faults = [Crash()]
    with pytest.raises(Crash):
        sends.deliver(sends.queue())
    assert [row.status for row in sends.rows()] == ["failed"] * at + ["queued"]
    clock.advance(minutes=6)
    with sends.kith.runtime.database.write() as connection:
        sends.kith.sms.deliveries.settle(connection, clock())
    assert [row.status for row in sends.rows()] == ["failed"] * at + ["unknown"]
    assert sends.rows()[at].price_micros == PRICES[at]


def test_late_reports_of_who_failed(sends: Sends, providers: Providers, clock: Clock) -> None:
    """A provider that failed, and reports on it after all, does not disturb the one that took over."""
    providers[0].faults = [Unavailable()]
    queued = sends.queue()
    delivered = sends.deliver(queued)
    for status in ("sent", "delivered", "undelivered", "failed"):
        for reference in (queued.reference, delivered.queued.reference):
            assert not sends.kith.sms.deliveries.report("one", reference, Outcome(status, "late"))
    assert [(row.status, row.provider_message_id) for row in sends.rows()] == [
        ("failed", None),
        ("sent", "id-1"),
    ]
    assert sends.kith.sms.deliveries.report("two", delivered.queued.reference, Outcome("delivered"))


def test_who_was_away_goes_last_for_a_while(
    sends: Sends, providers: Providers, clock: Clock
) -> None:
    """For as long as it said, or half a minute; then it has its turn again, and keeps it."""
    one, two, _ = providers

    def tries() -> str:
        return sends.deliver(sends.queue()).provider

    one.faults = [Unavailable(retry_after=60)]
    assert [tries(), tries()] == ["two", "two"]
    assert one.calls == 1
    clock.advance(59)
    assert tries() == "two"
    clock.advance(1)
    assert (tries(), tries()) == ("one", "one")

    one.faults = [Unavailable()]
    assert (tries(), tries()) == ("two", "two")
    two.faults = [Unavailable()]
    # Both are away: the order is the pin's, and whoever sends is back.
    assert tries() == "three"
    clock.advance(30)
    assert tries() == "one"


def test_a_code_settles_what_is_unknown(sends: Sends) -> None:
    """The only send that may have brought it was delivered, whatever was known of it."""
    for status in ("queued", "unknown", "sent", "delivered"):
        sends.empty()
        queued = sends.queue()
        sends.set(queued, status)
        sends.verified()
        (row,) = sends.rows()
        assert (row.status, row.verified_at) == ("delivered", sends.kith.runtime.clock())
        assert [one[2] for one in sends.outcomes()] == [1]


def test_a_code_that_several_may_have_brought(sends: Sends, clock: Clock) -> None:
    """None is settled, the last one is taken to have brought it, and nobody is credited."""
    first = sends.deliver(sends.queue()).queued
    clock.advance(60)
    sends.set(first, "unknown")
    again = sends.queue(first=False)
    sends.set(again, "sent")
    sends.verified()
    with sends.kith.runtime.database.read() as connection:
        rows = {row.id: row for row in connection.execute(select(*Send.__table__.columns))}
    assert (rows[first.id].status, rows[first.id].verified_at) == ("unknown", None)
    assert (rows[again.id].status, rows[again.id].verified_at) == ("sent", clock())
    assert sends.outcomes() == [("one", 1, 0)]


@pytest.mark.parametrize("known", ["failed", "undelivered"])
def test_a_code_after_a_known_failure(sends: Sends, clock: Clock, known: str) -> None:
    """What is known not to have arrived did not bring it, so the other one did."""
    first = sends.deliver(sends.queue()).queued
    sends.set(first, known)
    clock.advance(60)
    again = sends.queue(first=False)
    sends.verified()
    with sends.kith.runtime.database.read() as connection:
        rows = {row.id: row for row in connection.execute(select(*Send.__table__.columns))}
    assert (rows[first.id].status, rows[first.id].verified_at) == (known, None)
    assert (rows[again.id].status, rows[again.id].verified_at) == ("delivered", clock())
    assert sends.outcomes() == [("one", 1, 0)]


def test_a_code_against_every_report(sends: Sends, clock: Clock) -> None:
    """When all are said not to have arrived the last is marked, and its final state stays."""
    queued = sends.queue()
    sends.set(queued, "undelivered")
    sends.verified()
    (row,) = sends.rows()
    assert (row.status, row.verified_at) == ("undelivered", clock())
    assert sends.outcomes() == []


def test_a_code_of_which_no_send_is_left(sends: Sends) -> None:
    """It proves nothing about sends."""
    sends.verified()
    assert (sends.rows(), sends.outcomes()) == ([], [])


def test_one_provider_learns_nothing(make_app: MakeApp) -> None:
    """Where there is nothing to choose, nothing is counted for it."""
    sends = Sends(make_app())
    sends.deliver(sends.queue())
    sends.verified()
    assert sends.outcomes() == []


Start = Callable[..., Any]


@pytest.fixture
def start(client: FlaskClient) -> Start:
    """Start a verification."""
    body = {"phone_number": NUMBER}
    return lambda **request: client.post("/v1/verifications", json=body, **request)


def test_a_start_that_another_provider_took_over(
    client: FlaskClient, sends: Sends, providers: Providers, start: Start
) -> None:
    """The person sees nothing of it, and her code credits neither of the two."""
    one, two, _ = providers
    one.faults = [Unavailable()]
    answer = start(headers=KEY)
    assert answer.status_code == 201
    assert start(headers=KEY).json == answer.json
    assert (one.calls, two.calls) == (1, 1)
    code = two.taken[0].body.split()[0]
    checked = client.post(f"/v1/verifications/{answer.json['id']}/checks", json={"code": code})
    assert checked.json["status"] == "verified"
    failed, sent = sends.rows()
    assert (failed.status, failed.country, failed.prefix) == ("failed", "DE", NUMBER[:-4])
    assert (failed.first, failed.verified_at) == (True, None)
    assert (sent.status, sent.country, sent.prefix) == ("delivered", "DE", NUMBER[:-4])
    assert sent.verified_at is not None
    assert sends.outcomes() == [("one", 1, 0)]


def test_a_start_that_nobody_took(providers: Providers, sends: Sends, start: Start) -> None:
    """It is refused once, costs nothing, and its key may be tried again and then sends."""
    for provider in providers:
        provider.faults = [Unavailable(retry_after=9)]
    refused = start(headers=KEY)
    assert (problem_code(refused), refused.headers["Retry-After"]) == ("send-unavailable", "9")
    assert [row.price_micros for row in sends.rows()] == [0, 0, 0]
    assert start(headers=KEY).status_code == 201


@pytest.mark.parametrize("fault", [Ambiguous("read-timeout"), RuntimeError("bug")])
def test_what_may_have_been_sent_is_never_sent_again(
    client: FlaskClient,
    sends: Sends,
    providers: Providers,
    start: Start,
    clock: Clock,
    fault: Exception,
) -> None:
    """No other provider is tried, a repeated request sends nothing, and the code settles it."""
    one, two, three = providers
    taken = []
    one.before_answer = taken.append
    one.faults = [fault]
    answer = start(headers=KEY)
    assert answer.status_code == 201
    path = f"/v1/verifications/{answer.json['id']}"
    assert start(headers=KEY).json == answer.json
    assert problem_code(client.post(f"{path}/sends", json={}, headers=KEY)) == "send-too-soon"
    assert (one.calls, two.calls, three.calls) == (1, 0, 0)
    (row,) = sends.rows()
    assert (row.status, row.price_micros) == ("unknown", PRICES[0])
    code = taken[0].body.split()[0]
    assert client.post(f"{path}/checks", json={"code": code}).status_code == 200
    (row,) = sends.rows()
    assert (row.status, row.verified_at) == ("delivered", clock())
    assert sends.outcomes() == [("one", 1, 1)]
