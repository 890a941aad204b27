"""The bus: carries notifications to other processes over Valkey's channels, one a device with a listener.

The connection is made again whenever it ends; until then notifications are dropped. Valkey holds nothing that
matters, because the mailbox poller finds what was lost. No caller waits for it.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import structlog

from messaging.metrics import MessagingMetrics
from messaging.notifications.notifications import MessageStored, Notification, decode
from messaging.notifications.publish_queue import Publication, PublishQueue
from messaging.notifications.registry import ListenerRegistry
from messaging.notifications.valkey_connection import TIMEOUT_SECONDS, ValkeyConnection, connect

log = structlog.get_logger()

#: Seconds before the first try after a connection ended, and at most between two.
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.2, 5.0
#: After a connection that held for so many seconds, the next try comes soon again.
STABLE_SECONDS = 10.0
#: Seconds between pings.
PING_SECONDS = 1.0
#: Channels or notifications written at once.
BATCH_SIZE = 256

_random = random.SystemRandom()
Item = TypeVar("Item")


@dataclass(eq=False, repr=False)
class ValkeyBus:
    """Runs two background threads (greenlets under gevent): one writes, one reads."""

    url: str
    namespace: str
    registry: ListenerRegistry
    #: Called with each device whose notifications arrive from now on; must not block.
    on_subscribed: Callable[[UUID], None]
    metrics: MessagingMetrics
    ping_seconds: float = PING_SECONDS
    timeout_seconds: float = TIMEOUT_SECONDS
    max_retry_seconds: float = MAX_RETRY_SECONDS
    _queue: PublishQueue = field(default_factory=PublishQueue, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    #: Devices whose listeners changed.
    _changed: set[UUID] = field(default_factory=set, init=False)
    _has_work: threading.Event = field(default_factory=threading.Event, init=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)
    _connection: ValkeyConnection | None = field(default=None, init=False)
    _threads: Sequence[threading.Thread] = field(default=(), init=False)

    def start(self) -> None:
        """Connect and stay connected; wait for a Valkey that is away."""
        self._threads = [
            threading.Thread(target=self._run_reader, name="bus reader", daemon=True),
            threading.Thread(target=self._run_writer, name="bus writer", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Close the connection and end the threads."""
        self._stopped.set()
        self._has_work.set()
        if self._connection is not None:
            self._connection.end()
        for thread in self._threads:
            thread.join()

    def listeners_changed(self, device_id: UUID) -> None:
        """Subscribe to a device while it has a listener here."""
        if self._connection is not None:
            with self._lock:
                self._changed.add(device_id)
            self._has_work.set()

    def publish(self, device_id: UUID, notification: Notification) -> None:
        """Notify other processes; nobody is notified while Valkey is away."""
        self._put(Publication(device_id, notification))

    def check_presence(self, device_id: UUID, on_result: Callable[[bool], None]) -> None:
        """Find out whether a device has a listener elsewhere; it has none while Valkey is away."""
        self._put(Publication(device_id, MessageStored(0, is_urgent=False), on_result))

    def _put(self, publication: Publication) -> None:
        if self._connection is not None and self._queue.put(publication):
            self._has_work.set()
        else:
            self._drop([publication])

    def _drop(self, publications: Sequence[Publication]) -> None:
        self.metrics.valkey_notifications.labels("dropped").inc(len(publications))
        self.registry.report_offline([p.device_id for p in publications if p.is_urgent])
        for publication in publications:
            if publication.on_presence is not None:
                publication.on_presence(False)

    def _run_reader(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            started = time.monotonic()
            error, was_connected = self._connect_and_read()
            failures = 1 if time.monotonic() - started > STABLE_SECONDS else failures + 1
            if self._stopped.is_set():
                return
            if was_connected or failures == 1:
                # Logged once, and not at each try.
                log.warning("bus.lost", error=type(error).__name__)
            # Random, so that not all workers come at once.
            longest = min(MIN_RETRY_SECONDS * 2.0 ** min(failures - 1, 10), self.max_retry_seconds)
            self._stopped.wait(longest * _random.uniform(0.5, 1))

    def _connect_and_read(self) -> tuple[Exception, bool]:
        """Read from one connection until it ends; return the error, and whether it was connected."""
        try:
            connection = ValkeyConnection(
                connect(self.url, self.timeout_seconds),
                f"{self.namespace}:device:",
                self.on_subscribed,
                self._receive,
                self.registry.report_offline,
            )
        except Exception as error:
            return error, False
        with self._lock:
            self._changed = set()
        self._connection = connection
        if self._stopped.is_set():
            connection.end()
        self.metrics.valkey_up.set(1)
        self.metrics.valkey_connections.inc()
        log.info("bus.connected")
        self._has_work.set()
        try:
            connection.run()
        except Exception as error:
            # The thread must survive any error, or there is never another connection.
            return error, True
        finally:
            self._connection = None
            self.metrics.valkey_up.set(0)
            self._drop(connection.end())
            while waiting := self._queue.take(BATCH_SIZE):
                self._drop(waiting)

    def _receive(self, device_id: UUID, data: bytes) -> None:
        notification = decode(data)
        step = "invalid" if notification is None else "received"
        self.metrics.valkey_notifications.labels(step).inc()
        if notification is not None:
            self.registry.handle(device_id, notification)

    def _run_writer(self) -> None:
        """Write to one connection after the other."""
        known: ValkeyConnection | None = None
        subscribed: set[UUID] = set()
        next_ping = 0.0
        while not self._stopped.is_set():
            self._has_work.wait(self.ping_seconds)
            self._has_work.clear()
            connection = self._connection
            if connection is None:
                continue
            with self._lock:
                changed, self._changed = self._changed, set()
            is_new = connection is not known
            if is_new:
                known, subscribed, changed = connection, set(), set(self.registry.slots())
            try:
                self._update_subscriptions(connection, changed, subscribed, is_new=is_new)
                while publications := self._queue.take(BATCH_SIZE):
                    self._publish(connection, publications)
                if time.monotonic() >= next_ping:
                    connection.ping()
                    next_ping = time.monotonic() + self.ping_seconds
            except Exception:
                # The reader finds out why, and logs it.
                self._drop(connection.end())

    def _update_subscriptions(
        self,
        connection: ValkeyConnection,
        changed: set[UUID],
        subscribed: set[UUID],
        *,
        is_new: bool,
    ) -> None:
        """Subscribe to the devices that have listeners and to no others; publish new listeners."""
        slots = {device_id: self.registry.slots_of(device_id) for device_id in changed}
        present = {device_id for device_id, found in slots.items() if found}
        for batch in _batches(list(present - subscribed)):
            connection.subscribe(batch)
        for batch in _batches(list((changed - present) & subscribed)):
            connection.unsubscribe(batch)
        subscribed -= changed
        subscribed |= present
        registrations = []
        for device_id, found in slots.items():
            for slot in found:
                # Published once a connection: the one published later counts as newer.
                if is_new or not slot.is_published:
                    slot.is_published = True
                    registration = slot.registration(is_repeat=is_new)
                    registrations.append(Publication(device_id, registration))
        for publications in _batches(registrations):
            self._publish(connection, publications)

    def _publish(self, connection: ValkeyConnection, publications: Sequence[Publication]) -> None:
        self.metrics.valkey_notifications.labels("published").inc(len(publications))
        connection.publish(publications)
        # Requests are answered between two batches.
        time.sleep(0)


def _batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for begin in range(0, len(items), BATCH_SIZE):
        yield items[begin : begin + BATCH_SIZE]
