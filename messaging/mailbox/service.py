"""Messages: accepted for each device of an account or for none, fetched in order, and acknowledged."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core.database import Database
from core.problems import InvalidFields, Problem
from messaging.mailbox import client_ids, envelopes, store
from messaging.mailbox.envelopes import MailboxPage
from messaging.mailbox.group_commit import GroupCommit
from messaging.mailbox.jobs import AcknowledgeJob, SendJob
from messaging.mailbox.message_batch import BatchProcessor
from messaging.message_types import (
    AcceptedMessage,
    Delivery,
    MessageSubmission,
    MissedNotice,
    Notice,
    SharedContent,
    first_within,
)
from messaging.metrics import MessagingMetrics
from messaging.notifications.listeners import LongPoll
from messaging.notifications.notifications import MessagesAcknowledged
from messaging.notifications.registry import ListenerRegistry
from tokens.devices import IDLE_AFTER, Caller, DeviceService, MailboxFill

#: Bytes of content in an answer. A hundred of the largest messages would be ten times that, for a client that
#: may read slowly.
MAX_PAGE_BYTES = 1_048_576


class MessageService:
    """Sends, fetches and acknowledges messages, and keeps the mailbox of each device."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        metrics: MessagingMetrics,
        max_content_bytes: int,
        batches: BatchProcessor,
        registry: ListenerRegistry,
    ) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._max_content_bytes = max_content_bytes
        self._batches = batches
        self._commits = GroupCommit(batches.commit, metrics)
        #: Called with devices whose long poll returned messages that they have to acknowledge.
        self.polled: list[Callable[[UUID], None]] = []
        self.registry = registry
        self._polls = set[LongPoll]()
        self._stopping = False

    def submit(
        self,
        submission: MessageSubmission,
        on_answer: Callable[[AcceptedMessage | Problem], None],
    ) -> None:
        """Queue a message and return at once; a repetition gets the same answer.

        on_answer: called once the message is stored for each device, or with a refusal: InvalidFields,
        ClientIdReused, AccountNotFound, GroupNotFound, GroupChanged, DevicesMismatched, MailboxFull,
        RecipientBlocked, MessageRateLimited or ServiceUnavailable. A refused message leaves nothing behind,
        not even its client id. The callback must not block.
        """
        fault = self._find_fault(submission)
        if fault is not None:
            on_answer(fault)
        else:
            self._commits.submit(SendJob(submission, on_answer))

    def submit_acknowledgement(
        self, device_id: UUID, through: int, on_answer: Callable[[Problem | None], None]
    ) -> None:
        """Queue the deletion of a device's messages up to a number, and return at once.

        on_answer: called with None once that is on disk, or with a refusal: AcknowledgementAhead if the
        number was never assigned, or ServiceUnavailable. It must not block.
        """
        self._commits.submit(AcknowledgeJob(device_id, through, on_answer))

    def send(self, submission: MessageSubmission) -> AcceptedMessage:
        """Store a message and wait until it is stored; raises the refusals of `submit`."""
        answer = Future[AcceptedMessage | Problem]()
        self.submit(submission, answer.set_result)
        accepted = answer.result()
        if isinstance(accepted, Problem):
            raise accepted
        return accepted

    def acknowledge(self, caller: Caller, through: int) -> None:
        """Acknowledge for the calling device and wait; raises the refusals of `submit_acknowledgement`."""
        answer = Future[Problem | None]()
        self.submit_acknowledgement(caller.device_id, through, answer.set_result)
        problem = answer.result()
        if problem is not None:
            raise problem
        self.registry.notify(caller.device_id, MessagesAcknowledged(through))

    def _find_fault(self, submission: MessageSubmission) -> InvalidFields | None:
        """Return what is wrong with a message that no schema can tell."""
        limit = self._max_content_bytes
        contents = submission.contents
        if isinstance(contents, SharedContent):
            if len(contents.content) > limit:
                return InvalidFields.at("/content", f"at most {limit} bytes before encoding")
            return None
        seen = set[UUID]()
        for index, envelope in enumerate(contents):
            if len(envelope.content) > limit:
                pointer = f"/envelopes/{index}/content"
                return InvalidFields.at(pointer, f"at most {limit} bytes before encoding")
            if envelope.device_id in seen:
                pointer = f"/envelopes/{index}/device_id"
                return InvalidFields.at(pointer, "a device has one envelope")
            seen.add(envelope.device_id)
        return None

    def page(self, device_id: UUID, after: int, limit: int) -> MailboxPage:
        """Return the oldest messages of a device after a number, and the last assigned number."""
        with self._database.read() as connection:
            return envelopes.read_page(connection, device_id, after, self._clock(), limit)

    def fetch(self, caller: Caller, limit: int, wait: int) -> tuple[Sequence[Delivery], bool]:
        """Return the oldest messages of the calling device, and whether more wait.

        Their contents are at most `MAX_PAGE_BYTES` together, except for a single larger message.

        wait: seconds to wait while there are none, without a transaction or a connection.
        """
        if not wait:
            return self._first_page(caller.device_id, limit)
        # A monotonic clock: the time of day may be set.
        deadline = time.monotonic() + wait
        poll = LongPoll()
        self._polls.add(poll)
        try:
            with self.registry.register(caller.device_id, poll, caller.token_hash, is_poll=True):
                found, more = self._await(caller.device_id, poll, limit, deadline)
        finally:
            self._polls.discard(poll)
        if found:
            for callback in self.polled:
                callback(caller.device_id)
        return found, more

    def _await(
        self, device_id: UUID, poll: LongPoll, limit: int, deadline: float
    ) -> tuple[Sequence[Delivery], bool]:
        """Read a mailbox until it has messages, the time is over, or the wait is ended."""
        while True:
            # Before the read, or a message that is stored between read and wait would go unnoticed.
            poll.clear()
            found, more = self._first_page(device_id, limit)
            left = deadline - time.monotonic()
            if found or left <= 0 or poll.closed or self._stopping:
                return found, more
            poll.wait(left)

    def _first_page(self, device_id: UUID, limit: int) -> tuple[Sequence[Delivery], bool]:
        found = self.page(device_id, 0, limit + 1).deliveries
        page = first_within(found[:limit], MAX_PAGE_BYTES)
        return page, len(found) > len(page)

    def end_polls(self) -> None:
        """Answer all long polls now, and later ones without waiting. Never blocks."""
        self._stopping = True
        for poll in list(self._polls):
            poll.on_stored(())

    def missed(self, caller: Caller) -> MissedNotice | None:
        """Return since when messages to the calling device were not stored; None if none are missing."""
        with self._database.read() as connection:
            return store.missed(connection, caller.device_id)

    def pending_notices(self, caller: Caller) -> Sequence[Notice]:
        """Return the notices for a socket that opens: that messages are missing."""
        missed = self.missed(caller)
        return () if missed is None else (missed,)

    def mailbox_fills(
        self, connection: Connection, device_ids: Sequence[UUID]
    ) -> Mapping[UUID, MailboxFill]:
        """Return how full the mailboxes of devices are."""
        whole = self._batches.quota.whole
        return {
            device_id: MailboxFill(*usage, *whole)
            for device_id, usage in store.usage_of(connection, device_ids).items()
        }

    def device_added(self, connection: Connection, account_id: UUID, device_id: UUID) -> None:
        """Create the mailbox of a new device, in the transaction that adds it."""
        store.create(connection, account_id, device_id)

    def device_returned(
        self, connection: Connection, account_id: UUID, device_id: UUID, last_seen_at: datetime
    ) -> None:
        """Record what a device missed that was idle for so long that messages were not addressed to it."""
        idle_from = last_seen_at + IDLE_AFTER
        if idle_from <= self._clock() and DeviceService.device_ids(connection, account_id) != [
            device_id
        ]:
            store.record_missed(connection, device_id, idle_from, self._batches.quota)

    def devices_removed(
        self, connection: Connection, account_id: UUID, device_ids: Sequence[UUID]
    ) -> None:
        """Delete the mailboxes and client ids of removed devices, in the transaction that removes them."""
        envelopes.delete_mailboxes(connection, device_ids)
        client_ids.delete_sent(connection, device_ids)

    def purge_envelopes(self, connection: Connection, now: datetime) -> int:
        """Delete a batch of expired envelopes; return how many."""
        expired = envelopes.delete_expired(connection, now, self._batches.quota)
        self._metrics.envelopes.labels("expired").inc(expired)
        return expired
