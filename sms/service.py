"""Sends: queued in the caller's transaction, dispatched to providers outside of any.

No message is sent twice: a lost answer or an unexpected error leaves the send `unknown`, and no other
provider is tried.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.base64url import encode
from core.database import Database, purge, table
from core.problems import Problem
from sms import outcomes
from sms.delivery import DeliveryService, Outcome
from sms.dispatch import DEFAULT_RETRY_SECONDS, Dispatcher
from sms.metrics import SmsMetrics
from sms.models import OutboxMessage, Send
from sms.problems import SendRejected, SendUnavailable
from sms.provider import Channel, SmsMessage
from sms.routing import Candidate, Route, Router

SEND_RETENTION = timedelta(days=30)
OUTBOX_RETENTION = timedelta(days=7)

INSERT_SEND = table(Send).insert()


@dataclass(frozen=True)
class QueuedSend:
    """A send that is stored but not dispatched, and the providers to try after its own."""

    number_digest: bytes
    id: bytes
    verification_nonce: bytes
    country: str
    prefix: str
    channel: Channel
    first: bool
    candidate: Candidate
    others: tuple[Candidate, ...]
    created_at: datetime

    @property
    def reference(self) -> str:
        """The name under which its provider may report on it."""
        return encode(self.number_digest + self.id)


@dataclass(frozen=True)
class SendResult:
    """The outcome of a send, by the last provider that was tried."""

    queued: QueuedSend
    outcome: Outcome
    #: Why nobody sent it; it may be an earlier provider's problem.
    problem: Problem | None

    @property
    def provider(self) -> str:
        """The provider that sent it, or failed last."""
        return self.queued.candidate.provider

    @property
    def price_micros(self) -> int:
        """The price in millionths of the currency; 0 if certainly nothing was sent."""
        return 0 if self.problem else self.queued.candidate.price_micros


@dataclass(frozen=True)
class SendService:
    """Sends messages, through one provider after another if necessary, and records the outcomes."""

    database: Database
    router: Router
    dispatcher: Dispatcher
    deliveries: DeliveryService
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    metrics: SmsMetrics
    #: No other provider is tried later than this after the first.
    failover: timedelta

    def route(self, connection: Connection, country: str, channel: Channel) -> Route:
        """Choose providers; raises SendUnavailable if there is none."""
        return self.router.route(connection, country, channel)

    def queue(
        self,
        connection: Connection,
        route: Route,
        *,
        number_digest: bytes,
        verification_nonce: bytes,
        prefix: str,
        first: bool,
    ) -> QueuedSend:
        """Store a send in the caller's transaction, before it is dispatched.

        `first`: it is the first send of its verification, the only one that the router learns from.
        """
        candidate, *others = route.candidates
        queued = QueuedSend(
            number_digest,
            self.entropy(16),
            verification_nonce,
            route.country,
            prefix,
            route.channel,
            first,
            candidate,
            tuple(others),
            self.clock(),
        )
        return self._insert(connection, queued)

    @staticmethod
    def _insert(connection: Connection, queued: QueuedSend) -> QueuedSend:
        connection.execute(
            INSERT_SEND,
            {
                "number_digest": queued.number_digest,
                "id": queued.id,
                "verification_nonce": queued.verification_nonce,
                "channel": queued.channel,
                "provider": queued.candidate.provider,
                "country": queued.country,
                "prefix": queued.prefix,
                "first": queued.first,
                "price_micros": queued.candidate.price_micros,
                "status": "queued",
                "created_at": queued.created_at,
                "updated_at": queued.created_at,
            },
        )
        return queued

    def dispatch(
        self, queued: QueuedSend, *, to: str, body: str, language: str, spoken: tuple[str, ...] = ()
    ) -> SendResult:
        """Dispatch a send outside of any transaction, to the next provider if one fails.

        The next is tried only if certainly nothing was sent, the number is not to blame and there is time
        left. The caller stores the result with `record`.
        """
        deadline = self.clock() + self.failover
        problems: list[Problem] = []
        if queued.first:
            self.metrics.funnel.labels("started", queued.country, queued.candidate.provider).inc()
        while True:
            message = SmsMessage(to, queued.channel, body, language, queued.reference, spoken)
            outcome = self.dispatcher.dispatch(queued.candidate.provider, message)
            if outcome.problem is None:
                provider, price_micros = queued.candidate
                self.metrics.funnel.labels("sent", queued.country, provider).inc()
                self.metrics.spent_micros.labels(queued.country, provider).inc(price_micros)
                return SendResult(queued, outcome, None)
            problems.append(outcome.problem)
            # Another provider cannot reach a number that does not exist, and may charge for trying.
            rejected = isinstance(outcome.problem, SendRejected)
            if rejected or not queued.others or self.clock() >= deadline:
                return SendResult(queued, outcome, _reported_problem(problems))
            queued = self._fail_over(queued, outcome)

    def _fail_over(self, queued: QueuedSend, outcome: Outcome) -> QueuedSend:
        """Record that a provider failed and queue the send for the next, in one transaction."""
        candidate, *others = queued.others
        following = replace(
            queued,
            id=self.entropy(16),
            first=False,
            candidate=candidate,
            others=tuple(others),
            created_at=self.clock(),
        )
        with self.database.write() as connection:
            self.record(connection, SendResult(queued, outcome, outcome.problem))
            return self._insert(connection, following)

    def record(self, connection: Connection, result: SendResult) -> None:
        """Store the outcome of a send in the caller's transaction."""
        queued, provider = result.queued, result.provider
        self.deliveries.record(
            connection, provider, queued.number_digest, queued.id, result.outcome
        )
        if queued.first and self.router.learns:
            outcomes.add(
                connection, queued.country, queued.channel, provider, queued.created_at, sends=1
            )

    def record_verified(
        self, connection: Connection, number_digest: bytes, verification_nonce: bytes
    ) -> None:
        """Record in the caller's transaction that the code of a verification was correct.

        A first send counts as verified for its provider only if no other send can have delivered the code:
        whoever asked again did so because the first did not arrive.
        """
        send = self.deliveries.record_verified(connection, number_digest, verification_nonce)
        if send is None:
            return
        self.metrics.funnel.labels("verified", send.country, send.provider).inc()
        seconds = (self.clock() - send.started_at).total_seconds()
        self.metrics.seconds_to_verify.labels(send.country).observe(seconds)
        if send.certain and send.first and self.router.learns:
            outcomes.add(
                connection, send.country, send.channel, send.provider, send.created_at, verified=1
            )

    @staticmethod
    def purge_sends(connection: Connection, now: datetime) -> int:
        """Delete a batch of sends whose retention is over."""
        return purge(connection, Send, Send.created_at < now - SEND_RETENTION)

    @staticmethod
    def purge_outbox(connection: Connection, now: datetime) -> int:
        """Delete a batch of old messages of the mock provider."""
        return purge(connection, OutboxMessage, OutboxMessage.sent_at < now - OUTBOX_RETENTION)


def _reported_problem(problems: Sequence[Problem]) -> Problem:
    """Choose the problem to report when several providers failed.

    It is the earliest time at which trying again helps, unless the number itself is to blame.
    """
    *_, last = problems
    unavailable = [problem for problem in problems if isinstance(problem, SendUnavailable)]
    if isinstance(last, SendRejected) or not unavailable:
        return last
    return min(unavailable, key=lambda problem: problem.retry_after or DEFAULT_RETRY_SECONDS)
