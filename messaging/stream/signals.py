"""Signals: ephemeral envelopes, passed on to open sockets and stored nowhere.

Something as frequent as typing must not cost a commit, so nothing is written here. The rate of a device is
counted in memory, in the process that has its socket.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from core.database import Database
from messaging.mailbox.problems import DevicesMismatched
from messaging.message_types import SenderRecipient, Signal
from messaging.notifications.registry import ListenerRegistry
from messaging.stream.problems import TooManySignals
from tokens.devices import Caller, DeviceService
from tokens.problems import AccountNotFound

#: Signals of one device: at once, and in each second.
MAX_BURST = 60
MAX_PER_SECOND = 20
#: Buckets that are kept before full ones are dropped.
MIN_PURGED_BUCKETS = 1024

#: Returns for each attempt whether the recipient allows it, in a read-only connection.
MaySignal = Callable[[Connection, Sequence[SenderRecipient]], list[bool]]


class SignalRateLimiter:
    """Limits the signals of each device by a token bucket.

    A bucket outlives the device's socket, or each new socket would allow another burst.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        #: When the bucket of each device is full again; one that is not here is full.
        self._full_at: dict[UUID, float] = {}
        self._purge_at = MIN_PURGED_BUCKETS

    def take(self, device_id: UUID) -> None:
        """Count a signal; raises TooManySignals."""
        now = self._monotonic()
        with self._lock:
            full_at = max(now, self._full_at.get(device_id, now)) + 1 / MAX_PER_SECOND
            # Half a signal more, as sums of parts of seconds are not exact.
            allowed = (full_at - now) * MAX_PER_SECOND < MAX_BURST + 0.5
            if allowed:
                self._full_at[device_id] = full_at
                if len(self._full_at) >= self._purge_at:
                    self._purge(now)
        if not allowed:
            raise TooManySignals(
                f"A device may send {MAX_PER_SECOND} signals a second.", retry_after=1
            )

    def _purge(self, now: float) -> None:
        """Drop full buckets; done again when there are twice as many as were left."""
        self._full_at = {device: at for device, at in self._full_at.items() if at > now}
        self._purge_at = max(MIN_PURGED_BUCKETS, 2 * len(self._full_at))


@dataclass
class SignalService:
    """Passes signals on."""

    database: Database
    clock: Callable[[], datetime]
    registry: ListenerRegistry
    may_signal: MaySignal
    rate_limiter: SignalRateLimiter = field(default_factory=SignalRateLimiter)

    def send(
        self, caller: Caller, to: UUID, contents: Mapping[UUID, bytes], expires_in: int
    ) -> None:
        """Pass a signal on to devices of an account, each its own content.

        A sender that the recipient does not allow is not told. Raises TooManySignals, AccountNotFound
        or DevicesMismatched.
        """
        self.rate_limiter.take(caller.device_id)
        with self.database.read() as connection:
            devices = DeviceService.device_ids(connection, to)
            if not devices:
                raise AccountNotFound("It was deleted, or never was.")
            if extra := contents.keys() - set(devices):
                raise DevicesMismatched(
                    "Nothing was passed on: some devices are not the account's.",
                    missing=[],
                    extra=sorted(map(str, extra)),
                    stale=[],
                )
            if to != caller.account_id:
                attempt = SenderRecipient(caller.account_id, to, number_id=caller.number_id)
                (is_allowed,) = self.may_signal(connection, [attempt])
                if not is_allowed:
                    return
        now = self.clock()
        expires_at = now + timedelta(seconds=expires_in)
        for device_id, content in contents.items():
            if device_id != caller.device_id:
                signal = Signal(caller.account_id, caller.device_id, content, now, expires_at)
                self.registry.notify(device_id, signal)
