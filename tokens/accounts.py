"""Accounts: made and taken over by a proven number, changed and deleted by their owner.

Owns which account a number leads to. A number that was idle for 120 days is a new person's.
"""

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
from tokens.registration_lock import LEADS_TO, RegistrationLockService

_OPENING = table(Account).insert()
_MINE = select(*table(Account).columns).where(table(Account).c.id == bindparam("account"))
_MINE_LOCKED = _MINE.with_for_update()
#: How often an account may change its number or go between two statements, before something is wrong.
MAX_LOOKS = 10
_HOLDING = (
    select(table(Account).c.id)
    .where(table(Account).c.id.in_(bindparam("accounts", expanding=True)))
    .order_by(table(Account).c.id)
    .with_for_update(key_share=True)
)


def hold_accounts(connection: Connection, account_ids: Collection[UUID]) -> set[UUID]:
    """Hold accounts, in the order of their ids, so that none is deleted meanwhile; give those there are."""
    return set(connection.scalars(_HOLDING, {"accounts": list(account_ids)}))


@cache
def _taking_number(dialect: str) -> Executable:
    return (
        insert_into(dialect, AccountNumber)
        .values(e164=bindparam("number"), account_id=bindparam("account"))
        .on_conflict_do_nothing()
        .returning(table(AccountNumber).c.account_id)
    )


@dataclass(frozen=True)
class Claim:
    """The account a number leads to now; `reregistered` when it was there before."""

    account_id: UUID
    reregistered: bool


class AccountService:
    """Reads and changes accounts."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        devices: DeviceService,
        locks: RegistrationLockService,
        former_numbers: FormerNumbers,
        events: AccountEvents,
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._devices = devices
        self._locks = locks
        self._former_numbers = former_numbers
        self._events = events

    def get(self, caller: Caller) -> Account:
        """Give the caller's account."""
        with self._database.read() as connection:
            return self.read(connection, caller)

    @staticmethod
    def read(connection: Connection, caller: Caller) -> Account:
        """Give the caller's account, in the transaction at hand."""
        return own_account(connection, caller)

    def set_discoverable(self, caller: Caller, discoverable: bool) -> Account:
        """Let people who know the number find the account, or no longer."""
        with self._database.write() as connection:
            account = own_account(connection, caller, lock=True)
            account = change_account(connection, account.id, discoverable=discoverable)
            self._events.list_number(connection, account.id, account.e164, discoverable)
        return account

    def delete(self, caller: Caller) -> None:
        """Delete the caller's account, its devices and all that waits for them."""
        with self._database.write() as connection:
            self._delete(connection, own_account(connection, caller, lock=True))

    def _delete(self, connection: Connection, account: Account) -> None:
        number_id = account.number_id or account.id
        recycled = self._clock() - account.last_seen_at >= RECYCLED_AFTER
        # First, because who writes to a group holds it before the mailboxes of its devices.
        self._events.delete_account(connection, account.id, None if recycled else number_id)
        if recycled:
            self._events.forget_numbers(connection, [number_id])
        else:
            self._former_numbers.keep(connection, account.e164, number_id, account.last_seen_at)
        self._remove_devices(connection, account.id)
        self._events.change_holder(connection, account.id)
        self._events.list_number(connection, account.id, account.e164, False)
        connection.execute(
            delete(AccountNumber).where(
                AccountNumber.e164 == account.e164, AccountNumber.account_id == account.id
            )
        )
        self._locks.leave(connection, account)
        connection.execute(delete(Account).where(Account.id == account.id))

    def _remove_devices(
        self, connection: Connection, account_id: UUID, but: UUID | None = None
    ) -> None:
        # Redeemed ones too: a redemption repeated after a lost answer must not bring a device back.
        connection.execute(delete(DeviceLink).where(DeviceLink.account_id == account_id))
        ids = [one for one in self._devices.device_ids(connection, account_id) if one != but]
        if ids:
            self._devices.remove_devices(connection, account_id, ids)

    def claim(
        self,
        connection: Connection,
        e164: str,
        opened_lock: str | None,
        returning: UUID | None = None,
    ) -> Claim:
        """Give the account of a proven number, in the transaction that uses up the proof and admitted it.

        The account before keeps its id, loses its devices but the one that returns, and its lock unless
        its PIN was given; after 120 idle days it is deleted and a new one made. `opened_lock` is the hash
        that a PIN opened.
        """
        now = self._clock()
        account_id = UUID(bytes=self._entropy(16), version=4)
        if self._take_number(connection, e164, account_id):
            self._locks.arrive(connection, e164)
            connection.execute(
                _OPENING,
                {
                    "id": account_id,
                    "e164": e164,
                    "number_id": self._former_numbers.take(connection, e164),
                    "discoverable": True,
                    "registration_lock": opened_lock,
                    "created_at": now,
                    "last_seen_at": now,
                },
            )
            self._events.list_number(connection, account_id, e164, True)
            return Claim(account_id, reregistered=False)
        account = self._find(connection, e164)
        if account is None:  # it was deleted just now
            return self.claim(connection, e164, opened_lock)
        if now - account.last_seen_at >= RECYCLED_AFTER:
            self._delete(connection, account)
            return self.claim(connection, e164, opened_lock)
        self._remove_devices(connection, account.id, but=returning)
        self._events.change_holder(connection, account.id)
        change_account(
            connection,
            account.id,
            last_seen_at=now,
            registration_lock=opened_lock,
            registration_lock_ends_at=None,
        )
        return Claim(account.id, reregistered=True)

    def publish(self, connection: Connection, e164: str) -> UUID:
        """Give the account of a proven number that was admitted; make it if there is none.

        Unlike `claim` it takes no device from whoever has them, and leaves to them whether the account may
        be found. Nor does it revive a lock that lapsed: a lock lives by the use of its devices.
        """
        now = self._clock()
        account = self._find(connection, e164)
        if account is None or now - account.last_seen_at >= RECYCLED_AFTER:
            return self.claim(connection, e164, None).account_id
        if self._locks.pin_hash(account) is None:
            change_account(connection, account.id, last_seen_at=now)
        return account.id

    def close_if_empty(self, connection: Connection, account_id: UUID) -> None:
        """Delete an account that has no device, unless it has a registration lock, which would be gone."""
        account = find(connection, Account, Account.id == account_id, lock=True)
        if account is None or self._locks.pin_hash(account) is not None:
            return
        if not self._devices.device_ids(connection, account_id):
            self._delete(connection, account)

    def change_number(self, connection: Connection, caller: Caller, e164: str) -> Account:
        """Move the caller's account to a proven number that was admitted; whoever had it is gone.

        Blocks and limits of the number before stay with that, and those of the new one are taken over.
        """
        account = own_account(connection, caller, lock=True)
        if account.e164 == e164:
            return account
        while not self._take_number(connection, e164, account.id):
            other = self._find(connection, e164)
            if other is not None:
                self._delete(connection, other)
        self._locks.arrive(connection, e164)
        self._locks.leave(connection, account)
        self._events.change_holder(connection, account.id)
        self._events.list_number(connection, account.id, account.e164, False)
        connection.execute(delete(AccountNumber).where(AccountNumber.e164 == account.e164))
        number_id = account.number_id or account.id
        self._former_numbers.keep(connection, account.e164, number_id, self._clock())
        self._events.leave_number(connection, account.id, number_id)
        taken_over = self._former_numbers.take(connection, e164)
        account = change_account(
            connection,
            account.id,
            e164=e164,
            number_id=taken_over or UUID(bytes=self._entropy(16), version=4),
        )
        self._events.list_number(connection, account.id, e164, account.discoverable)
        return account

    def admit(
        self,
        connection: Connection,
        e164: str,
        *,
        opened_lock: str | None = None,
        owner: UUID | None = None,
    ) -> None:
        """Refuse while a registration lock guards a number that `opened_lock` did not open.

        The lock of an account that left the number guards it until it would lapse. The account is held from
        here on, so that none is set meanwhile. An account's own lock (`owner`) does not guard against its
        devices, but what they left on a number does. Whether the number is proven is decided elsewhere
        (verification/proofs.py). Raises RegistrationLocked.
        """
        account = self._find(connection, e164, owner=owner)
        if account is None:
            lock = self._locks.left_on(connection, e164)
        elif account.id == owner:
            return
        else:
            lock = self._locks.lock_of(account)
        if lock is not None and lock.pin_hash != opened_lock:
            raise RegistrationLocked(
                "A registration lock guards this number.", retry_after=self._locks.wait(lock)
            )

    @staticmethod
    def _take_number(connection: Connection, e164: str, account_id: UUID) -> bool:
        """Let a number lead to an account, unless it leads to one already."""
        statement = _taking_number(dialect_of(connection))
        taken = connection.execute(statement, {"number": e164, "account": account_id}).one_or_none()
        return taken is not None

    def hold(self, connection: Connection, e164: str) -> UUID | None:
        """Give the account that a number leads to, and hold it; None when it leads nowhere."""
        account = self._find(connection, e164)
        return None if account is None else account.id

    @staticmethod
    def _find(connection: Connection, e164: str, *, owner: UUID | None = None) -> Account | None:
        """Hold the account that a number leads to; `owner`, which is held later, in the order of ids with it.

        Number and account are on different shards, so these are two statements, and what the first said may
        not be so any more when the second has its row.
        """
        for _ in range(MAX_LOOKS):
            account_id = connection.scalar(LEADS_TO, {"number": e164})
            if account_id is None:
                return None
            if owner is not None and owner < account_id:
                # Or two people who swap their numbers would wait for each other.
                connection.execute(_MINE_LOCKED, {"account": owner})
            account = connection.execute(_MINE_LOCKED, {"account": account_id}).one_or_none()
            if account is not None and account.e164 == e164:
                return cast(Account, account)
        raise RuntimeError("a number leads to an account that does not have it")


def change_account(connection: Connection, account_id: UUID, **values: object) -> Account:
    """Change an account whose row the transaction holds; give the row as it is now."""
    accounts = table(Account)
    statement = update(accounts).where(accounts.c.id == account_id).values(values)
    return cast(Account, connection.execute(statement.returning(*accounts.columns)).one())


def own_account(connection: Connection, caller: Caller, *, lock: bool = False) -> Account:
    """Read the caller's account; `lock` keeps others from changing it until the transaction ends."""
    statement = _MINE_LOCKED if lock else _MINE
    account = connection.execute(statement, {"account": caller.account_id}).one_or_none()
    if account is None:
        raise TokenInvalid("Its account was deleted.")
    return cast(Account, account)
