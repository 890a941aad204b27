"""Changes of the registration lock by its account's devices: set, changed, removed.

The PIN that is set is needed for each. Whoever forgot it, or stole a token, may only ask for the removal:
that takes 7 days, every device is told, and any of them may say that the lock stays.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from core.database import Database
from core.problems import InvalidFields
from tokens.accounts import change_account, own_account
from tokens.devices import Caller
from tokens.events import AccountEvents
from tokens.models import Account
from tokens.pins import why_obvious
from tokens.problems import RegistrationLocked
from tokens.registration_lock import RegistrationLockService
from tokens.schemas import LockState

#: How long a lock stays whose removal was asked for without its PIN.
REMOVAL_TAKES = timedelta(days=7)


class LockChanges:
    """Changes and shows the registration lock of the caller's account."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        locks: RegistrationLockService,
        events: AccountEvents,
    ) -> None:
        self._database = database
        self._clock = clock
        self._locks = locks
        self._events = events

    def set(self, caller: Caller, pin: str, current_pin: str | None) -> None:
        """Guard the number with a PIN, in the place of the one there is, which must be given.

        Raises InvalidFields for a PIN that is easy to guess, RegistrationLocked without the right one, or
        TooManyPinTries.
        """
        account = self._account(caller)
        why = why_obvious(pin, account.e164)
        if why is not None:
            raise InvalidFields.at(
                "/pin", f"This PIN {why}, so it is easy to guess. Choose another."
            )
        opened = self._locks.pin_hash(account)
        if opened is not None and self._is_set(caller, opened, pin, current_pin):
            self._store(caller, opened, opened)
            return
        self._store(caller, opened, self._locks.hash(caller.subject, pin))

    def _is_set(self, caller: Caller, pin_hash: str, pin: str, current_pin: str | None) -> bool:
        """Judge the current PIN; say whether the new one is set already, by a change whose answer was lost.

        Each is a try, so that naming two is no second guess.
        """
        if current_pin is not None and current_pin != pin:
            try:
                self._locks.prove(caller.subject, pin_hash, current_pin)
                return False
            except RegistrationLocked:
                self._locks.prove(caller.subject, pin_hash, pin)
                return True
        if current_pin is None:
            try:
                self._locks.prove(caller.subject, pin_hash, pin)
            except RegistrationLocked as wrong:
                raise RegistrationLocked(
                    "A PIN is set; send it as current_pin. Forgotten? Remove it: that takes 7 days.",
                    retry_after=wrong.retry_after,
                    **wrong.members,
                ) from None
            return True
        self._locks.prove(caller.subject, pin_hash, pin)
        return True

    def remove(self, caller: Caller, pin: str) -> Account:
        """Guard the number no longer, for who knows the PIN."""
        account = self._account(caller)
        opened = self._locks.pin_hash(account)
        if opened is None:
            return account
        self._locks.prove(caller.subject, opened, pin)
        return self._store(caller, opened, None)

    def _store(self, caller: Caller, opened: str | None, pin_hash: str | None) -> Account:
        """Put a PIN in the place of the one that was judged; none is about to be removed then."""
        with self._database.write() as connection:
            account = own_account(connection, caller, lock=True)
            if self._locks.pin_hash(account) != opened:
                raise RegistrationLocked("The PIN was changed just now.", retry_after=1)
            if account.registration_lock_ends_at is not None:
                self._events.announce_lock_removal(connection, account.id, None)
            return change_account(
                connection, account.id, registration_lock=pin_hash, registration_lock_ends_at=None
            )

    def end(self, caller: Caller) -> Account:
        """Guard the number no longer in 7 days, for who does not know the PIN; every device is told.

        Asked for again it ends when it was first said to.
        """
        with self._database.write() as connection:
            account = own_account(connection, caller, lock=True)
            if self._locks.pin_hash(account) is None or account.registration_lock_ends_at:
                return account
            ends_at = self._clock() + REMOVAL_TAKES
            self._events.announce_lock_removal(connection, account.id, ends_at)
            return change_account(connection, account.id, registration_lock_ends_at=ends_at)

    def keep(self, caller: Caller) -> Account:
        """Do not remove the lock after all; any device may say so."""
        with self._database.write() as connection:
            account = own_account(connection, caller, lock=True)
            if self._locks.pin_hash(account) is None or account.registration_lock_ends_at is None:
                return account
            self._events.announce_lock_removal(connection, account.id, None)
            return change_account(connection, account.id, registration_lock_ends_at=None)

    def show(self, account: Account) -> tuple[LockState | None, datetime | None]:
        """Say whether an account's lock guards its number, and when it is removed, if that was asked for."""
        state = self._locks.state_of(account)
        return state, None if state is None else account.registration_lock_ends_at

    def _account(self, caller: Caller) -> Account:
        with self._database.read() as connection:
            return own_account(connection, caller)
