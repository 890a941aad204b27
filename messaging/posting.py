"""Posting: what one transaction does with the messages and acknowledgements that wait.

Owns the order of its steps, each one statement for the whole batch: earlier client ids, devices, judgement,
the mailboxes under their locks, and then everything that is stored. A message that is refused leaves
nothing behind and disturbs no other.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from core.problems import Problem
from messaging import mailbox
from messaging.client_ids import ClientIds
from messaging.jobs import Acknowledging, Job, Sending
from messaging.letters import (
    Accepted,
    Attempt,
    Delivery,
    Message,
    Sealed,
    Shared,
    ToGroup,
    Verdict,
)
from messaging.problems import AcknowledgementAhead, MailboxFull
from messaging.recipients import Recipients, Rosters, mismatched

#: Judges messages to other accounts, and counts them; called once a batch, in its transaction.
Judge = Callable[[Connection, Sequence[Attempt], datetime], list[Verdict]]
#: Seconds after which sending to a full mailbox is worth another try.
FULL_RETRY = 300


@dataclass
class Posted:
    """What a batch stored and deleted."""

    deliveries: defaultdict[UUID, list[Delivery]] = field(default_factory=lambda: defaultdict(list))
    #: Devices that are to be woken if nobody listens.
    urgent: set[UUID] = field(default_factory=set)
    #: Envelopes by what became of them: stored, dropped, acknowledged.
    steps: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Posting:
    """Posts batches; the same bounds and judges for all of them."""

    entropy: Callable[[int], bytes]
    judge: Judge
    rosters: Rosters
    max_messages: int
    max_bytes: int

    def post(self, connection: Connection, jobs: Sequence[Job], now: datetime) -> Posted:
        """Do a batch in the caller's transaction: each job has its answer then."""
        for job in jobs:
            job.answer = None
        return _Batch(self, connection, jobs, now).post()


class _Batch:
    """One batch on its way."""

    def __init__(
        self, rules: Posting, connection: Connection, jobs: Sequence[Job], now: datetime
    ) -> None:
        self._rules = rules
        self._connection = connection
        self._now = now
        self._sendings = [job for job in jobs if isinstance(job, Sending)]
        self._acknowledgings = [job for job in jobs if isinstance(job, Acknowledging)]
        self._client_ids = ClientIds(connection, self._sendings)
        self._boxes: dict[UUID, mailbox.Box] = {}
        self._envelopes: list[tuple[UUID, Delivery]] = []
        self._shared: dict[UUID, int] = {}
        self._posted = Posted()

    def post(self) -> Posted:
        targets = self._find_targets()
        verdicts = self._judge(targets)
        device_ids = {job.device_id for job in self._acknowledgings}
        device_ids.update(*targets.values())
        self._boxes = mailbox.lock(self._connection, device_ids)
        self._acknowledge()
        for job in self._sendings:
            job.answer = self._client_ids.answer(job) or job.answer
            if job.answer is None:
                job.answer = self._send(job, targets[job], verdicts.get(job, Verdict()))
        self._client_ids.write()
        mailbox.deposit(self._connection, self._envelopes, self._shared)
        mailbox.write(self._connection, self._boxes)
        return self._posted

    def _find_targets(self) -> dict[Sending, Collection[UUID]]:
        """Find the devices of each message that is new and for exactly those; refuse the others."""
        fresh = [job for job in self._sendings if self._client_ids.answer(job) is None]
        recipients = Recipients(
            self._connection, [job.outgoing for job in fresh], self._rules.rosters
        )
        targets: dict[Sending, Collection[UUID]] = {}
        for job in fresh:
            try:
                targets[job] = recipients.devices(job.outgoing)
            except Problem as problem:
                job.answer = problem
        return targets

    def _judge(self, jobs: Collection[Sending]) -> dict[Sending, Verdict]:
        """Have the messages between accounts judged, each once."""
        attempts = {
            job: Attempt(job.outgoing.from_account_id, job.outgoing.to)
            for job in jobs
            if not isinstance(job.outgoing.to, ToGroup)
            and job.outgoing.to != job.outgoing.from_account_id
        }
        if not attempts:
            return {}
        verdicts = self._rules.judge(self._connection, list(attempts.values()), self._now)
        return dict(zip(attempts, verdicts, strict=True))

    def _acknowledge(self) -> None:
        through: dict[UUID, int] = {}
        for job in self._acknowledgings:
            box = self._boxes.get(job.device_id)
            if box is None or job.through > box.last_seq:
                job.answer = AcknowledgementAhead(
                    "Acknowledge the seq of a message that was fetched."
                )
            else:
                through[job.device_id] = max(job.through, through.get(job.device_id, 0))
        self._posted.steps["acknowledged"] += mailbox.acknowledge(
            self._connection, self._boxes, through
        )

    def _send(
        self, job: Sending, targets: Collection[UUID], verdict: Verdict
    ) -> Accepted | Problem:
        """Put a message into its mailboxes, or say why not."""
        if verdict.refusal is not None:
            return verdict.refusal
        refusal = None if verdict.dropped else self._unfit(job.outgoing.sealed, targets)
        if refusal is not None:
            return refusal
        accepted = Accepted(UUID(bytes=self._rules.entropy(16), version=4), self._now)
        self._client_ids.claim(job, accepted)
        if verdict.dropped:
            self._posted.steps["dropped"] += len(targets)
        else:
            self._put(job, accepted.id, targets, verdict.is_request)
        return accepted

    def _unfit(
        self, sealed: Sequence[Sealed] | Shared, targets: Collection[UUID]
    ) -> Problem | None:
        """Say why not all of the mailboxes can take it."""
        gone = [device_id for device_id in targets if device_id not in self._boxes]
        if gone:
            # Removed since the devices were read, which only another process can do.
            return mismatched(extra=gone)
        most, most_bytes = self._rules.max_messages, self._rules.max_bytes
        for device_id, content in _contents(sealed, targets):
            if not self._boxes[device_id].has_room(len(content), most, most_bytes):
                return MailboxFull(
                    "A device of the recipient has not fetched its messages for long;"
                    " nothing was stored.",
                    retry_after=FULL_RETRY,
                )
        return None

    def _put(
        self, job: Sending, message_id: UUID, targets: Collection[UUID], is_request: bool
    ) -> None:
        outgoing, posted = job.outgoing, self._posted
        message = Message(
            message_id,
            outgoing.from_account_id,
            outgoing.from_device_id,
            self._now,
            self._now + timedelta(seconds=outgoing.expires_in),
            outgoing.to if isinstance(outgoing.to, ToGroup) else None,
        )
        for device_id, content in _contents(outgoing.sealed, targets):
            seq = self._boxes[device_id].put(len(content))
            delivery = Delivery(seq, message, content, is_request)
            self._envelopes.append((device_id, delivery))
            posted.deliveries[device_id].append(delivery)
        if isinstance(outgoing.sealed, Shared) and targets:
            self._shared[message_id] = len(targets)
        if outgoing.urgent:
            posted.urgent.update(targets)
        posted.steps["stored"] += len(targets)


def _contents(
    sealed: Sequence[Sealed] | Shared, targets: Collection[UUID]
) -> list[tuple[UUID, bytes]]:
    """Give what each device gets."""
    if isinstance(sealed, Shared):
        return [(device_id, sealed.content) for device_id in targets]
    return [(one.device_id, one.content) for one in sealed]
