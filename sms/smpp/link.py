"""Keeps a bind to the SMSC: created on first use and again whenever it ends.

While the SMSC is unavailable, sends fail at once until the next attempt, so another provider can be tried.
"""

import math
import random
import threading
import time
from collections.abc import Callable

import structlog

from sms.metrics import SmsMetrics
from sms.provider import SendFailure, Unavailable
from sms.smpp.connection import SmppConnection, SmppTimeouts

log = structlog.get_logger()

#: A bind that lasted this long resets the backoff.
STABLE_SECONDS = 60
#: Bounds the exponent of the backoff, which would overflow after years.
MAX_DOUBLINGS = 30

_RANDOM = random.SystemRandom()


class SmppLink:
    """Keeps one bind in a background thread (a greenlet under gevent)."""

    def __init__(
        self, bind: Callable[[], SmppConnection], timeouts: SmppTimeouts, metrics: SmsMetrics
    ) -> None:
        self._bind = bind
        self._timeouts = timeouts
        self._metrics = metrics
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._connection: SmppConnection | None = None
        #: Why the last bind failed or ended, until the next attempt.
        self._fault: str | None = None
        self._next_try = 0.0
        self._closing = threading.Event()

    def connection(self, seconds: float) -> SmppConnection:
        """Return the bind, waiting at most `seconds` for one that is being made; raises Unavailable."""
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
        """Unbind, and do not bind again."""
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
            self._set(None, None)
            started = time.monotonic()
            fault = self._hold()
            failures = 1 if time.monotonic() - started > STABLE_SECONDS else failures + 1
            seconds = self._backoff(failures)
            self._next_try = time.monotonic() + seconds
            self._set(None, fault)
            if not self._closing.is_set():
                log.warning("smpp.lost", error_code=fault, retry_in=round(seconds, 2))
            self._closing.wait(seconds)

    def _hold(self) -> str:
        """Bind and serve the connection until it ends; return the reason."""
        try:
            connection = self._bind()
        except SendFailure as fault:
            return fault.error_code or "bind-failed"
        except Exception as error:
            # The thread must survive any error, or there is never another bind.
            log.error("smpp.unexpected", error=type(error).__name__)
            return "bind-failed"
        log.info("smpp.bound")
        self._set(connection, None)
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

    def _backoff(self, failures: int) -> float:
        """Return the seconds to wait: doubled after each failure, with jitter that keeps workers apart."""
        doubled = self._timeouts.first_retry * 2.0 ** min(failures - 1, MAX_DOUBLINGS)
        return min(doubled, self._timeouts.max_retry) * _RANDOM.uniform(0.5, 1)

    def _set(self, connection: SmppConnection | None, fault: str | None) -> None:
        with self._changed:
            self._connection, self._fault = connection, fault
            self._changed.notify_all()
