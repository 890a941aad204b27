"""The registration lock: a PIN protects a number against anyone who receives its next text.

PINs are hashed with Argon2id, because they are guessable and live long. Every try is counted and committed
before it is verified, and hashed outside of any transaction. An account that leaves its number leaves the
lock on it: a thief of a token could otherwise delete the account, or move it to another number, and
register the number without its PIN.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Executable, bindparam, delete, select

from core import rate_limits
from core.database import Database, dialect_of, find, insert_into, purge, table
from core.rate_limits import RateLimit
from core.secrets import Keyring
from tokens.limits import DEVICE_PIN_ATTEMPTS, PIN_ATTEMPTS, PIN_CHANGES
from tokens.models import Account, AccountNumber, FormerLock
from tokens.problems import RegistrationLocked, TooManyPinTries
from tokens.schemas import LockState

#: How long a lock protects an account of which no device is used.
LOCK_IDLE_LIFETIME = timedelta(days=7)

#: The key of the digests that locks are left under; the number itself is not kept.
_PURPOSE = "former-lock"
_FORMER_LOCKS = table(FormerLock).c
SELECT_ACCOUNT_ID = select(table(AccountNumber).c.account_id).where(
    table(AccountNumber).c.e164 == bindparam("e164")
)
_SELECT_FORMER_LOCK = select(
    _FORMER_LOCKS.account_id, _FORMER_LOCKS.pin_hash, _FORMER_LOCKS.lapses_at
).where(_FORMER_LOCKS.number_digest == bindparam("number_digest"))
_DELETE_FORMER_LOCK = delete(table(FormerLock)).where(
    _FORMER_LOCKS.number_digest == bindparam("number_digest")
)


@cache
def _upsert_former_lock(dialect: str) -> Executable:
    row = insert_into(dialect, FormerLock)
    names = ("account_id", "pin_hash", "lapses_at")
    return row.on_conflict_do_update(
        index_elements=["number_digest"], set_={name: row.excluded[name] for name in names}
    )


@dataclass(frozen=True)
class Lock:
    """An active registration lock: its account, the hash of its PIN, and when it lapses."""

    account_id: UUID
    pin_hash: str
    lapses_at: datetime


@dataclass(frozen=True)
class RegistrationLockService:
    """Verifies PINs against the lock of the account that a number leads to."""

    database: Database
    clock: Callable[[], datetime]
    hasher: PasswordHasher
    keyring: Keyring

    def hash(self, subject: bytes, pin: str) -> str:
        """Return the hash of a new PIN; raises TooManyPinTries, because a hash costs 64 MiB and time."""
        with self.database.write() as connection:
            allowed, status = rate_limits.consume(connection, PIN_CHANGES, subject, self.clock())
        if not allowed:
            raise TooManyPinTries("The PIN was changed too often.", rate_limit=status)
        return self.hasher.hash(pin)

    def pin_hash(self, account: Account) -> str | None:
        """Return the hash of an account's PIN; None if none is set or its removal is due."""
        ends_at = account.registration_lock_ends_at
        return (
            None if ends_at is not None and ends_at <= self.clock() else account.registration_lock
        )

    def find_active(self, connection: Connection, e164: str) -> Lock | None:
        """Return the lock that protects a number now, or None."""
        account_id = connection.scalar(SELECT_ACCOUNT_ID, {"e164": e164})
        if account_id is None:
            return self.find_former(connection, e164)
        account = find(connection, Account, Account.id == account_id)
        return None if account is None or account.e164 != e164 else self.active_lock(account)

    def find_former(self, connection: Connection, e164: str) -> Lock | None:
        """Return the lock that an account left on its former number and that protects it now, or None."""
        for digest in self.keyring.digests(_PURPOSE, e164):
            row = connection.execute(_SELECT_FORMER_LOCK, {"number_digest": digest}).one_or_none()
            if row is not None and row.lapses_at > self.clock():
                return Lock(*row)
        return None

    def save_former(self, connection: Connection, account: Account) -> None:
        """Leave an account's lock on its number, which no longer leads to it, until the lock lapses."""
        lock = self.active_lock(account)
        if lock is None:
            return
        ends_at = account.registration_lock_ends_at
        values = {
            "number_digest": self.keyring.digest(_PURPOSE, account.e164),
            "account_id": account.id,
            "pin_hash": lock.pin_hash,
            "lapses_at": lock.lapses_at if ends_at is None else min(lock.lapses_at, ends_at),
        }
        connection.execute(_upsert_former_lock(dialect_of(connection)), values)

    def delete_former(self, connection: Connection, e164: str) -> None:
        """Delete the lock left on a number, which leads to an account again."""
        for digest in self.keyring.digests(_PURPOSE, e164):
            connection.execute(_DELETE_FORMER_LOCK, {"number_digest": digest})

    @staticmethod
    def purge_former(connection: Connection, now: datetime) -> int:
        """Delete a batch of left locks that have lapsed."""
        return purge(connection, FormerLock, FormerLock.lapses_at < now)

    def active_lock(self, account: Account) -> Lock | None:
        """Return the lock that protects an account's number now, or None."""
        pin_hash = self.pin_hash(account)
        lapses_at = account.last_seen_at + LOCK_IDLE_LIFETIME
        if pin_hash is None or lapses_at <= self.clock():
            return None
        return Lock(account.id, pin_hash, lapses_at)

    def state(self, account: Account) -> LockState | None:
        """Return whether an account's lock is active or lapsed; None if it has none."""
        if self.pin_hash(account) is None:
            return None
        return "lapsed" if self.active_lock(account) is None else "active"

    def seconds_left(self, lock: Lock) -> int:
        """Return the seconds until a lock lapses, unless a device of its account is used."""
        return int((lock.lapses_at - self.clock()).total_seconds())

    def unlock(self, e164: str, pin: str | None) -> str | None:
        """Verify a PIN against a number's lock; return the hash it matched, None if there is no lock.

        Raises RegistrationLocked, or TooManyPinTries once the tries are used up.
        """
        with self.database.read() as connection:
            lock = self.find_active(connection, e164)
        if lock is None:
            return None
        if pin is None:
            raise RegistrationLocked(
                "Its owner set a registration lock. Send registration_lock_pin, or wait until the"
                " lock lapses, which it does if the account is not used.",
                retry_after=self.seconds_left(lock),
            )
        self._verify(PIN_ATTEMPTS, lock.account_id.bytes, lock.pin_hash, pin)
        return lock.pin_hash

    def verify(self, subject: bytes, pin_hash: str, pin: str) -> None:
        """Verify the PIN with which a device changes its account's lock.

        subject: of the limit (`Caller.subject`). Raises RegistrationLocked or TooManyPinTries.
        """
        self._verify(DEVICE_PIN_ATTEMPTS, subject, pin_hash, pin)

    def _verify(self, limit: RateLimit, subject: bytes, pin_hash: str, pin: str) -> None:
        with self.database.write() as connection:
            allowed, status = rate_limits.consume(connection, limit, subject, self.clock())
        if not allowed:
            raise TooManyPinTries(
                "Too many wrong PINs. You can try one more each day.", rate_limit=status
            )
        try:
            self.hasher.verify(pin_hash, pin)
        except (VerificationError, InvalidHashError):
            raise RegistrationLocked(
                "The PIN is wrong.",
                retry_after=max(1, status.retry_after),
                checks_left=status.remaining,
            ) from None
        with self.database.write() as connection:
            rate_limits.reset(connection, limit, subject)
