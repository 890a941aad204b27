"""Signals: ephemeral envelopes, which are passed on to open sockets and stored nowhere.

What is as frequent as typing must not cost a commit, so nothing is written here. How often a device may
signal is counted in the process that has its socket, of which there is one.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from core.database import Database
from messaging.mailbox.problems import DevicesMismatched
from messaging.message_types import SenderRecipient, Signal
from messaging.notifications.listeners import ListenerRegistry
from messaging.stream.problems import TooManySignals
from tokens.devices import Caller, DeviceService
from tokens.problems import AccountNotFound

#: Signals of one device: so many at once, so many a second.
BURST = 60
PER_SECOND = 20
#: Devices whose buckets are kept before those that are full again are dropped.
MANY_BUCKETS = 1024

#: Says for each attempt whether the recipient hears it, in a connection that only reads.
MaySignal = Callable[[Connection, Sequence[SenderRecipient]], list[bool]]


class SignalLimit:
    """How many signals each device may still send: a bucket a device, which is refilled evenly.

    It outlives the device's socket, or whoever opened one after the other would have a burst each time.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        #: When the bucket of each device is full again; one that is not here is full.
        self._full_at: dict[UUID, float] = {}
        self._purge_at = MANY_BUCKETS

    def take(self, device_id: UUID) -> None:
        """Count a signal; raises TooManySignals."""
        now = self._monotonic()
        with self._lock:
            full_at = max(now, self._full_at.get(device_id, now)) + 1 / PER_SECOND
            # Half a signal more, as sums of parts of seconds are not exact.
            allowed = (full_at - now) * PER_SECOND < BURST + 0.5
            if allowed:
                self._full_at[device_id] = full_at
                if len(self._full_at) >= self._purge_at:
                    self._purge(now)
        if not allowed:
            raise TooManySignals(f"A device may send {PER_SECOND} signals a second.", retry_after=1)

    def _purge(self, now: float) -> None:
        """Drop full buckets; done each time there are twice as many as were left."""
        self._full_at = {device: at for device, at in self._full_at.items() if at > now}
        self._purge_at = max(MANY_BUCKETS, 2 * len(self._full_at))


class SignalService:
    """Passes signals on."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        wakeups: ListenerRegistry,
        may_signal: MaySignal,
    ) -> None:
        self._database = database
        self._clock = clock
        self._wakeups = wakeups
        self.may_signal = may_signal
        self._limit = SignalLimit()

    def pass_on(
        self, caller: Caller, to: UUID, contents: Mapping[UUID, bytes], expires_in: int
    ) -> None:
        """Pass a signal on to devices of an account, each its own content.

        Nobody is told that an account does not hear them. Raises TooManySignals, AccountNotFound or
        DevicesMismatched.
        """
        self._limit.take(caller.device_id)
        with self._database.read() as connection:
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
                (heard,) = self.may_signal(connection, [attempt])
                if not heard:
                    return
        now = self._clock()
        expires_at = now + timedelta(seconds=expires_in)
        for device_id, content in contents.items():
            if device_id != caller.device_id:
                signal = Signal(caller.account_id, caller.device_id, content, now, expires_at)
                self._wakeups.signal(device_id, signal)
