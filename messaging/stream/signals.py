"""Signals: ephemeral envelopes, which are passed on to open sockets and stored nowhere.

Owns who may signal to whom, and how often a socket may. Refuses devices that are not the recipient's, and
writes nothing: what is as frequent as typing must not cost a commit.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection

from core.database import Database
from messaging.letters import Attempt, Signal
from messaging.problems import DevicesMismatched, TooManySignals
from messaging.wakeups import Wakeups
from tokens.problems import AccountNotFound
from tokens.service import Caller, DeviceService

#: Signals of one socket: so many at once, so many a second.
BURST = 60
PER_SECOND = 20

#: Says for each attempt whether the recipient hears it, in a connection that only reads.
MaySignal = Callable[[Connection, Sequence[Attempt]], list[bool]]


class Allowed:
    """How many signals one socket may still send: a bucket that is refilled evenly."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._left = float(BURST)
        self._as_of = monotonic()

    def take(self) -> None:
        """Count a signal; raises TooManySignals."""
        now = self._monotonic()
        self._left = min(BURST, self._left + (now - self._as_of) * PER_SECOND)
        self._as_of = now
        if self._left < 1:
            raise TooManySignals(f"A socket may send {PER_SECOND} signals a second.", retry_after=1)
        self._left -= 1


class SignalService:
    """Passes signals on."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        wakeups: Wakeups,
        may_signal: MaySignal,
    ) -> None:
        self._database = database
        self._clock = clock
        self._wakeups = wakeups
        self.may_signal = may_signal

    def pass_on(
        self, caller: Caller, to: UUID, contents: Mapping[UUID, bytes], expires_in: int
    ) -> None:
        """Pass a signal on to devices of an account, each its own content.

        Nobody is told that an account does not hear her. Raises AccountNotFound or DevicesMismatched.
        """
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
                attempt = Attempt(caller.account_id, to, number_id=caller.number_id)
                (heard,) = self.may_signal(connection, [attempt])
                if not heard:
                    return
        now = self._clock()
        expires_at = now + timedelta(seconds=expires_in)
        for device_id, content in contents.items():
            if device_id != caller.device_id:
                signal = Signal(caller.account_id, caller.device_id, content, now, expires_at)
                self._wakeups.signal(device_id, signal)
