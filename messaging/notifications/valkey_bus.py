"""The bus: hints go to other workers through Valkey's channels, one a device somebody listens for.

Owns the connection to Valkey: it is made again whenever it ends, and until then hints are let go. Valkey
holds nothing that matters: what it lost, the slow poll finds (`net.py`). Refuses to let anybody wait for it.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from uuid import UUID

import structlog

from core.metrics import Metrics
from messaging.notifications.listeners import ListenerRegistry
from messaging.notifications.notifications import Hint, Stored, decode
from messaging.notifications.publish_queue import Publication, PublishQueue
from messaging.notifications.valkey_connection import ValkeyConnection, open_line

log = structlog.get_logger()

#: Seconds before the first try after a connection ended, and the most between two.
FIRST_RETRY, MAX_RETRY = 0.2, 5.0
#: A connection that held for so many seconds was a good one: the next try comes soon again.
STEADY_SECONDS = 10.0
#: Seconds between pings.
PING_SECONDS = 1.0
#: Channels or hints written at once.
BATCH = 256

_CHANCE = random.SystemRandom()
Thing = TypeVar("Thing")


class ValkeyBus:
    """Carries hints, in two background threads (greenlets under gevent): one writes, one reads."""

    def __init__(
        self,
        url: str,
        namespace: str,
        wakeups: ListenerRegistry,
        joined: Callable[[UUID], None],
        metrics: Metrics,
    ) -> None:
        """Prepare; nothing is connected before `start`.

        joined: told of devices about which everything is heard from now on.
        """
        self._url = url
        self._namespace = namespace
        self._wakeups = wakeups
        self._joined = joined
        self._metrics = metrics
        self._publications = PublishQueue()
        self._lock = threading.Lock()
        self._changed: set[UUID] = set()
        self._something = threading.Event()
        self._line: ValkeyConnection | None = None
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep, name="bus", daemon=True),
            threading.Thread(target=self._write_for_ever, name="bus writer", daemon=True),
        ]

    def start(self) -> None:
        """Connect, and stay connected; a Valkey that is away is waited for."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the connection go, and make no other."""
        self._stopped.set()
        self._something.set()
        if self._line is not None:
            self._line.end()
        for thread in self._threads:
            thread.join()

    def listening_changed(self, device_id: UUID) -> None:
        """Hear hints for a device as long as somebody listens for it here."""
        if self._line is not None:
            with self._lock:
                self._changed.add(device_id)
            self._something.set()

    def publish(self, device_id: UUID, hint: Hint) -> None:
        """Tell other workers; while Valkey is away nobody hears it."""
        self._put(Publication(device_id, hint))

    def ask(self, device_id: UUID, heard: Callable[[bool], None]) -> None:
        """Ask whether somebody listens for a device at another worker; while Valkey is away nobody does."""
        self._put(Publication(device_id, Stored(0, urgent=False), heard))

    def _put(self, publication: Publication) -> None:
        if self._line is not None and self._publications.put(publication):
            self._something.set()
        else:
            self._let_go([publication])

    def _let_go(self, publications: Sequence[Publication]) -> None:
        self._metrics.bus_hints.labels("dropped").inc(len(publications))
        self._wakeups.tell_unheard([p.device_id for p in publications if p.is_urgent])
        for publication in publications:
            if publication.heard is not None:
                publication.heard(False)

    def _keep(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            started = time.monotonic()
            error, held = self._hold()
            failures = 1 if time.monotonic() - started > STEADY_SECONDS else failures + 1
            if self._stopped.is_set():
                return
            if held or failures == 1:
                # Said once, and not at each try.
                log.warning("bus.lost", error=type(error).__name__)
            # Apart by chance, so that not all workers come at once.
            longest = min(FIRST_RETRY * 2.0 ** min(failures - 1, 10), MAX_RETRY)
            self._stopped.wait(longest * _CHANCE.uniform(0.5, 1))

    def _hold(self) -> tuple[Exception, bool]:
        """Make one connection and read until it ends; give why, and whether there was one."""
        try:
            connection = open_line(self._url)
        except Exception as error:
            return error, False
        line = ValkeyConnection(
            connection, self._namespace, self._joined, self._receive, self._wakeups.tell_unheard
        )
        with self._lock:
            self._changed = set()
        self._line = line
        if self._stopped.is_set():
            line.end()
        self._metrics.bus_up.set(1)
        self._metrics.bus_connections.inc()
        log.info("bus.connected")
        self._something.set()
        try:
            return self._read(line), True
        finally:
            self._line = None
            self._metrics.bus_up.set(0)
            self._let_go(line.end())
            while left := self._publications.take(BATCH):
                self._let_go(left)

    def _read(self, line: ValkeyConnection) -> Exception:
        try:
            line.run()
        except Exception as error:
            # The thread must outlive whatever it was, or there is never another connection.
            return error

    def _receive(self, device_id: UUID, data: bytes) -> None:
        hint = decode(data)
        self._metrics.bus_hints.labels("garbage" if hint is None else "received").inc()
        if hint is not None:
            self._wakeups.hear(device_id, hint)

    def _write_for_ever(self) -> None:
        """Write for one connection after the other."""
        known: ValkeyConnection | None = None
        subscribed: set[UUID] = set()
        next_ping = 0.0
        while not self._stopped.is_set():
            self._something.wait(PING_SECONDS)
            self._something.clear()
            line = self._line
            if line is None:
                continue
            changed, again = self._take_changed(), line is not known
            if again:
                known, subscribed, changed = line, set(), set(self._wakeups.seats())
            try:
                self._follow(line, changed, subscribed, again=again)
                while publications := self._publications.take(BATCH):
                    self._publish(line, publications)
                if time.monotonic() >= next_ping:
                    line.ping()
                    next_ping = time.monotonic() + PING_SECONDS
            except Exception:
                # Why, the reader finds out and says.
                self._let_go(line.end())

    def _take_changed(self) -> set[UUID]:
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    def _follow(
        self, line: ValkeyConnection, changed: set[UUID], subscribed: set[UUID], *, again: bool
    ) -> None:
        """Subscribe to the channels of who is listened for, and to no others; say who came."""
        seats = {device_id: self._wakeups.seats_of(device_id) for device_id in changed}
        here = {device_id for device_id, found in seats.items() if found}
        for batch in _batches(list(here - subscribed)):
            line.subscribe(batch)
        for batch in _batches(list((changed - here) & subscribed)):
            line.unsubscribe(batch)
        subscribed -= changed
        subscribed |= here
        arrivals = []
        for device_id, found in seats.items():
            for seat in found:
                # Said once a connection: who is announced later is taken for newer.
                if again or not seat.sent:
                    seat.sent = True
                    arrivals.append(Publication(device_id, seat.arrival(again=again)))
        for arrived in _batches(arrivals):
            self._publish(line, arrived)

    def _publish(self, line: ValkeyConnection, publications: Sequence[Publication]) -> None:
        self._metrics.bus_hints.labels("published").inc(len(publications))
        line.publish(publications)
        # Requests are answered between two batches.
        time.sleep(0)


def _batches(things: Sequence[Thing]) -> Iterator[Sequence[Thing]]:
    for begin in range(0, len(things), BATCH):
        yield things[begin : begin + BATCH]
