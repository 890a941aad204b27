"""Accounts: created and taken over with a proven number, changed and deleted by their devices."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import cast
from uuid import UUID

from sqlalchemy import Connection, Executable, bindparam, delete, select, update

from core.database import Database, dialect_of, find, insert_into, table
from tokens.devices import Caller, DeviceService
from tokens.events import AccountEvents
from tokens.former_numbers import RECYCLED_AFTER, FormerNumbers
from tokens.models import Account, AccountNumber, DeviceLink
from tokens.problems import RegistrationLocked, TokenInvalid
from tokens.registration_lock import SELECT_ACCOUNT_ID, RegistrationLockService

#: Reads of the account of a number before giving up: each repeat means that it moved in between.
MAX_READS = 10

_ACCOUNTS = table(Account)
_INSERT_ACCOUNT = _ACCOUNTS.insert()
_SELECT_ACCOUNT = select(*_ACCOUNTS.columns).where(_ACCOUNTS.c.id == bindparam("id"))
_LOCK_ACCOUNT = _SELECT_ACCOUNT.with_for_update()
_LOCK_ACCOUNTS = (
    select(_ACCOUNTS.c.id)
    .where(_ACCOUNTS.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(_ACCOUNTS.c.id)
    .with_for_update(key_share=True)
)


def lock_existing_accounts(connection: Connection, account_ids: Collection[UUID]) -> set[UUID]:
    """Lock accounts against deletion, in the order of their ids; return the ids that exist."""
    return set(connection.scalars(_LOCK_ACCOUNTS, {"ids": list(account_ids)}))


@cache
def _insert_number(dialect: str) -> Executable:
    inserted = insert_into(dialect, AccountNumber).on_conflict_do_nothing()
    return inserted.returning(table(AccountNumber).c.account_id)


@dataclass(frozen=True)
class RegisteredAccount:
    """The account that a number leads to now; `reregistered`: it existed before."""

    account_id: UUID
    reregistered: bool


@dataclass(frozen=True)
class AccountService:
    """Reads and changes accounts."""

    database: Database
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    devices: DeviceService
    locks: RegistrationLockService
    former_numbers: FormerNumbers
    events: AccountEvents

    def get(self, caller: Caller) -> Account:
        """Return the caller's account."""
        with self.database.read() as connection:
            return own_account(connection, caller)

    def set_discoverable(self, caller: Caller, discoverable: bool) -> Account:
        """Set whether people who know the number can find the account."""
        with self.database.write() as connection:
            account = own_account(connection, caller, lock=True)
            account = change_account(connection, account.id, discoverable=discoverable)
            self.events.listing_changed.emit(connection, account.id, account.e164, discoverable)
        return account

    def delete(self, caller: Caller) -> None:
        """Delete the caller's account, its devices and everything that waits for them."""
        with self.database.write() as connection:
            self._delete(connection, own_account(connection, caller, lock=True))

    def _delete(self, connection: Connection, account: Account) -> None:
        number_id = account.number_id or account.id
        recycled = self._is_recycled(account)
        # First: senders to a group lock it before the mailboxes of its devices.
        self.events.account_deleted.emit(connection, account.id, None if recycled else number_id)
        if recycled:
            self.events.numbers_forgotten.emit(connection, [number_id])
        else:
            self.former_numbers.save(connection, account.e164, number_id, account.last_seen_at)
        self._remove_devices(connection, account.id)
        self._release_number(connection, account)
        connection.execute(delete(Account).where(Account.id == account.id))

    def _is_recycled(self, account: Account) -> bool:
        return self.clock() - account.last_seen_at >= RECYCLED_AFTER

    def _release_number(self, connection: Connection, account: Account) -> None:
        self.events.holder_changed.emit(connection, account.id)
        self.events.listing_changed.emit(connection, account.id, account.e164, False)
        connection.execute(
            delete(AccountNumber).where(
                AccountNumber.e164 == account.e164, AccountNumber.account_id == account.id
            )
        )
        self.locks.save_former(connection, account)

    def _remove_devices(
        self, connection: Connection, account_id: UUID, but: UUID | None = None
    ) -> None:
        # Redeemed links too: a redemption repeated after a lost answer must not bring a device back.
        connection.execute(delete(DeviceLink).where(DeviceLink.account_id == account_id))
        ids = [one for one in self.devices.device_ids(connection, account_id) if one != but]
        if ids:
            self.devices.remove_devices(connection, account_id, ids)

    def register(
        self,
        connection: Connection,
        e164: str,
        opened_lock: str | None,
        returning: UUID | None = None,
    ) -> RegisteredAccount:
        """Create or take over the account of a number, in the transaction that uses up its proof.

        An account taken over keeps its id and loses its devices except `returning`. Its registration lock
        stays only if `opened_lock` is the hash of the PIN that was given. After 120 idle days the account is
        deleted and a new one is created.
        """
        now = self.clock()
        account_id = UUID(bytes=self.entropy(16), version=4)
        if self._take_number(connection, e164, account_id):
            self.locks.delete_former(connection, e164)
            connection.execute(
                _INSERT_ACCOUNT,
                {
                    "id": account_id,
                    "e164": e164,
                    "number_id": self.former_numbers.take(connection, e164),
                    "discoverable": True,
                    "registration_lock": opened_lock,
                    "created_at": now,
                    "last_seen_at": now,
                },
            )
            self.events.listing_changed.emit(connection, account_id, e164, True)
            return RegisteredAccount(account_id, reregistered=False)
        account = self._lock_holder(connection, e164)
        if account is None:  # it was deleted just now
            return self.register(connection, e164, opened_lock)
        if self._is_recycled(account):
            self._delete(connection, account)
            return self.register(connection, e164, opened_lock)
        self._remove_devices(connection, account.id, but=returning)
        self.events.holder_changed.emit(connection, account.id)
        change_account(
            connection,
            account.id,
            last_seen_at=now,
            registration_lock=opened_lock,
            registration_lock_ends_at=None,
        )
        return RegisteredAccount(account.id, reregistered=True)

    def get_or_create(self, connection: Connection, e164: str) -> UUID:
        """Return the id of the account of a proven number, created if there is none.

        Unlike `register` it keeps devices and discoverability. It does not revive a lapsed registration lock:
        only the use of a device does.
        """
        account = self._lock_holder(connection, e164)
        if account is None or self._is_recycled(account):
            return self.register(connection, e164, None).account_id
        if self.locks.pin_hash(account) is None:
            change_account(connection, account.id, last_seen_at=self.clock())
        return account.id

    def delete_if_empty(self, connection: Connection, account_id: UUID) -> None:
        """Delete an account without devices, unless it has a registration lock."""
        account = find(connection, Account, Account.id == account_id, lock=True)
        if account is None or self.locks.pin_hash(account) is not None:
            return
        if not self.devices.device_ids(connection, account_id):
            self._delete(connection, account)

    def change_number(self, connection: Connection, caller: Caller, e164: str) -> Account:
        """Move the caller's account to a proven number; an account that had the number is deleted.

        Blocks and limits stay with the former number; those of the new one apply from now on.
        """
        account = own_account(connection, caller, lock=True)
        if account.e164 == e164:
            return account
        while not self._take_number(connection, e164, account.id):
            other = self._lock_holder(connection, e164)
            if other is not None:
                self._delete(connection, other)
        self.locks.delete_former(connection, e164)
        self._release_number(connection, account)
        number_id = account.number_id or account.id
        self.former_numbers.save(connection, account.e164, number_id, self.clock())
        self.events.number_left.emit(connection, account.id, number_id)
        taken_over = self.former_numbers.take(connection, e164)
        account = change_account(
            connection,
            account.id,
            e164=e164,
            number_id=taken_over or UUID(bytes=self.entropy(16), version=4),
        )
        self.events.listing_changed.emit(connection, account.id, e164, account.discoverable)
        return account

    def require_unlocked(
        self,
        connection: Connection,
        e164: str,
        *,
        opened_lock: str | None = None,
        owner: UUID | None = None,
    ) -> None:
        """Raise RegistrationLocked while a lock other than `opened_lock` protects a number.

        The lock of an account that left the number protects it until it lapses. The account stays locked in
        the transaction, so that no PIN is set meanwhile. An account's own lock does not stop its devices
        (`owner`); a lock left on the number by another account does.
        """
        account = self._lock_holder(connection, e164, owner=owner)
        if account is None:
            lock = self.locks.find_former(connection, e164)
        elif account.id == owner:
            return
        else:
            lock = self.locks.active_lock(account)
        if lock is not None and lock.pin_hash != opened_lock:
            raise RegistrationLocked(
                "A registration lock protects this number.",
                retry_after=self.locks.seconds_left(lock),
            )

    @staticmethod
    def _take_number(connection: Connection, e164: str, account_id: UUID) -> bool:
        """Make a number lead to an account, unless it leads to one already."""
        statement = _insert_number(dialect_of(connection))
        values = {"e164": e164, "account_id": account_id}
        return connection.execute(statement, values).one_or_none() is not None

    def lock_by_number(self, connection: Connection, e164: str) -> UUID | None:
        """Lock the account that a number leads to and return its id; None if there is none."""
        account = self._lock_holder(connection, e164)
        return None if account is None else account.id

    @staticmethod
    def _lock_holder(
        connection: Connection, e164: str, *, owner: UUID | None = None
    ) -> Account | None:
        """Lock and return the account that a number leads to.

        owner: locked later in the transaction, so it is locked here first where its id is the smaller one.
        Number and account are on different shards: the first of two statements may be outdated when the
        second has its row, and then both are repeated.
        """
        for _ in range(MAX_READS):
            account_id = connection.scalar(SELECT_ACCOUNT_ID, {"e164": e164})
            if account_id is None:
                return None
            if owner is not None and owner < account_id:
                # Otherwise two people who swap numbers would deadlock.
                connection.execute(_LOCK_ACCOUNT, {"id": owner})
            account = connection.execute(_LOCK_ACCOUNT, {"id": account_id}).one_or_none()
            if account is not None and account.e164 == e164:
                return cast(Account, account)
        raise RuntimeError("a number leads to an account that does not have it")


def change_account(connection: Connection, account_id: UUID, **values: object) -> Account:
    """Update an account that the transaction has locked; return the new row."""
    statement = update(_ACCOUNTS).where(_ACCOUNTS.c.id == account_id).values(values)
    return cast(Account, connection.execute(statement.returning(*_ACCOUNTS.columns)).one())


def own_account(connection: Connection, caller: Caller, *, lock: bool = False) -> Account:
    """Return the caller's account; `lock` locks its row until the transaction ends."""
    statement = _LOCK_ACCOUNT if lock else _SELECT_ACCOUNT
    account = connection.execute(statement, {"id": caller.account_id}).one_or_none()
    if account is None:
        raise TokenInvalid("Its account was deleted.")
    return cast(Account, account)
