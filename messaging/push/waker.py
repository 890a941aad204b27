"""Wakes devices beside the server: marks, claims, sends outside any transaction, records what came of it.

Owns the thread (a greenlet under gevent), how many requests are under way, and the walk that finds what
a process which was killed between a commit and the mark did not mark. What must be true is in
`push_subscriptions` alone; several processes share the work.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import NamedTuple
from uuid import UUID

import structlog

from core.database import Database
from core.database_errors import told
from core.metrics import Metrics
from messaging.push import schedule
from messaging.push import wakeup_queue as due
from messaging.push.provider import Failed, Gone, PushProvider
from messaging.push.wakeup_queue import Claim

log = structlog.get_logger()

#: Requests under way at a provider; one that hangs holds up no other provider.
SLOTS = 64
#: Longer than any request takes.
CLAIM = timedelta(minutes=2)
#: Seconds in which wake-ups gather before they are written together.
GATHER = 0.2
#: Seconds between looks at what others left, and at what is to be repeated.
POLL = 5.0
#: Devices that may gather; beyond them the walk finds them.
MAX_UNHEARD = 100_000
#: Mailboxes looked at in one step of the walk, and seconds between two steps; a process begins with a
#: whole walk, since marks are lost only where one died.
STEP, WALK, FIRST_WALK = 5000, 60.0, 0.05
#: What the walk finds may be on its way to a socket, and is acknowledged by then.
GRACE = timedelta(minutes=1)
#: How long a device is waited for whose socket ended; with what gathers before and after, within 5 seconds.
AWAY = timedelta(seconds=4)
#: The same when this process told it to connect again, because it stops: or every deploy woke everybody.
STOPPED = timedelta(seconds=30)
#: Seconds in which a device acknowledges what a long poll gave it.
POLLED = 30.0

#: Finds out whether a device listens anywhere, and calls back; must not wait.
Ask = Callable[[UUID, Callable[[bool], None]], None]


class _Outcome(NamedTuple):
    claim: Claim
    #: woken, gone, listening, or the outcome of a `Failed`.
    came_to: str
    retry_after: int | None = None


class Waker:
    """Has devices woken by the providers that there are."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        metrics: Metrics,
        providers: Sequence[PushProvider],
        ask: Ask = lambda _, heard: heard(False),
    ) -> None:
        self._ask = ask
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._providers = {provider.name: provider for provider in providers}
        self._lock = threading.Lock()
        self._unheard: set[UUID] = set()
        #: Devices that ceased to listen, and whether because this process stops.
        self._left: dict[UUID, bool] = {}
        #: Devices that were given something by a poll, and when they should have acknowledged it.
        self._polled: deque[tuple[float, UUID]] = deque()
        #: When marks of this process are due, by the monotonic clock.
        self._alarms: deque[float] = deque()
        self._outcomes: list[_Outcome] = []
        self._under_way: Counter[str] = Counter()
        self._news = threading.Event()
        self._idle = threading.Condition(self._lock)
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(SLOTS * len(providers) or 1, "waker")

    def wake(self, device_ids: Collection[UUID]) -> None:
        """Have devices woken for which urgent messages wait and nobody listens; never waits."""
        if not self._providers:
            return
        with self._lock:
            if len(self._unheard) < MAX_UNHEARD:
                self._unheard.update(device_ids)
        self._news.set()

    def leave(self, device_id: UUID, *, stopping: bool = False) -> None:
        """Have a device woken if it does not listen again soon, because its socket ended; never waits.

        stopping: it was told to connect again, because this process stops.
        """
        if not self._providers:
            return
        with self._lock:
            if len(self._left) < MAX_UNHEARD:
                self._left[device_id] = stopping
        self._news.set()

    def polled(self, device_id: UUID) -> None:
        """Have a device woken if it does not acknowledge what a long poll gave it; never waits."""
        if self._providers and len(self._polled) < MAX_UNHEARD:
            self._polled.append((time.monotonic() + POLLED, device_id))

    def turn(self) -> None:
        """Write down what there is, and begin to send for what is due."""
        self._record()
        self._take_polled()
        self._mark_left()
        self._mark()
        now = self._clock()
        free = {name: SLOTS - self._under_way[name] for name in self._providers}
        with self._database.read() as connection:
            names = [name for name in free if free[name] and due.is_any(connection, name, now)]
        if not names:
            return
        with self._database.write() as connection:
            claims = [
                claim
                for name in names
                for claim in due.claim(connection, name, now, now + CLAIM, free[name])
            ]
        for claim in claims:
            with self._lock:
                self._under_way[claim.type] += 1
            # Asked only now: whoever left when it was marked may be back, at another worker too.
            self._ask(claim.target.device_id, partial(self._heard, claim))

    def _heard(self, claim: Claim, listens: bool) -> None:
        """Send for a device that does not listen; must not wait."""
        if listens:
            self._finish(_Outcome(claim, "listening"))
        else:
            self._pool.submit(self._send, claim)

    def _take_polled(self) -> None:
        """Have those woken who should have acknowledged by now; what was acknowledged is not marked."""
        now = time.monotonic()
        while self._polled and self._polled[0][0] <= now:
            self.wake([self._polled.popleft()[1]])

    def _mark_left(self) -> None:
        with self._lock:
            left, self._left = self._left, {}
        try:
            while left:
                self._mark_some_left(left)
        except Exception:
            with self._lock:
                self._left = left | self._left
            raise

    def _mark_some_left(self, left: dict[UUID, bool]) -> None:
        """Mark a batch of those who left, and take it out."""
        batch = dict(islice(left.items(), due.BATCH))
        now = self._clock()
        with self._database.write() as connection:
            for stopping, delay in ((False, AWAY), (True, STOPPED)):
                # In one order, as mailboxes are, so that no two transactions wait for each other.
                devices = sorted(device for device, stops in batch.items() if stops is stopping)
                if devices:
                    due.mark_left(
                        connection, devices, self._providers, now + delay, waiting=not stopping
                    )
        for device_id in batch:
            del left[device_id]
        self._alarms.append(time.monotonic() + AWAY.total_seconds())

    def _mark(self) -> None:
        with self._lock:
            batch = [self._unheard.pop() for _ in range(min(due.BATCH, len(self._unheard)))]
            if self._unheard:
                self._news.set()
        if batch:
            try:
                self._mark_at(batch, self._clock())
            except Exception:
                self.wake(batch)
                raise

    def _mark_at(self, device_ids: Sequence[UUID], at: datetime) -> None:
        with self._database.write() as connection:
            due.mark(connection, device_ids, self._providers, at)

    def _send(self, claim: Claim) -> None:
        outcome = self._outcome(claim)
        self._metrics.pushes.labels(claim.type, outcome.came_to).inc()
        self._finish(outcome)

    def _finish(self, outcome: _Outcome) -> None:
        with self._lock:
            self._under_way[outcome.claim.type] -= 1
            self._outcomes.append(outcome)
            self._idle.notify_all()
        self._news.set()

    def _outcome(self, claim: Claim) -> _Outcome:
        try:
            self._providers[claim.type].wake(claim.target)
        except Gone:
            return _Outcome(claim, "gone")
        except Failed as failed:
            return _Outcome(claim, failed.outcome, failed.retry_after)
        except Exception as error:
            # Without its message or traceback: they may hold the endpoint.
            log.error("push.unexpected", provider=claim.type, error=type(error).__name__)
            return _Outcome(claim, "unknown")
        return _Outcome(claim, "woken")

    def _record(self) -> None:
        with self._lock:
            outcomes, self._outcomes = self._outcomes, []
        if not outcomes:
            return
        now = self._clock()
        # In the order of their keys, so that no two transactions wait for each other.
        outcomes.sort(
            key=lambda outcome: (outcome.claim.target.device_id, outcome.claim.is_webhook)
        )
        gone = [outcome.claim for outcome in outcomes if outcome.came_to == "gone"]
        listening = [outcome.claim for outcome in outcomes if outcome.came_to == "listening"]
        settled = [
            _settled(outcome, now)
            for outcome in outcomes
            if outcome.came_to not in ("gone", "listening")
        ]
        try:
            with self._database.write() as connection:
                if listening:
                    due.release(
                        connection,
                        [
                            (claim, schedule.next_look(claim.woken, claim.failures, now))
                            for claim in listening
                        ],
                    )
                if settled:
                    due.settle(connection, settled)
                if gone:
                    due.drop(connection, gone)
        except Exception:
            with self._lock:
                self._outcomes += outcomes
            raise
        woken = [claim.target.device_id for claim, _, was_woken in settled if was_woken]
        if woken:
            # Who was woken may have answered and gone again before this was written.
            self._mark_at(woken, now + GRACE)

    def walk(self, after: UUID) -> UUID | None:
        """Make a step through the mailboxes after one, and mark those that nobody marked; give the last."""
        with self._database.read() as connection:
            found, last = due.waiting(connection, after, STEP)
        for begin in range(0, len(found), due.BATCH):
            self._mark_at(found[begin : begin + due.BATCH], self._clock() + GRACE)
        return last

    def drain(self, seconds: float | None = None) -> None:
        """Wait until nothing is under way, or for so long, and record what came of it."""
        with self._lock:
            self._idle.wait_for(lambda: not self._under_way.total(), seconds)
        self._record()

    def flush(self, seconds: float) -> None:
        """Write down who left, and begin nothing more, because this process ends.

        What is under way for longer, and what is not written down, is for another process to find.
        """
        self._stopped.set()
        self._news.set()
        try:
            self._mark_left()
            self.drain(seconds)
        except Exception as error:
            log.error("push.failed", **told(error))

    def start(self) -> None:
        """Run in background threads, if there is a provider."""
        if not self._providers:
            return
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for name, run in (("push", self._run), ("push walk", self._run_walk))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the background threads; what is under way is recorded if it ends in time."""
        self._stopped.set()
        self._news.set()
        for thread in self._threads:
            thread.join()
        self.drain()
        self._pool.shutdown()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._news.wait(self._pause())
            self._stopped.wait(GATHER)
            self._news.clear()
            try:
                self.turn()
            except Exception as error:
                # The thread must outlive whatever it was, or nobody is ever woken again.
                log.error("push.failed", **told(error))
                self._stopped.wait(POLL)

    def _pause(self) -> float:
        """Say how many seconds there is nothing to do, if nothing comes."""
        now = time.monotonic()
        while self._alarms and self._alarms[0] <= now:
            self._alarms.popleft()
        return min(POLL, self._alarms[0] - now) if self._alarms else POLL

    def _run_walk(self) -> None:
        after, pause = UUID(int=0), FIRST_WALK
        while not self._stopped.wait(pause):
            try:
                last = self.walk(after)
                pause = WALK if last is None else pause
                after = last or UUID(int=0)
                if pause == WALK:
                    self._measure()
            except Exception as error:
                log.error("push.failed", **told(error))
                self._stopped.wait(POLL)

    def _measure(self) -> None:
        with self._database.read() as connection:
            waiting = due.count(connection, self._clock())
        for name in self._providers:
            self._metrics.pushes_due.labels(name).set(waiting.get(name, 0))


def _settled(outcome: _Outcome, now: datetime) -> tuple[Claim, datetime | None, bool]:
    if outcome.came_to == "woken":
        return outcome.claim, schedule.next_repeat(outcome.claim.woken, now), True
    due_at = schedule.next_try(outcome.claim.failures, now, outcome.retry_after)
    return outcome.claim, due_at, False
