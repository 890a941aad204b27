"""How often a device may signal, whatever sockets it has one after the other."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import UUID

from messaging.stream.problems import TooManySignals
from messaging.stream.signals import (
    MAX_BURST,
    MAX_PER_SECOND,
    MIN_PURGED_BUCKETS,
    SignalRateLimiter,
)


class _Standing:
    """A clock of which a test says how late it is."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Give the time in seconds."""
        return self.now


def _take(limit: SignalRateLimiter, device: UUID, tries: int) -> int:
    """Send signals; give how many were allowed."""
    allowed = 0
    for _ in range(tries):
        with suppress(TooManySignals):
            limit.take(device)
            allowed += 1
    return allowed


def test_the_limit_of_signals_is_exact_and_forgets() -> None:
    """A burst, and then as many as time passes; of devices that are quiet nothing is kept."""
    clock = _Standing()
    limit = SignalRateLimiter(clock)
    device, other = UUID(int=1), UUID(int=2)
    assert _take(limit, device, MAX_BURST + 5) == MAX_BURST
    assert _take(limit, other, 1) == 1
    clock.now += 0.5
    assert _take(limit, device, MAX_BURST) == MAX_PER_SECOND // 2
    clock.now += 60
    assert _take(limit, device, MAX_BURST + 5) == MAX_BURST
    for n in range(10 * MIN_PURGED_BUCKETS):
        clock.now += 1
        assert _take(limit, UUID(int=10 + n), 1) == 1
    assert len(limit._full_at) <= MIN_PURGED_BUCKETS
    with ThreadPoolExecutor(8) as pool:
        taken = pool.map(lambda _: _take(limit, device, 20), range(8))
    assert sum(taken) == MAX_BURST
