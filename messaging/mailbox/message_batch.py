"""MessageBatch: what one transaction does with the messages and acknowledgements that wait.

Owns the order of its steps, each one statement for the whole batch: earlier client ids, devices, judgement,
the mailboxes under their locks, and then everything that is stored. A message that is refused leaves
nothing behind and disturbs no other. One that is there several times is judged, and so counted, once.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.problems import Problem
from messaging.mailbox import shares as mailbox_shares
from messaging.mailbox import store as mailbox
from messaging.mailbox.client_ids import ClientIds, reused
from messaging.mailbox.jobs import AcknowledgeJob, Job, SendJob
from messaging.mailbox.locked_mailbox import LockedMailbox, MailboxQuota, QuotaResult
from messaging.mailbox.problems import AcknowledgementAhead, MailboxFull
from messaging.mailbox.recipients import FindJoinedMembers, Recipients, mismatched
from messaging.message_types import (
    AcceptedMessage,
    Delivery,
    DeliveryDecision,
    DeviceEnvelope,
    GroupAtVersion,
    MessageHeader,
    MessageSubmission,
    MissedNotice,
    SenderRecipient,
    SharedContent,
)

#: Judges messages to other accounts and to groups, and counts them; called once a batch, in its transaction.
EvaluateSenders = Callable[
    [Connection, Sequence[SenderRecipient], datetime], list[DeliveryDecision]
]
#: Seconds after which sending to a full mailbox is worth another try.
FULL_RETRY_SECONDS = 300
_PASSED = DeliveryDecision()
_WHY_FULL = {
    QuotaResult.MAILBOX_FULL: "A device of the recipient has not fetched its messages for a long time."
    " Nothing was stored.",
    QuotaResult.SENDER_FULL: "A device of the recipient has not fetched its messages for a long time, and"
    " half of its mailbox is from you. Nothing was stored.",
    QuotaResult.REQUESTS_FULL: "The recipient has as many message requests waiting as it may."
    " Nothing was stored.",
}


class BatchResult(NamedTuple):
    """What a batch stored and deleted."""

    deliveries: Mapping[UUID, Sequence[Delivery]]
    #: Devices that are to be woken if nobody listens.
    urgent: Collection[UUID]
    #: Devices that missed a message to a group, with the number and the time that tell them since when.
    missed: Mapping[UUID, MissedNotice]
    #: Envelopes by what became of them: stored, dropped, missed, acknowledged.
    steps: Mapping[str, int]


@dataclass(frozen=True)
class BatchProcessor:
    """Posts batches; the same bounds and judges for all of them."""

    entropy: Callable[[int], bytes]
    judge: EvaluateSenders
    rosters: FindJoinedMembers
    bounds: MailboxQuota

    def post(self, connection: Connection, jobs: Sequence[Job], now: datetime) -> BatchResult:
        """Do a batch in the caller's transaction: each job has its answer then."""
        for job in jobs:
            job.answer = None
        return _Batch(self, connection, jobs, now).post()


class _Batch:
    """One batch on its way."""

    def __init__(
        self, rules: BatchProcessor, connection: Connection, jobs: Sequence[Job], now: datetime
    ) -> None:
        self._rules = rules
        self._connection = connection
        self._now = now
        self._sendings = [job for job in jobs if isinstance(job, SendJob)]
        #: The first message under each name; whatever else is under it is answered by what becomes of that.
        self._leads = {job.name: job for job in reversed(self._sendings)}
        self._acknowledgings = [job for job in jobs if isinstance(job, AcknowledgeJob)]
        self._client_ids = ClientIds(connection, self._sendings)
        self._boxes: dict[UUID, LockedMailbox] = {}
        self._shared: dict[UUID, int] = {}
        self._steps = Counter[str]()

    def post(self) -> BatchResult:
        targets = self._find_targets()
        verdicts = self._judge(targets)
        device_ids = {job.device_id for job in self._acknowledgings}
        device_ids.update(*targets.values())
        self._boxes = mailbox.lock(self._connection, device_ids)
        self._acknowledge()
        refused: list[SendJob] = []
        for message_id, job in zip(self._new_ids(), self._sendings, strict=True):
            lead = self._leads[job.name]
            job.answer = self._client_ids.answer(job) or job.answer
            if job.answer is None and lead is not job:
                job.answer = _answer_after(lead, job)
            elif job.answer is None:
                verdict = verdicts.get(job, _PASSED)
                job.answer = self._send(job, message_id, targets[job], verdict)
                if isinstance(job.answer, Problem):
                    refused.append(job)
        self._client_ids.refuse(refused)
        self._client_ids.write()
        mailbox.deposit(self._connection, self._boxes, self._shared)
        mailbox.write(self._connection, self._boxes, self._rules.bounds)
        return BatchResult(
            {device_id: box.deliveries for device_id, box in self._boxes.items() if box.deliveries},
            {device_id for device_id, box in self._boxes.items() if box.urgent},
            {
                device_id: MissedNotice(box.missed_since or self._now, box.missed_seq)
                for device_id, box in self._boxes.items()
                if box.missed
            },
            self._steps,
        )

    def _new_ids(self) -> list[UUID]:
        """Draw an id for each message; at once, because each drawing is a call of the system."""
        drawn = self._rules.entropy(16 * len(self._sendings))
        return [UUID(bytes=drawn[at : at + 16], version=4) for at in range(0, len(drawn), 16)]

    def _find_targets(self) -> dict[SendJob, Collection[UUID]]:
        """Find the devices of each message that is new and for exactly those; refuse the others."""
        fresh = [job for job in self._leads.values() if self._client_ids.answer(job) is None]
        recipients = Recipients(
            self._connection, [job.outgoing for job in fresh], self._rules.rosters, self._now
        )
        targets: dict[SendJob, Collection[UUID]] = {}
        for job in fresh:
            try:
                targets[job] = recipients.devices(job.outgoing)
            except Problem as problem:
                job.answer = problem
        return targets

    def _judge(self, jobs: Collection[SendJob]) -> dict[SendJob, DeliveryDecision]:
        """Have the messages to other accounts and to groups judged, each once."""
        attempts = {}
        for job in jobs:
            sender, to = job.outgoing.from_account_id, job.outgoing.to
            if isinstance(to, GroupAtVersion):
                attempts[job] = SenderRecipient(sender, to.id, True, job.outgoing.number_id)
            elif to != sender:
                attempts[job] = SenderRecipient(sender, to, False, job.outgoing.number_id)
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
        self._steps["acknowledged"] += mailbox.acknowledge(self._connection, self._boxes, through)

    def _send(
        self, job: SendJob, message_id: UUID, targets: Collection[UUID], verdict: DeliveryDecision
    ) -> AcceptedMessage | Problem:
        """Put a message into its mailboxes, or say why not."""
        if verdict.refusal is not None:
            return verdict.refusal
        refusal = self._put(job.outgoing, message_id, targets, verdict)
        if refusal is not None:
            return refusal
        accepted = AcceptedMessage(message_id, self._now)
        self._client_ids.claim(job, accepted)
        return accepted

    def _put(
        self,
        outgoing: MessageSubmission,
        message_id: UUID,
        targets: Collection[UUID],
        verdict: DeliveryDecision,
    ) -> Problem | None:
        """Put a message into each of its mailboxes if all have room; else say why not.

        A member of a group whose mailbox has no room misses the message, and the others get it.
        """
        to_group = isinstance(outgoing.to, GroupAtVersion)
        places: list[tuple[LockedMailbox, bytes]] = []
        full: list[LockedMailbox] = []
        for device_id, content in _contents(outgoing.sealed, targets):
            box = self._boxes.get(device_id)
            if box is None:
                # Removed since the devices were read, which only another process can do.
                return mismatched(extra=set(targets) - self._boxes.keys())
            room = self._room(device_id, box, outgoing, len(content), verdict)
            if room is QuotaResult.FREE:
                places.append((box, content))
            elif to_group:
                full.append(box)
            else:
                return MailboxFull(_WHY_FULL[room], retry_after=FULL_RETRY_SECONDS)
        if verdict.dropped:
            # Only now, so that a full mailbox does not tell who was blocked.
            self._steps["dropped"] += len(places)
            return None
        message = MessageHeader(
            message_id,
            outgoing.from_account_id,
            outgoing.from_device_id,
            self._now,
            self._now + timedelta(seconds=outgoing.expires_in),
            outgoing.to if isinstance(outgoing.to, GroupAtVersion) else None,
        )
        for box, content in places:
            box.put(message, content, is_request=verdict.is_request, urgent=outgoing.urgent)
        for box in full:
            box.miss(self._now)
        if places and isinstance(outgoing.sealed, SharedContent):
            self._shared[message_id] = len(places)
        self._steps["stored"] += len(places)
        if full:
            self._steps["missed"] += len(full)
        return None

    def _room(
        self,
        device_id: UUID,
        box: LockedMailbox,
        outgoing: MessageSubmission,
        size: int,
        verdict: DeliveryDecision,
    ) -> QuotaResult:
        sender, bounds = outgoing.from_account_id, self._rules.bounds
        kind = {
            "is_request": verdict.is_request,
            "to_group": isinstance(outgoing.to, GroupAtVersion),
        }
        room = box.room(sender, size, bounds, **kind)
        if room is QuotaResult.UNCOUNTED:
            mailbox_shares.load(self._connection, device_id, box, sender)
            room = box.room(sender, size, bounds, **kind)
        return room


def _answer_after(lead: SendJob, job: SendJob) -> AcceptedMessage | Problem | None:
    """Answer a message under the name of one that was refused: as that, if it is the same."""
    return lead.answer if lead.fingerprint == job.fingerprint else reused()


def _contents(
    sealed: Sequence[DeviceEnvelope] | SharedContent, targets: Collection[UUID]
) -> list[tuple[UUID, bytes]]:
    """Give what each device gets."""
    if isinstance(sealed, SharedContent):
        return [(device_id, sealed.content) for device_id in targets]
    return [(one.device_id, one.content) for one in sealed]
