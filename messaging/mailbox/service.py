"""Messages: accepted for each device of an account or not at all, fetched in order, acknowledged.

Owns how messages come in and go out, and the long poll. Refuses contents over their bound here, and
whatever else is wrong with a message in the transaction that would store it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core.database import Database
from core.database_errors import NO_ROOM, STORAGE_RETRY
from core.metrics import Metrics
from core.problems import InvalidFields, Problem, StorageFull
from messaging.mailbox import client_ids
from messaging.mailbox import store as mailbox
from messaging.mailbox.group_commit import GroupCommit
from messaging.mailbox.jobs import AcknowledgeJob, Job, SendJob, refuse_sends
from messaging.mailbox.locked_mailbox import MailboxQuota
from messaging.mailbox.message_batch import BatchProcessor, EvaluateSenders
from messaging.mailbox.recipients import FindJoinedMembers
from messaging.mailbox.store import MailboxPage
from messaging.message_types import (
    AcceptedMessage,
    Delivery,
    MessageSubmission,
    MissedNotice,
    Notice,
    SharedContent,
    first_within,
)
from messaging.notifications.listeners import LongPoll
from messaging.notifications.registry import ListenerRegistry
from messaging.settings import MessagingSettings
from tokens.devices import IDLE_AFTER, Caller, DeviceService, MailboxFill

#: Bytes of content in an answer: a hundred of the largest messages would be ten times that, for a reader who
#: may take it slowly.
PAGE_BYTES = 1_048_576


class MessageService:
    """Sends, fetches and acknowledges, and keeps a mailbox for each device there is."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        metrics: Metrics,
        settings: MessagingSettings,
        judge: EvaluateSenders,
        rosters: FindJoinedMembers,
        registry: ListenerRegistry,
    ) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._max_content_bytes = settings.max_content_bytes
        self._posting = BatchProcessor(
            entropy,
            judge,
            rosters,
            MailboxQuota(settings.max_mailbox_messages, settings.max_mailbox_bytes),
        )
        self._committer = GroupCommit(self._commit, metrics)
        #: Told of devices to which a long poll gave something that they have to acknowledge.
        self.polled: list[Callable[[UUID], None]] = []
        #: Who listens for which mailbox.
        self.registry = registry
        #: Long polls that wait here, until the server stops.
        self._polls = set[LongPoll]()
        self._stopping = False

    def submit(
        self, outgoing: MessageSubmission, done: Callable[[AcceptedMessage | Problem], None]
    ) -> None:
        """Take a message without waiting; sent again it is answered the same.

        done: called with the answer once it is stored for each device, or with the refusal:
        InvalidFields, ClientIdReused, AccountNotFound, GroupNotFound, GroupChanged, DevicesMismatched,
        MailboxFull, one of the judge's, or ServiceUnavailable. Nothing is stored then, not even the
        client id. Must not wait.
        """
        fault = self._fault(outgoing)
        if fault is not None:
            done(fault)
        else:
            self._committer.put(SendJob(outgoing, done))

    def submit_acknowledgement(
        self, device_id: UUID, through: int, done: Callable[[Problem | None], None]
    ) -> None:
        """Delete a device's messages up to a number without waiting; again it changes nothing.

        done: called with None once that is on disk, or with the refusal: AcknowledgementAhead when the
        number was never given out, or ServiceUnavailable. Must not wait.
        """
        self._committer.put(AcknowledgeJob(device_id, through, done))

    def send(self, outgoing: MessageSubmission) -> AcceptedMessage:
        """Store a message and wait for it; raises what `submit` may refuse with."""
        answer = Future[AcceptedMessage | Problem]()
        self.submit(outgoing, answer.set_result)
        accepted = answer.result()
        if isinstance(accepted, Problem):
            raise accepted
        return accepted

    def acknowledge(self, caller: Caller, through: int) -> None:
        """Acknowledge for the calling device and wait; raises what `submit_acknowledgement` refuses with."""
        answer = Future[Problem | None]()
        self.submit_acknowledgement(caller.device_id, through, answer.set_result)
        problem = answer.result()
        if problem is not None:
            raise problem
        self.registry.notify_acknowledged(caller.device_id, through)

    def _fault(self, outgoing: MessageSubmission) -> InvalidFields | None:
        """Say what no schema knows to be wrong with a message."""
        most = self._max_content_bytes
        sealed = outgoing.sealed
        if isinstance(sealed, SharedContent):
            if len(sealed.content) > most:
                return InvalidFields.at("/content", f"at most {most} bytes before encoding")
            return None
        seen = set[UUID]()
        for index, one in enumerate(sealed):
            if len(one.content) > most:
                where = f"/envelopes/{index}/content"
                return InvalidFields.at(where, f"at most {most} bytes before encoding")
            if one.device_id in seen:
                where = f"/envelopes/{index}/device_id"
                return InvalidFields.at(where, "a device has one envelope")
            seen.add(one.device_id)
        return None

    def _commit(self, jobs: Sequence[Job]) -> None:
        """Store a batch in one transaction, and wake who listens for what came.

        While only the reserve of the disk is left messages are refused, and acknowledgements, which
        make room, are not.
        """
        if self._database.storage.low():
            jobs = refuse_sends(jobs, StorageFull(NO_ROOM, retry_after=STORAGE_RETRY))
            if not jobs:
                return
        with self._database.write() as connection:
            posted = self._posting.post(connection, jobs, self._clock())
        for step, envelopes in posted.steps.items():
            self._metrics.envelopes.labels(step).inc(envelopes)
        self.registry.notify_stored(posted.deliveries, posted.urgent)
        for device_id, missed in posted.missed.items():
            self.registry.send_notice(device_id, missed)

    def pending(self, device_id: UUID, after: int, limit: int) -> list[Delivery]:
        """Give the oldest messages of a device with numbers over `after`, in order."""
        with self._database.read() as connection:
            return mailbox.read(connection, device_id, after, self._clock(), limit)

    def page(self, device_id: UUID, after: int, limit: int) -> MailboxPage:
        """Give the same, and the number given out last."""
        with self._database.read() as connection:
            return mailbox.read_page(connection, device_id, after, self._clock(), limit)

    def fetch(self, caller: Caller, limit: int, wait: int) -> tuple[Sequence[Delivery], bool]:
        """Give the oldest messages of the calling device, and whether more wait behind them.

        They have together at most a mebibyte of content, but for one that is larger by itself.

        wait: seconds to wait while there are none, holding no transaction and no connection.
        """
        if not wait:
            return self._look(caller.device_id, limit)
        # Not the clock of the service: that one tells the time of day, which may be set.
        deadline = time.monotonic() + wait
        waiter = LongPoll()
        self._polls.add(waiter)
        try:
            with self.registry.register(caller.device_id, waiter, caller.token_hash, is_poll=True):
                found, more = self._await(caller.device_id, waiter, limit, deadline)
        finally:
            self._polls.discard(waiter)
        if found:
            for tell in self.polled:
                tell(caller.device_id)
        return found, more

    def _await(
        self, device_id: UUID, waiter: LongPoll, limit: int, deadline: float
    ) -> tuple[Sequence[Delivery], bool]:
        """Look into a mailbox until something is there, or the time or the wait is over."""
        while True:
            # Before the look, or what is stored between look and wait would go unheard.
            waiter.clear()
            found, more = self._look(device_id, limit)
            left = deadline - time.monotonic()
            if found or left <= 0 or waiter.closed or self._stopping:
                return found, more
            waiter.wait(left)

    def end_polls(self) -> None:
        """Answer all long polls with what there is, and do not wait in later ones; never waits."""
        self._stopping = True
        for waiter in list(self._polls):
            waiter.on_stored(())

    def missed(self, caller: Caller) -> MissedNotice | None:
        """Say since when messages to the calling device were not stored; None when nothing is missing."""
        with self._database.read() as connection:
            return mailbox.missed(connection, caller.device_id)

    def pending_notices(self, caller: Caller) -> Sequence[Notice]:
        """Give what a socket that opens should hear: that messages are missing."""
        missed = self.missed(caller)
        return () if missed is None else (missed,)

    def _look(self, device_id: UUID, limit: int) -> tuple[Sequence[Delivery], bool]:
        found = self.pending(device_id, 0, limit + 1)
        page = first_within(found[:limit], PAGE_BYTES)
        return page, len(found) > len(page)

    def mailbox_fills(
        self, connection: Connection, device_ids: Sequence[UUID]
    ) -> Mapping[UUID, MailboxFill]:
        """Say how full the mailboxes of devices are."""
        bounds = self._posting.bounds.whole
        return {
            device_id: MailboxFill(*waiting, *bounds)
            for device_id, waiting in mailbox.fill(connection, device_ids).items()
        }

    def device_added(self, connection: Connection, account_id: UUID, device_id: UUID) -> None:
        """Make the mailbox of a new device, in the transaction that adds it."""
        mailbox.create(connection, account_id, device_id)

    def device_returned(
        self, connection: Connection, account_id: UUID, device_id: UUID, last_seen_at: datetime
    ) -> None:
        """Note what a device missed that was idle for so long that messages were not for it."""
        idle_from = last_seen_at + IDLE_AFTER
        if idle_from <= self._clock() and DeviceService.device_ids(connection, account_id) != [
            device_id
        ]:
            mailbox.miss(connection, device_id, idle_from, self._posting.bounds)

    def devices_removed(
        self, connection: Connection, account_id: UUID, device_ids: Sequence[UUID]
    ) -> None:
        """Delete all that waits for devices that are gone, and what is known of their sends."""
        mailbox.remove(connection, device_ids)
        client_ids.forget(connection, device_ids)

    def purge_envelopes(self, connection: Connection, now: datetime) -> int:
        """Delete a batch of expired envelopes."""
        expired = mailbox.expire(connection, now, self._posting.bounds)
        self._metrics.envelopes.labels("expired").inc(expired)
        return expired
