"""The waker: schedules wake-ups, claims those that are due, has them sent, and records the results.

It runs in threads (greenlets under gevent) beside the server. The state that matters is in the wake-up queue
alone; several processes share the work. A sweep finds wake-ups that a process did not schedule because it was
killed after the commit of a message.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

import structlog

from core.database import Database
from core.database_errors import log_fields
from messaging.push import wakeup_queue
from messaging.push.metrics import PushMetrics
from messaging.push.provider import PushProvider
from messaging.push.schedule import next_check, next_repeat, next_try
from messaging.push.sender import CheckPresence, WakeupResult, WakeupSender
from messaging.push.wakeup_queue import BATCH_SIZE, Settlement

log = structlog.get_logger()

#: Longer than any request takes.
CLAIM_DURATION = timedelta(minutes=2)
#: Seconds in which wake-ups gather before they are written together.
GATHER_SECONDS = 0.2
#: Seconds between looks at what other processes left, and at repeats.
POLL_SECONDS = 5.0
#: Devices that may gather; the sweep finds others.
MAX_GATHERED = 100_000
#: Mailboxes read at once by the sweep, seconds between two sweeps, and between steps of the first: a process
#: begins with one, since wake-ups are lost only where a process died.
SWEEP_BATCH_SIZE, SWEEP_SECONDS, FIRST_SWEEP_SECONDS = 5000, 60.0, 0.05
#: A message that the sweep finds may be on its way to a socket, and is acknowledged after this time.
SWEEP_DELAY = timedelta(minutes=1)
#: How long a device whose socket ended may take to return. With the gathering it is woken within 5 seconds.
LEFT_DELAY = timedelta(seconds=4)
#: The same when this process stops and told it to connect again, or every deploy would wake every device.
STOPPED_DELAY = timedelta(seconds=30)
#: Seconds in which a device acknowledges what a long poll returned.
ACKNOWLEDGE_SECONDS = 30.0


class Waker:
    """Wakes devices through the configured providers."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        metrics: PushMetrics,
        providers: Sequence[PushProvider],
        check_presence: CheckPresence = lambda _, on_result: on_result(False),
        *,
        gather_seconds: float = GATHER_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._gather_seconds, self._poll_seconds = gather_seconds, poll_seconds
        self.acknowledge_seconds = ACKNOWLEDGE_SECONDS
        self._has_work = threading.Event()
        self._sender = WakeupSender(providers, check_presence, metrics, self._on_result)
        self._types = [provider.name for provider in providers]
        self._lock = threading.Lock()
        self._results: list[WakeupResult] = []
        self._offline: set[UUID] = set()
        #: Devices that ceased to listen, and whether because this process stops.
        self._left: dict[UUID, bool] = {}
        #: Devices to which a long poll returned messages, and when they should have acknowledged them.
        self._polled: deque[tuple[float, UUID]] = deque()
        #: When wake-ups that this process scheduled are due, by the monotonic clock.
        self._alarms: deque[float] = deque()
        self._stopped = threading.Event()
        self._threads: Sequence[threading.Thread] = ()

    def wake(self, device_ids: Collection[UUID]) -> None:
        """Wake devices that have urgent messages and no listener; never waits."""
        if not self._types:
            return
        with self._lock:
            if len(self._offline) < MAX_GATHERED:
                self._offline.update(device_ids)
        self._has_work.set()

    def on_left(self, device_id: UUID, is_stopping: bool = False) -> None:
        """Wake a device whose socket ended, unless it listens again soon; never waits.

        is_stopping: it was told to connect again, because this process stops.
        """
        if not self._types:
            return
        with self._lock:
            if len(self._left) < MAX_GATHERED:
                self._left[device_id] = is_stopping
        self._has_work.set()

    def on_polled(self, device_id: UUID) -> None:
        """Wake a device unless it acknowledges what a long poll returned; never waits."""
        if self._types and len(self._polled) < MAX_GATHERED:
            self._polled.append((time.monotonic() + self.acknowledge_seconds, device_id))

    def _on_result(self, result: WakeupResult) -> None:
        with self._lock:
            self._results.append(result)
        self._has_work.set()

    def run_once(self) -> None:
        """Record results, write what gathered, and start to send what is due."""
        self._record()
        now = time.monotonic()
        while self._polled and self._polled[0][0] <= now:
            # Not scheduled if it acknowledged everything.
            self.wake([self._polled.popleft()[1]])
        self._schedule_left()
        self._schedule_offline()
        self._send_due()

    def _schedule_left(self) -> None:
        with self._lock:
            left, self._left = self._left, {}
        try:
            while left:
                batch = dict(islice(left.items(), BATCH_SIZE))
                self._schedule_batch_left(batch)
                for device_id in batch:
                    del left[device_id]
        except Exception:
            with self._lock:
                self._left = left | self._left
            raise

    def _schedule_batch_left(self, batch: dict[UUID, bool]) -> None:
        now = self._clock()
        for is_stopping, delay in ((False, LEFT_DELAY), (True, STOPPED_DELAY)):
            # In one order, as mailboxes are, so that no two transactions wait for each other.
            device_ids = sorted(one for one, stops in batch.items() if stops is is_stopping)
            if device_ids:
                self._schedule(device_ids, now + delay, left=True, only_waiting=not is_stopping)
        self._alarms.append(time.monotonic() + LEFT_DELAY.total_seconds())

    def _schedule_offline(self) -> None:
        with self._lock:
            batch = [self._offline.pop() for _ in range(min(BATCH_SIZE, len(self._offline)))]
            if self._offline:
                self._has_work.set()
        if batch:
            try:
                self._schedule(batch, self._clock())
            except Exception:
                self.wake(batch)
                raise

    def _schedule(self, device_ids: Sequence[UUID], at: datetime, **options: bool) -> None:
        with self._database.write() as connection:
            wakeup_queue.schedule(connection, device_ids, self._types, at, **options)

    def _send_due(self) -> None:
        now = self._clock()
        with self._database.read() as connection:
            limits = {
                name: limit
                for name in self._types
                if (limit := self._sender.free_slots(name))
                and wakeup_queue.is_any_due(connection, name, now)
            }
        if not limits:
            return
        with self._database.write() as connection:
            claims = [
                claim
                for name, limit in limits.items()
                for claim in wakeup_queue.claim(connection, name, now, now + CLAIM_DURATION, limit)
            ]
        for claim in claims:
            self._sender.send(claim)

    def _record(self) -> None:
        with self._lock:
            results, self._results = self._results, []
        if not results:
            return
        now = self._clock()
        # In the order of their keys, so that no two transactions wait for each other.
        results.sort(key=lambda result: (result.claim.target.device_id, result.claim.is_webhook))
        gone = [result.claim for result in results if result.outcome == "gone"]
        settlements = [_settlement(result, now) for result in results if result.outcome != "gone"]
        try:
            with self._database.write() as connection:
                if settlements:
                    wakeup_queue.settle(connection, settlements)
                if gone:
                    wakeup_queue.remove(connection, gone)
        except Exception:
            with self._lock:
                self._results += results
            raise
        woken = [one.claim.target.device_id for one in results if one.outcome == "woken"]
        if woken:
            # A woken device may have answered and left again before this was written.
            self._schedule(woken, now + SWEEP_DELAY)

    def sweep(self, after: UUID) -> UUID | None:
        """Schedule wake-ups for the next mailboxes by device; return the last one, or None at the end."""
        with self._database.read() as connection:
            found, last = wakeup_queue.find_waiting(connection, after, SWEEP_BATCH_SIZE)
        for begin in range(0, len(found), BATCH_SIZE):
            self._schedule(found[begin : begin + BATCH_SIZE], self._clock() + SWEEP_DELAY)
        return last

    def drain(self, seconds: float | None = None) -> None:
        """Wait until nothing is in flight, at most so many seconds, and record the results."""
        self._sender.wait_idle(seconds)
        self._record()

    def flush(self, seconds: float) -> None:
        """Schedule what gathered and send nothing more, because this process ends.

        Another process finds what takes longer and what could not be written.
        """
        self._stopped.set()
        self._has_work.set()
        try:
            self._schedule_left()
            self.drain(seconds)
        except Exception as error:
            log.error("push.failed", **log_fields(error))

    def start(self) -> None:
        """Run in background threads, if there is a provider."""
        if self._types:
            self._threads = [
                threading.Thread(target=self._run, name="push", daemon=True),
                threading.Thread(target=self._run_sweep, name="push sweep", daemon=True),
            ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the background threads, and record what ends in time."""
        self._stopped.set()
        self._has_work.set()
        for thread in self._threads:
            thread.join()
        self.drain()
        self._sender.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._has_work.wait(self._seconds_until_due())
            self._stopped.wait(self._gather_seconds)
            self._has_work.clear()
            try:
                self.run_once()
            except Exception as error:
                # The thread must survive any error, or nobody is ever woken again.
                log.error("push.failed", **log_fields(error))
                self._stopped.wait(self._poll_seconds)

    def _seconds_until_due(self) -> float:
        now = time.monotonic()
        while self._alarms and self._alarms[0] <= now:
            self._alarms.popleft()
        return min([self._poll_seconds, *(alarm - now for alarm in islice(self._alarms, 1))])

    def _run_sweep(self) -> None:
        after, pause = UUID(int=0), FIRST_SWEEP_SECONDS
        while not self._stopped.wait(pause):
            try:
                last = self.sweep(after)
                pause = SWEEP_SECONDS if last is None else pause
                after = last or UUID(int=0)
                if pause == SWEEP_SECONDS:
                    self._measure()
            except Exception as error:
                log.error("push.failed", **log_fields(error))
                self._stopped.wait(self._poll_seconds)

    def _measure(self) -> None:
        with self._database.read() as connection:
            due = wakeup_queue.count_due(connection, self._clock())
        for name in self._types:
            self._metrics.due.labels(name).set(due.get(name, 0))


def _settlement(result: WakeupResult, now: datetime) -> Settlement:
    claim = result.claim
    unanswered, failures = claim.wakeups_unanswered, claim.failures
    if result.outcome == "woken":
        return Settlement(claim, next_repeat(unanswered, now), unanswered + 1, 0)
    if result.outcome == "listening":
        return Settlement(claim, next_check(unanswered, failures, now), unanswered, failures)
    return Settlement(claim, next_try(failures, now, result.retry_after), unanswered, failures + 1)
