"""The registration lock: a PIN that guards a number against whoever gets its next text.

Argon2id, because a PIN is guessable and lasts. Every try is counted and committed before it is judged,
and hashed outside of any transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, bindparam, select

from core import rate_limits
from core.database import Database, find, table
from core.rate_limits import RateLimit
from tokens.former_locks import FormerLocks
from tokens.limits import DEVICE_PIN_ATTEMPTS, PIN_ATTEMPTS, PIN_CHANGES
from tokens.models import Account, AccountNumber
from tokens.problems import RegistrationLocked, TooManyPinTries
from tokens.schemas import LockState

LEADS_TO = select(table(AccountNumber).c.account_id).where(
    table(AccountNumber).c.e164 == bindparam("number")
)
PROTECTS_FOR = timedelta(days=7)


@dataclass(frozen=True)
class Lock:
    """An active registration lock: whose, the hash that opened it, until when it protects."""

    account_id: UUID
    pin_hash: str
    until: datetime


class RegistrationLockService:
    """Judges PINs against the lock of whatever account a number leads to."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        hasher: PasswordHasher,
        former: FormerLocks,
    ) -> None:
        self._database = database
        self._clock = clock
        self._hasher = hasher
        self._former = former

    def hash(self, subject: bytes, pin: str) -> str:
        """Hash a PIN for storage; raises TooManyPinTries, because each hash costs 64 MiB and time."""
        with self._database.write() as connection:
            allowed, status = rate_limits.consume(connection, PIN_CHANGES, subject, self._clock())
        if not allowed:
            raise TooManyPinTries("The PIN was changed too often.", rate_limit=status)
        return self._hasher.hash(pin)

    def pin_hash(self, account: Account) -> str | None:
        """Give the hash of an account's PIN; None when none is set, or its lock was removed by now."""
        ends_at = account.registration_lock_ends_at
        return (
            None if ends_at is not None and ends_at <= self._clock() else account.registration_lock
        )

    def active(self, connection: Connection, e164: str) -> Lock | None:
        """Give the lock that guards a number now, if one does."""
        account_id = connection.scalar(LEADS_TO, {"number": e164})
        if account_id is None:
            return self.left_on(connection, e164)
        account = find(connection, Account, Account.id == account_id)
        return None if account is None or account.e164 != e164 else self.lock_of(account)

    def left_on(self, connection: Connection, e164: str) -> Lock | None:
        """Give the lock that guards a number although its account left that, if one does."""
        row = self._former.read(connection, e164)
        return None if row is None else Lock(row["account_id"], row["pin_hash"], row["lapses_at"])

    def leave(self, connection: Connection, account: Account) -> None:
        """Let an account's lock guard its number for as long as it would, while the account leaves that."""
        lock = self.lock_of(account)
        if lock is None:
            return
        ends_at = account.registration_lock_ends_at
        lapses_at = lock.until if ends_at is None else min(lock.until, ends_at)
        self._former.keep(connection, account.e164, account.id, lock.pin_hash, lapses_at)

    def arrive(self, connection: Connection, e164: str) -> None:
        """Forget what was left on a number that leads to an account from now on, which was admitted."""
        self._former.forget(connection, e164)

    def lock_of(self, account: Account) -> Lock | None:
        """Give the lock that guards an account's number now, if one does."""
        pin_hash = self.pin_hash(account)
        until = account.last_seen_at + PROTECTS_FOR
        if pin_hash is None or until <= self._clock():
            return None
        return Lock(account.id, pin_hash, until)

    def state_of(self, account: Account) -> LockState | None:
        """Say whether an account's lock guards its number; None when it has none."""
        if self.pin_hash(account) is None:
            return None
        return "lapsed" if self.lock_of(account) is None else "active"

    def wait(self, lock: Lock) -> int:
        """Say in how many seconds a lock lapses, if no device of its account is used meanwhile."""
        return int((lock.until - self._clock()).total_seconds())

    def open(self, e164: str, pin: str | None) -> str | None:
        """Judge a PIN against the number's lock; give the hash it opened, None if nothing is locked.

        Raises RegistrationLocked, or TooManyPinTries once the tries are used up.
        """
        with self._database.read() as connection:
            lock = self.active(connection, e164)
        if lock is None:
            return None
        if pin is None:
            raise RegistrationLocked(
                "Its owner set a registration lock; send registration_lock_pin, or wait until the"
                " lock no longer protects an account that is not used.",
                retry_after=self.wait(lock),
            )
        self._judge(PIN_ATTEMPTS, lock.account_id.bytes, lock.pin_hash, pin)
        return lock.pin_hash

    def prove(self, subject: bytes, pin_hash: str, pin: str) -> None:
        """Judge a PIN that a device gives in order to change its account's lock.

        subject: whose the limit is (`Caller.subject`). Raises RegistrationLocked or TooManyPinTries.
        """
        self._judge(DEVICE_PIN_ATTEMPTS, subject, pin_hash, pin)

    def _judge(self, limit: RateLimit, subject: bytes, pin_hash: str, pin: str) -> None:
        with self._database.write() as connection:
            allowed, status = rate_limits.consume(connection, limit, subject, self._clock())
        if not allowed:
            raise TooManyPinTries("Too many wrong PINs; one try a day is left.", rate_limit=status)
        if not self._matches(pin_hash, pin):
            raise RegistrationLocked(
                "The PIN is wrong.",
                retry_after=max(1, status.retry_after),
                checks_left=status.remaining,
            )
        with self._database.write() as connection:
            rate_limits.reset(connection, limit, subject)

    def _matches(self, pin_hash: str, pin: str) -> bool:
        try:
            return self._hasher.verify(pin_hash, pin)
        except (VerificationError, InvalidHashError):
            return False
