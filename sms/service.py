"""Sends: queued in the caller's transaction, handed over outside of any.

Owns what is handed to whom, and to whom after that. Refuses to send anything twice: an answer that
is lost, and any fault that it does not know, leave the send `unknown`, and nobody else is tried.
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
from sms.dispatch import DEFAULT_RETRY, Dispatcher
from sms.metrics import SmsMetrics
from sms.models import OutboxMessage, Send
from sms.problems import SendRejected, SendUnavailable
from sms.provider import (
    Channel,
    Provider,
    SmsMessage,
)
from sms.routing import Candidate, Route, Router

SEND_RETENTION = timedelta(days=30)
OUTBOX_RETENTION = timedelta(days=7)

_QUEUEING = table(Send).insert()


@dataclass(frozen=True)
class Queued:
    """A send that is recorded and not handed over yet, and who is tried after its provider."""

    number_digest: bytes
    id: bytes
    verification: bytes
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
class Delivered:
    """How a send ended, with the last provider that was tried."""

    queued: Queued
    outcome: Outcome
    #: Why nobody sent it; it may be an earlier provider's reason.
    failure: Problem | None

    @property
    def provider(self) -> str:
        """Who has it, or failed last."""
        return self.queued.candidate.provider

    @property
    def price_micros(self) -> int:
        """What it costs, in millionths of the currency; 0 when for certain nothing was sent."""
        return 0 if self.failure else self.queued.candidate.price_micros


class SendService:
    """Hands messages to providers, one after the other if need be, and keeps what became of them."""

    def __init__(
        self,
        database: Database,
        providers: Sequence[Provider],
        router: Router,
        deliveries: DeliveryService,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: SmsMetrics,
        failover_seconds: float,
    ) -> None:
        self._database = database
        self._couriers = Dispatcher(providers, router, metrics)
        self._router = router
        self._deliveries = deliveries
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._failover = timedelta(seconds=failover_seconds)

    def route(self, connection: Connection, country: str, channel: Channel) -> Route:
        """Choose who may send; raises SendUnavailable when nobody can."""
        return self._router.route(connection, country, channel)

    def queue(
        self,
        connection: Connection,
        route: Route,
        *,
        number_digest: bytes,
        verification: bytes,
        prefix: str,
        first: bool,
    ) -> Queued:
        """Record in the caller's transaction that a send is about to happen.

        `first` is whether it is the first of its verification, the only one that the router learns from.
        """
        candidate, *others = route.candidates
        return self._insert(
            connection,
            Queued(
                number_digest,
                self._entropy(16),
                verification,
                route.country,
                prefix,
                route.channel,
                first,
                candidate,
                tuple(others),
                self._clock(),
            ),
        )

    @staticmethod
    def _insert(connection: Connection, queued: Queued) -> Queued:
        connection.execute(
            _QUEUEING,
            {
                "number_digest": queued.number_digest,
                "id": queued.id,
                "verification": queued.verification,
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

    def deliver(
        self, queued: Queued, *, to: str, body: str, language: str, spoken: tuple[str, ...] = ()
    ) -> Delivered:
        """Hand a send to its provider outside of any transaction, and to the next if it fails.

        Another is tried only when for certain nothing was sent and the number is not to blame, and only
        within the time for it. How the last one ended is the caller's to `record`.
        """
        ends = self._clock() + self._failover
        failures: list[Problem] = []
        if queued.first:
            self._metrics.funnel.labels("started", queued.country, queued.candidate.provider).inc()
        while True:
            message = SmsMessage(to, queued.channel, body, language, queued.reference, spoken)
            outcome = self._couriers.hand_over(queued.candidate.provider, message)
            if outcome.failure is None:
                provider, price_micros = queued.candidate
                self._metrics.funnel.labels("sent", queued.country, provider).inc()
                self._metrics.spent_micros.labels(queued.country, provider).inc(price_micros)
                return Delivered(queued, outcome, None)
            failures.append(outcome.failure)
            # Another provider cannot reach a number that does not exist, and might charge for trying.
            hopeless = isinstance(outcome.failure, SendRejected)
            if hopeless or not queued.others or self._clock() >= ends:
                return Delivered(queued, outcome, _reason(failures))
            queued = self._fail_over(queued, outcome)

    def _fail_over(self, queued: Queued, outcome: Outcome) -> Queued:
        """Record that a provider failed and that the next is about to be tried, in one transaction."""
        candidate, *others = queued.others
        following = replace(
            queued,
            id=self._entropy(16),
            first=False,
            candidate=candidate,
            others=tuple(others),
            created_at=self._clock(),
        )
        with self._database.write() as connection:
            self.record(connection, Delivered(queued, outcome, outcome.failure))
            return self._insert(connection, following)

    def record(self, connection: Connection, delivered: Delivered) -> None:
        """Record in the caller's transaction how a send ended."""
        queued = delivered.queued
        self._deliveries.record(
            connection, delivered.provider, queued.number_digest, queued.id, delivered.outcome
        )
        if queued.first and self._router.learns:
            outcomes.count(
                connection,
                queued.country,
                queued.channel,
                delivered.provider,
                queued.created_at,
                sends=1,
            )

    def verified(self, connection: Connection, number_digest: bytes, verification: bytes) -> None:
        """Take in the caller's transaction that the code of a verification was right.

        Settles the send that brought it. A first send counts for its provider when no other can have: who
        asked again did so because the first did not arrive.
        """
        proven = self._deliveries.prove(connection, number_digest, verification)
        if proven is None:
            return
        self._metrics.funnel.labels("verified", proven.country, proven.provider).inc()
        seconds = (self._clock() - proven.began_at).total_seconds()
        self._metrics.seconds_to_verify.labels(proven.country).observe(seconds)
        if proven.certain and proven.first and self._router.learns:
            outcomes.count(
                connection,
                proven.country,
                proven.channel,
                proven.provider,
                proven.created_at,
                verified=1,
            )

    @staticmethod
    def purge_sends(connection: Connection, now: datetime) -> int:
        """Delete a batch of sends whose time is over."""
        return purge(connection, Send, Send.created_at < now - SEND_RETENTION)

    @staticmethod
    def purge_outbox(connection: Connection, now: datetime) -> int:
        """Delete a batch of old texts of the mock provider."""
        return purge(connection, OutboxMessage, OutboxMessage.sent_at < now - OUTBOX_RETENTION)


def _reason(failures: Sequence[Problem]) -> Problem:
    """Choose what a person is told when several providers failed.

    That trying again helps, at the earliest time anyone named, unless the number itself is to blame.
    """
    *_, last = failures
    away = [failure for failure in failures if isinstance(failure, SendUnavailable)]
    if isinstance(last, SendRejected) or not away:
        return last
    return min(away, key=lambda failure: failure.retry_after or DEFAULT_RETRY)
