"""Changes of the registration lock by the account's devices.

A change needs the current PIN. Whoever forgot it, or stole a token, can only request the removal: it takes
7 days, every device is notified, and any of them can cancel it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.database import Database
from core.problems import InvalidFields
from tokens.accounts import change_account, own_account
from tokens.devices import Caller
from tokens.events import AccountEvents
from tokens.models import Account
from tokens.pins import weakness_of
from tokens.problems import RegistrationLocked
from tokens.registration_lock import RegistrationLockService

#: From the request for a removal without the PIN to the removal.
REMOVAL_DELAY = timedelta(days=7)


@dataclass(frozen=True)
class LockChangeService:
    """Changes and shows the registration lock of the caller's account."""

    database: Database
    clock: Callable[[], datetime]
    locks: RegistrationLockService
    events: AccountEvents

    def set(self, caller: Caller, pin: str, current_pin: str | None) -> None:
        """Set or replace the PIN; replacing one needs `current_pin`.

        Raises InvalidFields for a weak PIN, RegistrationLocked, or TooManyPinTries.
        """
        account = self._account(caller)
        weakness = weakness_of(pin, account.e164)
        if weakness is not None:
            raise InvalidFields.at(
                "/pin", f"This PIN {weakness}, so it is easy to guess. Choose another."
            )
        current = self.locks.pin_hash(account)
        if current is not None and self._is_set(caller, current, pin, current_pin):
            self._store(caller, current, current)
            return
        self._store(caller, current, self.locks.hash(caller.subject, pin))

    def _is_set(self, caller: Caller, pin_hash: str, pin: str, current_pin: str | None) -> bool:
        """Verify the current PIN; return whether the new one is set already, by a repeated request.

        Each verification counts as a try, so that sending two PINs is no second guess.
        """
        if current_pin is not None and current_pin != pin:
            try:
                self.locks.verify(caller.subject, pin_hash, current_pin)
                return False
            except RegistrationLocked:
                self.locks.verify(caller.subject, pin_hash, pin)
                return True
        try:
            self.locks.verify(caller.subject, pin_hash, pin)
        except RegistrationLocked as wrong:
            if current_pin is not None:
                raise
            raise RegistrationLocked(
                "A PIN is set. Send it as current_pin. Forgotten? Remove it: that takes 7 days.",
                retry_after=wrong.retry_after,
                **wrong.members,
            ) from None
        return True

    def remove(self, caller: Caller, pin: str) -> Account:
        """Remove the lock at once, with its PIN."""
        account = self._account(caller)
        current = self.locks.pin_hash(account)
        if current is None:
            return account
        self.locks.verify(caller.subject, current, pin)
        return self._store(caller, current, None)

    def _store(self, caller: Caller, verified: str | None, pin_hash: str | None) -> Account:
        """Replace the hash that was verified; a pending removal is canceled."""
        with self.database.write() as connection:
            account = own_account(connection, caller, lock=True)
            if self.locks.pin_hash(account) != verified:
                raise RegistrationLocked("The PIN was changed just now.", retry_after=1)
            if account.registration_lock_ends_at is not None:
                self.events.lock_removal.emit(connection, account.id, None)
            return change_account(
                connection, account.id, registration_lock=pin_hash, registration_lock_ends_at=None
            )

    def schedule_removal(self, caller: Caller) -> Account:
        """Remove the lock in 7 days, without its PIN; a repeated request does not delay it."""
        with self.database.write() as connection:
            account = own_account(connection, caller, lock=True)
            if self.locks.pin_hash(account) is None or account.registration_lock_ends_at:
                return account
            ends_at = self.clock() + REMOVAL_DELAY
            self.events.lock_removal.emit(connection, account.id, ends_at)
            return change_account(connection, account.id, registration_lock_ends_at=ends_at)

    def cancel_removal(self, caller: Caller) -> Account:
        """Cancel a scheduled removal."""
        with self.database.write() as connection:
            account = own_account(connection, caller, lock=True)
            if self.locks.pin_hash(account) is None or account.registration_lock_ends_at is None:
                return account
            self.events.lock_removal.emit(connection, account.id, None)
            return change_account(connection, account.id, registration_lock_ends_at=None)

    def _account(self, caller: Caller) -> Account:
        with self.database.read() as connection:
            return own_account(connection, caller)
