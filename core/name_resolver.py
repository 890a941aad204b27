"""Concurrent name resolution with bounds: a stranger's name server may be slow on purpose.

Names that resolved fast the last time have slots of their own, so slow names never delay them. A name is
resolved once at a time, and nobody waits for it longer than PATIENCE_SECONDS.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

#: Gives the addresses of a host, as text; raises OSError when it has none.
Resolve = Callable[[str], Sequence[str]]

#: Names resolved at once: names known to be fast, and all others. gevent has ten threads for this and for
#: SQLite's commits.
QUICK_TURNS, OTHER_TURNS = 2, 2
#: Seconds within which a fast name resolves, and that a caller waits for any name, its slot included.
QUICK_SECONDS, PATIENCE_SECONDS = 1.0, 5.0
#: Fast names that are remembered.
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
        """Return the addresses of a name; raises OSError if it has none or takes too long."""
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
            # `found` stays None: the name has no address.
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
