"""What other parts are told when accounts and devices change, in the same transaction.

Owns the list of listeners; app.py connects them, so that tokens knows nobody above it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection


@dataclass
class AccountEvents:
    """Listeners by event; each is called with the connection of the transaction that changes things."""

    #: (connection, account_id, device_id)
    device_added: list[Callable[[Connection, UUID, UUID], None]] = field(default_factory=list)
    #: (connection, account_id, device_id, last_seen_at): it is seen again, after so long.
    device_returned: list[Callable[[Connection, UUID, UUID, datetime], None]] = field(
        default_factory=list
    )
    #: (connection, account_id, device_ids)
    devices_removed: list[Callable[[Connection, UUID, Sequence[UUID]], None]] = field(
        default_factory=list
    )
    #: (connection, account_id, device_id, token_hash): its newer token, whose hash this is, is in use, so
    #: the one before is worth nothing.
    token_replaced: list[Callable[[Connection, UUID, UUID, bytes], None]] = field(
        default_factory=list
    )
    #: (connection, account_id, device_id): its tokens were revoked; it stays, with all that waits for it.
    token_revoked: list[Callable[[Connection, UUID, UUID], None]] = field(default_factory=list)
    #: (connection, account_id, e164, listed): whether the number may be found, and leads to whom.
    listing_changed: list[Callable[[Connection, UUID, str, bool], None]] = field(
        default_factory=list
    )

    #: (connection, account_id): its number was proven anew, or is its number no more, so that whatever
    #: somebody attached to the number is not its holder's.
    holder_changed: list[Callable[[Connection, UUID], None]] = field(default_factory=list)
    #: (connection, account_id, number_id): the account is gone, and its id never comes back; whoever has
    #: its number next is known by `number_id` again. None: the number is a new person's.
    account_deleted: list[Callable[[Connection, UUID, UUID | None], None]] = field(
        default_factory=list
    )
    #: (connection, account_id, number_id): the account has another number from now on; whoever has the
    #: one before next is known by `number_id`.
    number_left: list[Callable[[Connection, UUID, UUID], None]] = field(default_factory=list)
    #: (connection, number_ids): nobody is known by these any more.
    numbers_forgotten: list[Callable[[Connection, Sequence[UUID]], None]] = field(
        default_factory=list
    )

    #: (connection, account_id, ends_at): somebody asked without the PIN to remove the registration lock; it
    #: ends then. None: it stays.
    lock_removal: list[Callable[[Connection, UUID, datetime | None], None]] = field(
        default_factory=list
    )

    def announce_lock_removal(
        self, connection: Connection, account_id: UUID, ends_at: datetime | None
    ) -> None:
        """Tell when the registration lock of an account ends."""
        for listener in self.lock_removal:
            listener(connection, account_id, ends_at)

    def add_device(self, connection: Connection, account_id: UUID, device_id: UUID) -> None:
        """Tell that a device joined an account."""
        for listener in self.device_added:
            listener(connection, account_id, device_id)

    def return_device(
        self, connection: Connection, account_id: UUID, device_id: UUID, last_seen_at: datetime
    ) -> None:
        """Tell that a device is seen again that was last seen at a time."""
        for listener in self.device_returned:
            listener(connection, account_id, device_id, last_seen_at)

    def remove_devices(
        self, connection: Connection, account_id: UUID, device_ids: Sequence[UUID]
    ) -> None:
        """Tell that devices are gone, with everything that waits for them."""
        if device_ids:
            for listener in self.devices_removed:
                listener(connection, account_id, device_ids)

    def replace_token(
        self, connection: Connection, account_id: UUID, device_id: UUID, token_hash: bytes
    ) -> None:
        """Tell that a device's token was replaced by the newer one with this hash."""
        for listener in self.token_replaced:
            listener(connection, account_id, device_id, token_hash)

    def revoke_token(self, connection: Connection, account_id: UUID, device_id: UUID) -> None:
        """Tell that a device has no valid token any more."""
        for listener in self.token_revoked:
            listener(connection, account_id, device_id)

    def list_number(
        self, connection: Connection, account_id: UUID, e164: str, listed: bool
    ) -> None:
        """Tell whether a number may be found now."""
        for listener in self.listing_changed:
            listener(connection, account_id, e164, listed)

    def change_holder(self, connection: Connection, account_id: UUID) -> None:
        """Tell that whoever holds an account's number now need not be who held it before."""
        for listener in self.holder_changed:
            listener(connection, account_id)

    def delete_account(
        self, connection: Connection, account_id: UUID, number_id: UUID | None
    ) -> None:
        """Tell that an account is gone, and what its number is known by from now on."""
        for listener in self.account_deleted:
            listener(connection, account_id, number_id)

    def leave_number(self, connection: Connection, account_id: UUID, number_id: UUID) -> None:
        """Tell that an account has another number, and what the one before is known by."""
        for listener in self.number_left:
            listener(connection, account_id, number_id)

    def forget_numbers(self, connection: Connection, number_ids: Sequence[UUID]) -> None:
        """Tell that numbers are a new person's, who owes nothing."""
        if number_ids:
            for listener in self.numbers_forgotten:
                listener(connection, number_ids)
