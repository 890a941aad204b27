"""One transaction of messages and acknowledgements.

Each step is one statement for the whole batch: earlier client ids, devices, sender rules, locking the
mailboxes, and then everything that is stored. A refused message leaves nothing behind and affects no other. A
message that is in the batch several times is evaluated, and counted in limits, once.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.database import Database
from core.database_errors import NO_ROOM, STORAGE_RETRY
from core.problems import Problem, StorageFull
from messaging.mailbox import envelopes, shares, store
from messaging.mailbox.client_ids import ClientIds, client_id_reused
from messaging.mailbox.jobs import AcknowledgeJob, Job, SendJob, refuse_sends
from messaging.mailbox.locked_mailbox import LockedMailbox
from messaging.mailbox.problems import AcknowledgementAhead, MailboxFull
from messaging.mailbox.quota import MailboxQuota, QuotaResult
from messaging.mailbox.recipients import FindJoinedMembers, Recipients, devices_mismatched
from messaging.message_types import (
    AcceptedMessage,
    Delivery,
    DeliveryDecision,
    DeviceEnvelope,
    GroupAtVersion,
    MessageHeader,
    MissedNotice,
    SenderRecipient,
    SharedContent,
)
from messaging.metrics import MessagingMetrics
from messaging.notifications.registry import ListenerRegistry

#: Decides on messages to other accounts and to groups, and counts them in limits. Called once a batch.
EvaluateSenders = Callable[
    [Connection, Sequence[SenderRecipient], datetime], list[DeliveryDecision]
]
FULL_RETRY_SECONDS = 300
_DELIVER = DeliveryDecision()
_FULL_DETAILS = {
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
    #: Devices that get a push wake-up if they are not connected.
    urgent: Collection[UUID]
    #: Devices that missed a message to a group.
    missed: Mapping[UUID, MissedNotice]
    #: Envelopes by outcome: stored, dropped, missed, acknowledged.
    steps: Mapping[str, int]


@dataclass
class BatchProcessor:
    """Stores batches, each in one transaction, and notifies the listeners of its messages."""

    database: Database
    clock: Callable[[], datetime]
    metrics: MessagingMetrics
    registry: ListenerRegistry
    entropy: Callable[[int], bytes]
    evaluate_senders: EvaluateSenders
    find_joined_members: FindJoinedMembers
    quota: MailboxQuota

    def commit(self, jobs: Sequence[Job]) -> None:
        """Store a batch in one transaction, set the answer of each job, and notify listeners.

        While only the reserve of the disk is left, messages are refused; acknowledgements, which make room,
        are not.
        """
        if self.database.storage.low():
            jobs = refuse_sends(jobs, StorageFull(NO_ROOM, retry_after=STORAGE_RETRY))
            if not jobs:
                return
        with self.database.write() as connection:
            result = self.process(connection, jobs, self.clock())
        for step, count in result.steps.items():
            self.metrics.envelopes.labels(step).inc(count)
        self.registry.notify_stored(result.deliveries, result.urgent)
        for device_id, missed in result.missed.items():
            self.registry.notify(device_id, missed)

    def process(self, connection: Connection, jobs: Sequence[Job], now: datetime) -> BatchResult:
        """Process a batch in the caller's transaction, and set the answer of each job."""
        for job in jobs:
            job.answer = None
        return _Batch(self, connection, jobs, now).process()


class _Batch:
    """The state of one batch."""

    def __init__(
        self, processor: BatchProcessor, connection: Connection, jobs: Sequence[Job], now: datetime
    ) -> None:
        self._processor = processor
        self._connection = connection
        self._now = now
        self._sends = [job for job in jobs if isinstance(job, SendJob)]
        #: The first message under each client id; others under it get their answer from this one.
        self._firsts = {job.key: job for job in reversed(self._sends)}
        self._acknowledgements = [job for job in jobs if isinstance(job, AcknowledgeJob)]
        self._client_ids = ClientIds(connection, self._sends)
        self._mailboxes: dict[UUID, LockedMailbox] = {}
        self._shared: dict[UUID, int] = {}
        self._steps = Counter[str]()

    def process(self) -> BatchResult:
        targets = self._find_targets()
        decisions = self._evaluate(targets)
        device_ids = {job.device_id for job in self._acknowledgements}
        device_ids.update(*targets.values())
        self._mailboxes = store.lock(self._connection, device_ids)
        self._acknowledge()
        refused: list[SendJob] = []
        for message_id, job in zip(self._new_ids(), self._sends, strict=True):
            first = self._firsts[job.key]
            job.answer = self._client_ids.earlier_answer(job) or job.answer
            if job.answer is None and first is not job:
                same = first.fingerprint == job.fingerprint
                job.answer = first.answer if same else client_id_reused()
            elif job.answer is None:
                decision = decisions.get(job, _DELIVER)
                job.answer = self._send(job, message_id, targets[job], decision)
                if isinstance(job.answer, Problem):
                    refused.append(job)
        self._client_ids.check_refused(refused)
        self._client_ids.write()
        envelopes.insert_added(self._connection, self._mailboxes, self._shared)
        store.write(self._connection, self._mailboxes, self._processor.quota)
        return self._result()

    def _result(self) -> BatchResult:
        mailboxes = self._mailboxes.items()
        return BatchResult(
            {device_id: one.deliveries for device_id, one in mailboxes if one.deliveries},
            {device_id for device_id, one in mailboxes if one.urgent},
            {
                device_id: MissedNotice(one.missed_since or self._now, one.missed_seq)
                for device_id, one in mailboxes
                if one.missed
            },
            self._steps,
        )

    def _new_ids(self) -> list[UUID]:
        """Return a new id for each message; drawn at once, because each draw is a system call."""
        drawn = self._processor.entropy(16 * len(self._sends))
        return [UUID(bytes=drawn[at : at + 16], version=4) for at in range(0, len(drawn), 16)]

    def _find_targets(self) -> dict[SendJob, Collection[UUID]]:
        """Return the devices of each new message; refuse messages that are not for exactly those."""
        new = [job for job in self._firsts.values() if self._client_ids.earlier_answer(job) is None]
        recipients = Recipients(
            self._connection,
            [job.submission for job in new],
            self._processor.find_joined_members,
            self._now,
        )
        targets: dict[SendJob, Collection[UUID]] = {}
        for job in new:
            try:
                targets[job] = recipients.devices(job.submission)
            except Problem as problem:
                job.answer = problem
        return targets

    def _evaluate(self, jobs: Collection[SendJob]) -> dict[SendJob, DeliveryDecision]:
        """Return the decisions on the messages to other accounts and to groups."""
        pairs = {}
        for job in jobs:
            sender, to = job.submission.from_account_id, job.submission.to
            is_group = isinstance(to, GroupAtVersion)
            if to != sender:
                to_id = to.id if isinstance(to, GroupAtVersion) else to
                pairs[job] = SenderRecipient(sender, to_id, is_group, job.submission.number_id)
        if not pairs:
            return {}
        decisions = self._processor.evaluate_senders(
            self._connection, list(pairs.values()), self._now
        )
        return dict(zip(pairs, decisions, strict=True))

    def _acknowledge(self) -> None:
        through: dict[UUID, int] = {}
        for job in self._acknowledgements:
            mailbox = self._mailboxes.get(job.device_id)
            if mailbox is None or job.through > mailbox.last_seq:
                job.answer = AcknowledgementAhead(
                    "Acknowledge the seq of a message that was fetched."
                )
            else:
                through[job.device_id] = max(job.through, through.get(job.device_id, 0))
        self._steps["acknowledged"] += envelopes.acknowledge(
            self._connection, self._mailboxes, through
        )

    def _send(
        self, job: SendJob, message_id: UUID, targets: Collection[UUID], decision: DeliveryDecision
    ) -> AcceptedMessage | Problem:
        """Add a message to each of its mailboxes if all have room; otherwise return why not.

        A member of a group whose mailbox has no room misses the message; the others get it.
        """
        if decision.refusal is not None:
            return decision.refusal
        submission, now = job.submission, self._now
        expires_at = now + timedelta(seconds=submission.expires_in)
        sender = submission.from_account_id, submission.from_device_id
        header = MessageHeader(message_id, *sender, now, expires_at, submission.group)
        is_request = decision.is_request
        fitting: list[tuple[LockedMailbox, bytes]] = []
        full: list[LockedMailbox] = []
        for device_id, content in _contents(submission.contents, targets):
            mailbox = self._mailboxes.get(device_id)
            if mailbox is None:
                # Another process removed the device since the devices were read.
                return devices_mismatched(extra=set(targets) - self._mailboxes.keys())
            result = self._check_quota(mailbox, header, len(content), is_request)
            if result is QuotaResult.FITS:
                fitting.append((mailbox, content))
            elif header.group:
                full.append(mailbox)
            else:
                return MailboxFull(_FULL_DETAILS[result], retry_after=FULL_RETRY_SECONDS)
        accepted = AcceptedMessage(message_id, now)
        self._client_ids.add(job, accepted)
        if decision.dropped:
            # After the quota check, or a full mailbox would tell senders whether they are blocked.
            self._steps["dropped"] += len(fitting)
            return accepted
        for mailbox, content in fitting:
            mailbox.add(header, content, is_request=is_request, urgent=submission.urgent)
        for mailbox in full:
            mailbox.miss(now)
        if fitting and isinstance(submission.contents, SharedContent):
            self._shared[message_id] = len(fitting)
        self._steps["stored"] += len(fitting)
        if full:
            self._steps["missed"] += len(full)
        return accepted

    def _check_quota(
        self, mailbox: LockedMailbox, header: MessageHeader, size: int, is_request: bool
    ) -> QuotaResult:
        """Return whether an envelope fits, after counting its sender if that depends on it."""
        quota = self._processor.quota
        result = mailbox.check_quota(header, size, quota, is_request=is_request)
        if result is QuotaResult.UNCOUNTED:
            shares.load(self._connection, mailbox, header.from_account_id)
            result = mailbox.check_quota(header, size, quota, is_request=is_request)
        return result


def _contents(
    contents: Sequence[DeviceEnvelope] | SharedContent, targets: Collection[UUID]
) -> list[tuple[UUID, bytes]]:
    """Return the content for each device."""
    if isinstance(contents, SharedContent):
        return [(device_id, contents.content) for device_id in targets]
    return [(envelope.device_id, envelope.content) for envelope in contents]
