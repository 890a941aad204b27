"""Retries that arrive under an idempotency key while the first request is still running."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from core.database import Database, confirm
from core.idempotency import ABANDONED_AFTER, FirstRequest, IdempotencyKey, look_up
from core.problems import IdempotencyInProgress

#: How long a retry waits for the first request's answer.
WAIT_SECONDS = 15.0
#: First and longest pause between two polls.
FIRST_LOOK_SECONDS, MAX_LOOK_SECONDS = 0.05, 1.0


class IdempotentRetries:
    """Lets retries wait until the first request with their key is answered.

    A first request in this process wakes them, and they read the table once. If it runs in another process,
    one of the retries polls the table for all of them, at most once a second.
    """

    def __init__(
        self, database: Database, clock: Callable[[], datetime], patience: float = WAIT_SECONDS
    ) -> None:
        self._database = database
        self._clock = clock
        self._patience = patience
        #: By key: set when the first request, or the retry that polls for it, has ended.
        self._awaited: dict[tuple[bytes, bytes], threading.Event] = {}

    @contextmanager
    def wake(self, key: IdempotencyKey | None) -> Iterator[None]:
        """Run the first request of a key inside; its retries wake at the end, however it ends."""
        if key is None:
            yield
            return
        name, ended = (key.owner, key.key), threading.Event()
        self._awaited[name] = ended
        try:
            yield
        finally:
            if self._awaited.get(name) is ended:
                del self._awaited[name]
            ended.set()

    def wait(self, key: IdempotencyKey, earlier: FirstRequest) -> FirstRequest | None:
        """Wait until the first request is answered; return None if it was released.

        A request that was ended by a crash is returned without an answer: its subject tells the outcome.
        Raises IdempotencyInProgress if the first request takes too long.
        """
        found = self._wait(key, earlier, time.monotonic() + self._patience)
        if found is not None and found is not earlier:
            # A read may see what no standby has yet; answer only when a failover cannot undo it.
            with self._database.write() as connection:
                confirm(connection)
        return found

    def _wait(
        self, key: IdempotencyKey, earlier: FirstRequest, deadline: float
    ) -> FirstRequest | None:
        found: FirstRequest | None = earlier
        while found is not None and not self._is_over(found):
            awaited = self._awaited.get((key.owner, key.key))
            if awaited is None:
                with self.wake(key):
                    return self._look(key, found, deadline)
            awaited.wait(self._left(deadline))
            found = self._found(key)
        return found

    def _look(
        self, key: IdempotencyKey, earlier: FirstRequest, deadline: float
    ) -> FirstRequest | None:
        """Poll until the first request, which runs in another process, is over."""
        found: FirstRequest | None = earlier
        pause = FIRST_LOOK_SECONDS
        while found is not None and not self._is_over(found):
            time.sleep(min(pause, self._left(deadline)))
            pause = min(2 * pause, MAX_LOOK_SECONDS)
            found = self._found(key)
        return found

    def _is_over(self, found: FirstRequest) -> bool:
        return found.answer is not None or self._clock() - found.created_at >= ABANDONED_AFTER

    def _found(self, key: IdempotencyKey) -> FirstRequest | None:
        with self._database.read() as connection:
            return look_up(connection, key)

    @staticmethod
    def _left(deadline: float) -> float:
        left = deadline - time.monotonic()
        if left <= 0:
            raise IdempotencyInProgress(
                "Ask again with the same key for its answer.", retry_after=2
            )
        return left
