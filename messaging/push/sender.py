"""Sends claimed wake-ups through their providers, in a bounded pool of threads."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple
from uuid import UUID

import structlog

from messaging.push.metrics import PushMetrics
from messaging.push.provider import PushProvider, SubscriptionGone, WakeupFailed
from messaging.push.wakeup_queue import WakeupClaim

log = structlog.get_logger()

#: Requests in flight at a provider; one that hangs does not delay the others.
MAX_IN_FLIGHT = 64

#: Finds out whether a device listens anywhere, and calls back; must not block.
CheckPresence = Callable[[UUID, Callable[[bool], None]], None]


class WakeupResult(NamedTuple):
    """The result of a claim."""

    claim: WakeupClaim
    #: woken, gone, listening, or the outcome of a `WakeupFailed`.
    outcome: str
    retry_after: int | None = None


class WakeupSender:
    """Sends outside any transaction, and only to devices that do not listen."""

    def __init__(
        self,
        providers: Sequence[PushProvider],
        check_presence: CheckPresence,
        metrics: PushMetrics,
        on_result: Callable[[WakeupResult], None],
    ) -> None:
        """Prepare; on_result is called with each result and must not block."""
        self.providers = {provider.name: provider for provider in providers}
        self._check_presence = check_presence
        self._metrics = metrics
        self._on_result = on_result
        self._idle = threading.Condition()
        self._in_flight: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(MAX_IN_FLIGHT * len(providers) or 1, "wakeup sender")

    def free_slots(self, type: str) -> int:
        """Return how many more wake-ups of a type may be in flight."""
        return MAX_IN_FLIGHT - self._in_flight[type]

    def send(self, claim: WakeupClaim) -> None:
        """Wake a device unless it listens; never waits."""
        with self._idle:
            self._in_flight[claim.type] += 1
        # Checked only now: a device that left when it was scheduled may be back, at another worker too.
        self._check_presence(claim.target.device_id, partial(self._on_presence, claim))

    def _on_presence(self, claim: WakeupClaim, listens: bool) -> None:
        if listens:
            self._finish(WakeupResult(claim, "listening"))
        else:
            self._pool.submit(self._request, claim)

    def _request(self, claim: WakeupClaim) -> None:
        outcome, retry_after = "woken", None
        try:
            self.providers[claim.type].wake(claim.target)
        except SubscriptionGone:
            outcome = "gone"
        except WakeupFailed as failed:
            outcome, retry_after = failed.outcome, failed.retry_after
        except Exception as error:
            # Without its message or traceback: they may hold the endpoint.
            log.error("push.unexpected", provider=claim.type, error=type(error).__name__)
            outcome = "unknown"
        self._metrics.wakeups.labels(claim.type, outcome).inc()
        self._finish(WakeupResult(claim, outcome, retry_after))

    def _finish(self, result: WakeupResult) -> None:
        self._on_result(result)
        with self._idle:
            self._in_flight[result.claim.type] -= 1
            self._idle.notify_all()

    def wait_idle(self, seconds: float | None) -> None:
        """Wait until nothing is in flight, at most so many seconds."""
        with self._idle:
            self._idle.wait_for(lambda: not self._in_flight.total(), seconds)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
