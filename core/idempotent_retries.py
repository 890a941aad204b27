"""Repeats: requests that came again under their idempotency key while the first one is still running."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from core.database import Database, confirm
from core.idempotency import ABANDONED_AFTER, FirstRequest, IdempotencyKey, look_up
from core.problems import IdempotencyInProgress

#: How long a repeated request waits for the first one's answer.
WAIT_SECONDS = 15.0
#: How soon one of them looks for an answer of another process, and how seldom at last.
FIRST_LOOK_SECONDS, MAX_LOOK_SECONDS = 0.05, 1.0


class IdempotentRetries:
    """Has repeated requests wait until the first one under their key is answered.

    Where that one runs in this process, it wakes them; they look at the table once. Where it runs in another,
    one of them looks, at most once a second, for all that wait here.
    """

    def __init__(
        self, database: Database, clock: Callable[[], datetime], patience: float = WAIT_SECONDS
    ) -> None:
        self._database = database
        self._clock = clock
        self._patience = patience
        #: By key: whoever will know first how the first request ended, and is waited for.
        self._awaited: dict[tuple[bytes, bytes], threading.Event] = {}

    @contextmanager
    def wake(self, key: IdempotencyKey | None) -> Iterator[None]:
        """Answer the first request of a key within; its repeats are woken at the end, however it ends."""
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
        """Wait until the first request is answered; None when it was released.

        One that was cut off by a crash is given without an answer, for its subject tells what became of
        it. Raises IdempotencyInProgress when the first request takes too long.
        """
        found = self._wait(key, earlier, time.monotonic() + self._patience)
        if found is not None and found is not earlier:
            # A read may see what no standby has yet; the answer is given once that is known to stay.
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
        """Look until the first request, which another process runs, is over."""
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
