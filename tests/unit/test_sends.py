"""Sends: what becomes of each, and that nothing half-done stays of one that did not happen."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count, permutations, product
from typing import Any

import pytest
from flask.testing import FlaskClient
from flask_openapi3 import OpenAPI
from sqlalchemy import Connection, select, update

from core.base64url import encode
from core.database import Database
from core.metrics import Metrics
from settings import Settings
from sms.delivery import DeliveryService, Outcome
from sms.dispatch import Dispatcher
from sms.metrics import SmsMetrics
from sms.models import Send
from sms.problems import SendBlocked, SendRejected, SendUnavailable
from sms.provider import Ambiguous, Blocked, Rejected, Unavailable
from sms.routing import Router
from sms.routing_file import load_routing
from sms.service import QueuedSend, SendResult, SendService
from tests.conftest import NUMBER, Clock, MakeApp, problem_code
from tests.scripted import Scripted

STATES = ("queued", "unknown", "sent", "delivered", "undelivered", "failed")
FINAL = ("delivered", "undelivered", "failed")
DIGEST = b"d" * 16
KEY = {"Idempotency-Key": "a-key-that-nobody-else-has"}


@pytest.fixture
def provider() -> Scripted:
    """The provider of the application."""
    return Scripted()


class Sends:
    """One service on a database, and the one send in it."""

    def __init__(self, database: Database, provider: Scripted, clock: Clock) -> None:
        self.database = database
        self.clock = clock
        self.ids = count()
        self.metrics = SmsMetrics(Metrics())
        self.deliveries = DeliveryService(database, clock, self.metrics)
        routing = load_routing(Settings(), [provider.name])
        router = Router(routing, [provider], clock, self.next_id)
        dispatcher = Dispatcher({provider.name: provider}, router, self.metrics)
        self.service = SendService(
            database,
            router,
            dispatcher,
            self.deliveries,
            clock,
            self.next_id,
            self.metrics,
            timedelta(seconds=20),
        )

    def next_id(self, size: int) -> bytes:
        """Name each send differently."""
        return next(self.ids).to_bytes(size, "big")

    def queue(self, status: str = "queued") -> bytes:
        """Record a send that has come so far."""
        with self.database.write() as connection:
            identity = self.start(connection).id
            connection.execute(update(Send).where(Send.id == identity).values(status=status))
        return identity

    def start(self, connection: Connection) -> QueuedSend:
        """Record a send."""
        return self.service.queue(
            connection,
            self.service.route(connection, "DE", "sms"),
            number_digest=DIGEST,
            verification_nonce=b"v" * 16,
            prefix="+4915112",
            first=True,
        )

    def deliver(self) -> SendResult:
        """Record a send, hand it over, and record how that ended."""
        with self.database.write() as connection:
            queued = self.start(connection)
        delivered = self.service.dispatch(queued, to=NUMBER, body="a code", language="en")
        with self.database.write() as connection:
            self.service.record(connection, delivered)
        return delivered

    def report(self, identity: bytes, outcome: Outcome) -> None:
        """Let the send's provider report on it."""
        self.deliveries.report("scripted", encode(DIGEST + identity), outcome)

    def row(self, identity: bytes) -> Any:
        """Read the send."""
        query = select(*Send.__table__.columns).where(Send.id == identity)
        with self.database.read() as connection:
            return connection.execute(query).one()


@pytest.fixture
def sends(database: Database, provider: Scripted, clock: Clock) -> Sends:
    """The service alone."""
    return Sends(database, provider, clock)


def comes_after(report: str, current: str) -> bool:
    """Say whether a report is news: the order is queued, unknown, sent, then any final state."""
    order = {"queued": 0, "unknown": 1, "sent": 2}
    return order.get(report, 3) > order.get(current, 3)


def test_every_report_on_every_state(sends: Sends) -> None:
    """A send moves forward only, and a report that is no news changes nothing, not even its time."""
    for current, report in product(STATES, STATES):
        identity = sends.queue(current)
        before = sends.row(identity)
        sends.clock.advance(1)
        sends.report(identity, Outcome(report, "id", "30003"))
        after = sends.row(identity)
        if comes_after(report, current):
            assert (after.status, after.provider_message_id) == (report, "id")
            assert after.error_code == (None if report == "delivered" else "30003")
            assert after.updated_at == sends.clock.now
        else:
            assert after.status == current
            assert after.updated_at == before.updated_at
            assert after.error_code is None


@pytest.mark.parametrize("final", FINAL)
def test_reports_in_any_order(sends: Sends, final: str) -> None:
    """Whatever the order, and twice each, the end is the same."""
    for order in permutations(["queued", "unknown", "sent", final]):
        identity = sends.queue()
        for report in order * 2:
            sends.report(identity, Outcome(report, "id"))
        assert sends.row(identity).status == final


def test_the_first_final_report_stays(sends: Sends) -> None:
    """Of two that contradict each other the later changes nothing."""
    for first, second in permutations(FINAL, 2):
        identity = sends.queue("sent")
        for report in (first, second):
            sends.report(identity, Outcome(report))
        assert sends.row(identity).status == first


def test_reports_on_nothing(sends: Sends) -> None:
    """A report on an unknown send, or on another provider's, is taken and changes nothing."""
    identity = sends.queue()
    for stranger in (DIGEST + b"x" * 16, b"x" * 16 + identity, b"x" * 31, b""):
        assert not sends.deliveries.report("scripted", encode(stranger), Outcome("delivered"))
    assert not sends.deliveries.report("twilio", encode(DIGEST + identity), Outcome("delivered"))
    assert sends.row(identity).status == "queued"


def test_only_news_is_counted(sends: Sends) -> None:
    """The metric counts a delivery once, however often it is reported."""
    identity = sends.queue("sent")
    for _ in range(3):
        sends.report(identity, Outcome("delivered"))
    assert sends.metrics.deliveries.labels("scripted", "delivered")._value.get() == 1


def test_what_is_known_stays_known(sends: Sends) -> None:
    """The provider's first id stays; what went wrong does too, until the text is delivered."""
    identity = sends.queue()
    for report, error in (
        (Outcome("unknown", "first", "timeout"), "timeout"),
        (Outcome("sent", "second"), "timeout"),
        (Outcome("delivered", "third", "30003"), None),
    ):
        sends.report(identity, report)
        row = sends.row(identity)
        assert (row.provider_message_id, row.error_code) == ("first", error)


@pytest.mark.parametrize(
    ("fault", "status", "problem"),
    [
        (None, "sent", None),
        (Rejected("21211"), "failed", SendRejected),
        (Blocked("21408"), "failed", SendBlocked),
        (Unavailable("20429", retry_after=7), "failed", SendUnavailable),
        (Ambiguous("timeout"), "unknown", None),
        (ZeroDivisionError(), "unknown", None),
        (OSError("connection reset"), "unknown", None),
    ],
)
def test_how_a_hand_over_ends(
    sends: Sends, provider: Scripted, fault: Exception | None, status: str, problem: Any
) -> None:
    """Only what is certain is a failure; whatever else the provider does leaves it unknown."""
    provider.faults = [fault] if fault else []
    delivered = sends.deliver()
    assert (type(delivered.problem) if delivered.problem else None) is problem
    assert delivered.price_micros == (0 if problem else 50_000)
    assert provider.calls == 1
    row = sends.row(delivered.queued.id)
    assert (row.status, row.price_micros) == (status, delivered.price_micros)
    if isinstance(fault, Unavailable):
        assert delivered.problem is not None
        assert delivered.problem.retry_after == 7


@pytest.fixture
def app(make_app: MakeApp, provider: Scripted) -> OpenAPI:
    """An application that sends through the script."""
    return make_app(ports={"providers": (provider,)})


Start = Callable[..., Any]


@pytest.fixture
def start(client: FlaskClient) -> Start:
    """Start a verification."""

    def begin(supersedes: str | None = None, **request: Any) -> Any:
        body = {"phone_number": NUMBER, "supersedes": supersedes}
        return client.post("/v1/verifications", json=body, **request)

    return begin


DEFINITE = [
    (Rejected("21211"), "send-rejected", 422),
    (Blocked("21408"), "send-blocked", 403),
    (Unavailable("20429", retry_after=7), "send-unavailable", 503),
    (Unavailable(), "send-unavailable", 503),
]


@pytest.mark.parametrize(("fault", "code", "status"), DEFINITE)
def test_a_start_that_did_not_happen(
    app: OpenAPI, provider: Scripted, start: Start, fault: Exception, code: str, status: int
) -> None:
    """It says why, the older verification lives, and the key may be tried again and then sends."""
    client, older = app.test_client(), start().json
    named = older["id"]
    provider.faults = [fault]
    refused = start(named, headers=KEY)
    assert (problem_code(refused), refused.status_code) == (code, status)
    expected = str(getattr(fault, "retry_after", None) or 30) if status == 503 else None
    assert refused.headers.get("Retry-After") == expected
    assert client.get(f"/v1/verifications/{older['id']}").json == older
    with app.extensions["kith"].runtime.database.read() as connection:
        assert sorted(connection.scalars(select(Send.status))) == ["failed", "sent"]

    again = start(named, headers=KEY)
    assert again.status_code == 201
    assert start(named, headers=KEY).json == again.json
    assert (provider.calls, len(provider.taken)) == (3, 2)
    assert client.get(f"/v1/verifications/{older['id']}").json["status"] == "canceled"


@pytest.mark.parametrize(("fault", "code", "status"), DEFINITE)
def test_what_a_failure_costs(
    provider: Scripted, start: Start, fault: Exception, code: str, status: int
) -> None:
    """A rejected number is its asker's fault and counts as a send; a provider that is away is not."""
    provider.faults = [fault, fault]
    assert [start().status_code for _ in range(2)] == [status] * 2
    left = 5 if code == "send-unavailable" else 3
    answers = [start().status_code for _ in range(6)]
    assert answers == [201] * left + [429] * (6 - left)


@pytest.mark.parametrize("channel", ["sms", "voice"])
@pytest.mark.parametrize(("fault", "code", "status"), DEFINITE)
def test_a_resend_that_did_not_happen(
    client: FlaskClient,
    provider: Scripted,
    start: Start,
    clock: Clock,
    channel: str,
    fault: Exception,
    code: str,
    status: int,
) -> None:
    """Its place in the schedule is free again, at once and with the same key; then it is taken."""
    path = f"/v1/verifications/{start().json['id']}"
    clock.advance(60)
    before = client.get(path).json
    provider.faults = [fault]
    refused = client.post(f"{path}/sends", json={"channel": channel}, headers=KEY)
    assert (problem_code(refused), refused.status_code) == (code, status)
    assert client.get(path).json == before
    again = client.post(f"{path}/sends", json={"channel": channel}, headers=KEY)
    assert again.status_code == 201
    assert again.json["channel"] == channel
    next_in = again.json["next_sms_in" if channel == "sms" else "next_voice_in"]
    assert next_in == (120 if channel == "sms" else 60)
    assert [message.channel for message in provider.taken] == ["sms", channel]


@pytest.mark.parametrize("fault", [Ambiguous("timeout"), RuntimeError("bug")])
def test_a_start_that_may_have_happened(
    client: FlaskClient, provider: Scripted, start: Start, clock: Clock, fault: Exception
) -> None:
    """It is answered as if it had, keeps its key, its place and its cost, and is never replayed."""
    older = start().json["id"]
    provider.faults = [fault]
    first = start(older, headers=KEY)
    assert first.status_code == 201
    assert start(older, headers=KEY).json == first.json
    assert provider.calls == 2
    assert client.get(f"/v1/verifications/{older}").json["status"] == "canceled"
    assert [start().status_code for _ in range(4)] == [201] * 3 + [429]


def test_a_resend_that_may_have_happened(
    client: FlaskClient, provider: Scripted, start: Start, clock: Clock
) -> None:
    """It takes its place in the schedule, and the same key gets the same answer without a send."""
    path = f"/v1/verifications/{start().json['id']}"
    clock.advance(60)
    provider.faults = [Ambiguous()]
    first = client.post(f"{path}/sends", json={}, headers=KEY)
    assert (first.status_code, first.json["next_sms_in"]) == (201, 120)
    assert client.post(f"{path}/sends", json={}, headers=KEY).json == first.json
    assert provider.calls == 2
