"""Events of accounts and devices, emitted in the transaction that makes the change.

Parts above register listeners in their wiring, so that tokens does not import them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ParamSpec
from uuid import UUID

from sqlalchemy import Connection

P = ParamSpec("P")


class Event(list[Callable[P, None]]):
    """The listeners of one event, called in order."""

    def emit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call every listener."""
        for listener in self:
            listener(*args, **kwargs)


@dataclass
class AccountEvents:
    """All events; each passes the connection of the transaction first."""

    #: account_id, device_id
    device_added: Event[Connection, UUID, UUID] = field(default_factory=Event)
    #: account_id, device_id, last_seen_at: the device is seen again, last seen then.
    device_returned: Event[Connection, UUID, UUID, datetime] = field(default_factory=Event)
    #: account_id, device_ids (at least one): with everything that waits for them.
    devices_removed: Event[Connection, UUID, Sequence[UUID]] = field(default_factory=Event)
    #: account_id, device_id, token_hash: the token with this hash is now the only valid one.
    token_replaced: Event[Connection, UUID, UUID, bytes] = field(default_factory=Event)
    #: account_id, device_id: no token is valid; the device and its mailbox stay.
    token_revoked: Event[Connection, UUID, UUID] = field(default_factory=Event)
    #: account_id, e164, listed: whether the number can be found, and leads to the account.
    listing_changed: Event[Connection, UUID, str, bool] = field(default_factory=Event)
    #: account_id: the number was proven again or given up, so attachments to it by the former holder end.
    holder_changed: Event[Connection, UUID] = field(default_factory=Event)
    #: account_id, number_id: what identifies the number's next account; None: the number is recycled.
    account_deleted: Event[Connection, UUID, UUID | None] = field(default_factory=Event)
    #: account_id, number_id: the account has another number; number_id identifies the former one.
    number_left: Event[Connection, UUID, UUID] = field(default_factory=Event)
    #: number_ids (at least one): they identify nobody any more.
    numbers_forgotten: Event[Connection, Sequence[UUID]] = field(default_factory=Event)
    #: account_id, ends_at: when the registration lock ends, requested without the PIN; None: canceled.
    lock_removal: Event[Connection, UUID, datetime | None] = field(default_factory=Event)
