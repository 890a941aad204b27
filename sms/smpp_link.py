"""The bind that is kept alive: made when first needed, made again whenever it ends.

Owns when the SMSC is called. Refuses to hold up a send for an SMSC that is known to be away: until the
next try it fails at once, and another provider can have it.
"""

import math
import random
import threading
import time
from collections.abc import Callable

import structlog

from sms.metrics import SmsMetrics
from sms.provider import SendFailure, Unavailable
from sms.smpp_connection import SmppConnection, SmppTimeouts

log = structlog.get_logger()

#: A bind that held for so many seconds was a good one: the next try comes soon again.
STABLE_SECONDS = 60
#: Growth of the waits, bounded so that years of an SMSC that is away do not make it overflow.
MAX_DOUBLINGS = 30

_CHANCE = random.SystemRandom()


class SmppLink:
    """Keeps one bind in a background thread (a greenlet under gevent)."""

    def __init__(
        self, bind: Callable[[], SmppConnection], times: SmppTimeouts, metrics: SmsMetrics
    ) -> None:
        self._bind = bind
        self._times = times
        self._metrics = metrics
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._connection: SmppConnection | None = None
        #: Why the last bind failed or ended, while the next is waited for.
        self._fault: str | None = None
        self._next_try = 0.0
        self._closing = threading.Event()

    def connection(self, seconds: float) -> SmppConnection:
        """Give the bind, or wait at most `seconds` for the one being made; raises Unavailable."""
        with self._changed:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._keep, name="smpp", daemon=True)
                self._thread.start()
            self._changed.wait_for(lambda: self._connection or self._fault, seconds)
            if self._connection:
                return self._connection
            if self._fault is None:
                raise Unavailable("bind-timeout")
            left = math.ceil(self._next_try - time.monotonic())
            raise Unavailable(self._fault, retry_after=max(1, left))

    def close(self) -> None:
        """Unbind, and bind no more."""
        self._closing.set()
        with self._changed:
            connection, thread = self._connection, self._thread
            self._fault = self._fault or "closed"
            self._changed.notify_all()
        if connection:
            connection.unbind()
        if thread:
            thread.join()

    def _keep(self) -> None:
        failures = 0
        while not self._closing.is_set():
            self._become(None, None)
            started = time.monotonic()
            fault = self._hold()
            failures = 1 if time.monotonic() - started > STABLE_SECONDS else failures + 1
            seconds = self._pause(failures)
            self._next_try = time.monotonic() + seconds
            self._become(None, fault)
            if not self._closing.is_set():
                log.warning("smpp.lost", error_code=fault, retry_in=round(seconds, 2))
            self._closing.wait(seconds)

    def _hold(self) -> str:
        """Make one bind and serve it until it ends; say why it did."""
        try:
            connection = self._bind()
        except SendFailure as fault:
            return fault.error_code or "bind-failed"
        except Exception as error:
            # The thread must outlive whatever it was, or there is never another bind.
            log.error("smpp.unexpected", error=type(error).__name__)
            return "bind-failed"
        log.info("smpp.bound")
        self._become(connection, None)
        if self._closing.is_set():
            connection.end("closed")
        self._metrics.smpp_bound.set(1)
        try:
            return connection.run()
        except Exception as error:
            log.error("smpp.unexpected", error=type(error).__name__)
            return "connection-lost"
        finally:
            self._metrics.smpp_bound.set(0)

    def _pause(self, failures: int) -> float:
        """Wait twice as long after each failure, less a part by chance that keeps workers apart."""
        doubled = self._times.first_retry * 2.0 ** min(failures - 1, MAX_DOUBLINGS)
        return min(doubled, self._times.longest_retry) * _CHANCE.uniform(0.5, 1)

    def _become(self, connection: SmppConnection | None, fault: str | None) -> None:
        with self._changed:
            self._connection, self._fault = connection, fault
            self._changed.notify_all()
