"""Names resolved side by side, within bounds: strangers name hosts whose name servers may be slow on purpose.

A name that was answered quickly the last time has turns of its own, so however many slow names there are, the
well-known ones never wait behind them. A name is asked for once at a time, and nobody waits for it for long.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

#: Gives the addresses of a host, as text; raises OSError when it has none.
Resolve = Callable[[str], Sequence[str]]

#: Names resolved at once: those that are known to be quick, and all others. gevent has ten threads for that
#: and for SQLite's commits.
QUICK_TURNS, OTHER_TURNS = 2, 2
#: Seconds in which a quick name is answered, and that anybody waits for any name, its turn included.
QUICK_SECONDS, PATIENCE_SECONDS = 1.0, 5.0
#: Quick names that are remembered.
MAX_REMEMBERED = 10_000


class _Lookup:
    """A name that is being resolved."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.done = threading.Event()
        self.found: Sequence[str] | None = None


class NameResolver:
    """Resolves names for many threads."""

    def __init__(self, resolve: Resolve, patience: float = PATIENCE_SECONDS) -> None:
        self._resolve = resolve
        self._patience = patience
        self._lock = threading.Lock()
        self._under_way: dict[str, _Lookup] = {}
        self._quick: OrderedDict[str, None] = OrderedDict()
        self._quick_turns = threading.BoundedSemaphore(QUICK_TURNS)
        self._other_turns = threading.BoundedSemaphore(OTHER_TURNS)

    def addresses(self, host: str) -> Sequence[str]:
        """Give the addresses of a name; raises OSError when it has none, or they take too long."""
        now = time.monotonic()
        with self._lock:
            lookup = self._under_way.get(host)
            begins = lookup is None
            if lookup is None:
                lookup = self._under_way[host] = _Lookup(now)
        if begins:
            threading.Thread(
                target=self._run, args=(host, lookup), name="name lookup", daemon=True
            ).start()
        if not lookup.done.wait(max(lookup.began + self._patience - now, 0)):
            raise OSError("the name takes too long")
        if lookup.found is None:
            raise OSError("the name has no address")
        return lookup.found

    def _run(self, host: str, lookup: _Lookup) -> None:
        turns = self._quick_turns if host in self._quick else self._other_turns
        quick = False
        try:
            if turns.acquire(timeout=self._patience):
                try:
                    began = time.monotonic()
                    lookup.found = self._resolve(host)
                    quick = time.monotonic() - began <= QUICK_SECONDS
                finally:
                    turns.release()
        except (OSError, ValueError):
            # It has none, which is told by there being none.
            lookup.found = None
        finally:
            with self._lock:
                del self._under_way[host]
                self._quick.pop(host, None)
                if quick:
                    self._quick[host] = None
                if len(self._quick) > MAX_REMEMBERED:
                    self._quick.popitem(last=False)
            lookup.done.set()
