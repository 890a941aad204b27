"""Group commit: everything that waits goes to the disk together, and is answered after that.

Owns the queue of messages and acknowledgements and the one thread (a greenlet under gevent) that takes from
it: whatever waits, up to a bound, is one transaction, and while that waits for the disk the next gathers.
Nobody is held up on purpose: what comes alone is stored alone. Refuses more than can soon be stored.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import IntegrityError

from core.database_errors import problem_of
from core.metrics import Metrics
from core.problems import InternalError, Problem, ServiceUnavailable, StorageFull
from messaging.mailbox.client_ids import ConcurrentDuplicate
from messaging.mailbox.jobs import Job, SendJob, refuse_sends

log = structlog.get_logger()

#: Envelopes with acknowledgements, and bytes of content, after which a transaction takes no further job.
MAX_BATCH_WEIGHT, MAX_BATCH_BYTES = 512, 8 * 2**20
#: What may wait for the transactions to come.
MAX_QUEUED_WEIGHT, MAX_QUEUED_BYTES = 16_384, 64 * 2**20
#: Seconds after which who is refused may come again.
RETRY_AFTER_SECONDS = 2


class GroupCommit:
    """Stores jobs in the order they came, many in one transaction.

    commit: stores a batch in one transaction, gives each job its answer, and leaves no job's answer or rows
    behind when it raises.
    """

    def __init__(self, commit: Callable[[Sequence[Job]], None], metrics: Metrics) -> None:
        self._commit = commit
        self._metrics = metrics
        self._lock = threading.Lock()
        self._waiting = deque[Job]()
        self._weight = self._bytes = 0
        self._running = False

    def put(self, job: Job) -> None:
        """Take a job, which is told its answer later; or at once, when too much waits already."""
        with self._lock:
            full = self._weight >= MAX_QUEUED_WEIGHT or self._bytes >= MAX_QUEUED_BYTES
            if not full:
                self._waiting.append(job)
                self._weight += job.weight
                self._bytes += job.size
            start = not full and not self._running
            if start:
                self._running = True
        if full:
            job.answer = ServiceUnavailable(
                "Too much waits to be stored.", retry_after=RETRY_AFTER_SECONDS
            )
            self._tell([job])
        if start:
            threading.Thread(target=self._run, name="commits", daemon=True).start()

    def _run(self) -> None:
        """Store whatever waits until nothing does."""
        while batch := self._take():
            started = time.perf_counter()
            self._store(batch)
            self._metrics.commit_seconds.observe(time.perf_counter() - started)
            self._metrics.commit_jobs.observe(len(batch))

    def _take(self) -> list[Job]:
        """Take a batch; nothing, when the thread is to end."""
        batch: list[Job] = []
        weight = size = 0
        with self._lock:
            while self._waiting and weight < MAX_BATCH_WEIGHT and size < MAX_BATCH_BYTES:
                job = self._waiting.popleft()
                batch.append(job)
                weight += job.weight
                size += job.size
            self._weight -= weight
            self._bytes -= size
            self._running = bool(batch)
            self._metrics.commits_waiting.set(len(self._waiting))
        return batch

    def _store(self, batch: list[Job], *, repeated: bool = False) -> None:
        """Store a batch and tell the answers; one that fails for no known reason, by its halves.

        So a job that cannot be stored ends alone, and its neighbours are stored, in their order.
        """
        try:
            self._commit(batch)
        except Exception as error:
            problem = problem_of(error)
            if problem is not None:
                log.error("database.failed", error=type(error).__name__, jobs=len(batch))
                # What a lost connection left committed is found by its client id when it comes again.
                self._refuse_all(batch, problem)
                return
            if isinstance(error, IntegrityError | ConcurrentDuplicate) and not repeated:
                # Another process stored one of the messages meanwhile, and is found this time.
                self._store(batch, repeated=True)
                return
            if len(batch) > 1:
                middle = len(batch) // 2
                self._store(batch[:middle])
                self._store(batch[middle:])
                return
            log.error("messages.failed", exc_info=error)
            batch[0].answer = InternalError("It could not be stored.")
        self._tell(batch)

    def _refuse_all(self, batch: Sequence[Job], problem: Problem) -> None:
        """Tell a batch that it was not stored; without room what makes some is tried by itself."""
        others = refuse_sends(batch, problem)
        if isinstance(problem, StorageFull) and 0 < len(others) < len(batch):
            self._tell([job for job in batch if isinstance(job, SendJob)])
            self._store(others)
            return
        for job in others:
            job.answer = problem
        self._tell(batch)

    @staticmethod
    def _tell(batch: Sequence[Job]) -> None:
        for job in batch:
            try:
                job.tell()
            except Exception as error:
                # Whoever cannot hear it must not keep the others from hearing theirs.
                log.error("messages.untold", exc_info=error)
