"""Group commit: messages and acknowledgements that wait are stored in one transaction, then answered.

One thread (a greenlet under gevent) takes everything that waits, up to a bound, and stores it. While that
transaction waits for the disk, the next batch gathers. Nothing is delayed on purpose: a lone message is
stored alone. When too much waits, new jobs are refused.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import IntegrityError

from core.database_errors import problem_of
from core.problems import InternalError, Problem, ServiceUnavailable, StorageFull
from messaging.mailbox.client_ids import ConcurrentDuplicate
from messaging.mailbox.jobs import Job, SendJob, refuse_sends
from messaging.metrics import MessagingMetrics

log = structlog.get_logger()

#: A batch takes no further job once it has so many envelopes and acknowledgements, or bytes of content.
MAX_BATCH_WEIGHT, MAX_BATCH_BYTES = 512, 8 * 2**20
#: How much may wait for later batches.
MAX_QUEUED_WEIGHT, MAX_QUEUED_BYTES = 16_384, 64 * 2**20
RETRY_AFTER_SECONDS = 2


class GroupCommit:
    """Stores jobs in the order in which they came, many in one transaction.

    commit: stores a batch in one transaction and sets the answer of each job. When it raises, it leaves no
    rows behind.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Job]], None],
        metrics: MessagingMetrics,
        max_batch_weight: int = MAX_BATCH_WEIGHT,
        max_queued_weight: int = MAX_QUEUED_WEIGHT,
    ) -> None:
        self._commit = commit
        self._metrics = metrics
        self._max_batch_weight = max_batch_weight
        self._max_queued_weight = max_queued_weight
        self._lock = threading.Lock()
        self._queue = deque[Job]()
        self._weight = self._bytes = 0
        self._running = False

    def submit(self, job: Job) -> None:
        """Queue a job, which is answered later; or answer it with a refusal when too much waits."""
        with self._lock:
            full = self._weight >= self._max_queued_weight or self._bytes >= MAX_QUEUED_BYTES
            if not full:
                self._queue.append(job)
                self._weight += job.weight
                self._bytes += job.size
            start = not full and not self._running
            if start:
                self._running = True
        if full:
            job.answer = ServiceUnavailable(
                "Too much waits to be stored.", retry_after=RETRY_AFTER_SECONDS
            )
            self._send_answers([job])
        if start:
            threading.Thread(target=self._run, name="commits", daemon=True).start()

    def _run(self) -> None:
        """Store batches until nothing waits."""
        while batch := self._next_batch():
            started = time.perf_counter()
            self._store(batch)
            self._metrics.commit_seconds.observe(time.perf_counter() - started)
            self._metrics.commit_jobs.observe(len(batch))

    def _next_batch(self) -> list[Job]:
        """Return the next batch; an empty one ends the thread."""
        batch: list[Job] = []
        weight = size = 0
        with self._lock:
            while self._queue and weight < self._max_batch_weight and size < MAX_BATCH_BYTES:
                job = self._queue.popleft()
                batch.append(job)
                weight += job.weight
                size += job.size
            self._weight -= weight
            self._bytes -= size
            self._running = bool(batch)
            self._metrics.commits_waiting.set(len(self._queue))
        return batch

    def _store(self, batch: list[Job], *, repeated: bool = False) -> None:
        """Store a batch and send the answers; split a batch that fails for an unknown reason in half.

        So a job that cannot be stored fails alone, and its neighbours are stored in their order.
        """
        try:
            self._commit(batch)
        except Exception as error:
            problem = problem_of(error)
            if problem is not None:
                log.error("database.failed", error=type(error).__name__, jobs=len(batch))
                # A lost connection may have committed; a repetition is then found by its client id.
                self._refuse(batch, problem)
                return
            if isinstance(error, IntegrityError | ConcurrentDuplicate) and not repeated:
                # Another process stored one of the messages meanwhile; this time it is found.
                self._store(batch, repeated=True)
                return
            if len(batch) > 1:
                middle = len(batch) // 2
                self._store(batch[:middle])
                self._store(batch[middle:])
                return
            log.error("messages.failed", exc_info=error)
            batch[0].answer = InternalError("It could not be stored.")
        self._send_answers(batch)

    def _refuse(self, batch: Sequence[Job], problem: Problem) -> None:
        """Refuse a batch; on a full disk, store its acknowledgements, which make room, by themselves."""
        others = refuse_sends(batch, problem)
        if isinstance(problem, StorageFull) and 0 < len(others) < len(batch):
            self._send_answers([job for job in batch if isinstance(job, SendJob)])
            self._store(others)
            return
        for job in others:
            job.answer = problem
        self._send_answers(batch)

    @staticmethod
    def _send_answers(batch: Sequence[Job]) -> None:
        for job in batch:
            try:
                job.send_answer()
            except Exception as error:
                # One failing callback must not keep the others from their answers.
                log.error("messages.answer_failed", exc_info=error)
