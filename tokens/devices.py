"""Devices: how they join an account, with a token of their own, and how they leave it.

Owns the devices of an account and the link codes for more. Refuses more of them than the setting allows,
and anyone's hands on another account's.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

import structlog
from sqlalchemy import Connection, delete, func, select, update

from core import idempotency
from core.database import Database, find, find_all, purge, table
from core.typed_text import visible
from tokens.events import AccountEvents
from tokens.models import Account, Device, DeviceLink, RetiredToken
from tokens.problems import (
    DeviceNotFound,
    LinkCodeInvalid,
    TooManyDevices,
)
from tokens.schemas import DeviceDescription
from tokens.token_issuer import LINK_PREFIX, SECRET_SIZE, TOKEN_PREFIX, Credential, TokenIssuer

log = structlog.get_logger()

LINK_LIFETIME = timedelta(minutes=10)
#: A device that was not seen for so long gets no messages while another one of its account does.
IDLE_AFTER = timedelta(days=30)


_DEVICES = table(Device).c
_ADDING = table(Device).insert()


@dataclass(frozen=True)
class Caller:
    """The device that makes a request."""

    account_id: UUID
    device_id: UUID
    token_hash: bytes
    #: What stands for the account's number in blocks and limits; None: the account's id does.
    number_id: UUID | None = None

    @property
    def subject(self) -> bytes:
        """Whose the limits are: the number's, so that a new account of it goes on with them."""
        return (self.number_id or self.account_id).bytes


@dataclass(frozen=True)
class RegisteredDevice:
    """A device that just got its token."""

    account_id: UUID
    device_id: UUID
    device_token: str


class MailboxFill(NamedTuple):
    """What waits for a device, and how much may."""

    messages: int
    bytes: int
    max_messages: int
    max_bytes: int


class DeviceService:
    """Adds, links, lists, renames and removes devices."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        entropy: Callable[[int], bytes],
        mint: TokenIssuer,
        events: AccountEvents,
        max_devices: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._entropy = entropy
        self._mint = mint
        self._events = events
        self._max_devices = max_devices
        #: Reads how full the mailboxes of devices are; messaging knows.
        self.mailboxes_of: Callable[[Connection, Sequence[UUID]], Mapping[UUID, MailboxFill]] = (
            lambda connection, device_ids: {}
        )

    def add(
        self,
        connection: Connection,
        account_id: UUID,
        device_id: UUID,
        description: DeviceDescription,
        secret: bytes,
    ) -> RegisteredDevice:
        """Add a device in the caller's transaction and give it its token."""
        now = self._clock()
        credential = Credential((account_id, device_id), secret)
        connection.execute(
            _ADDING,
            {
                "account_id": account_id,
                "id": device_id,
                "name": description.name,
                "platform": description.platform,
                "token_hash": credential.secret_hash,
                "created_at": now,
                "last_seen_at": now,
            },
        )
        self._events.add_device(connection, account_id, device_id)
        return RegisteredDevice(account_id, device_id, credential.format(TOKEN_PREFIX))

    def joined_again(
        self, connection: Connection, account_id: UUID, device_id: UUID, secrets: list[bytes]
    ) -> RegisteredDevice | None:
        """Give a device its token again if it is still the one made from one of the secrets."""
        stored = connection.scalar(
            select(Device.token_hash).where(Device.account_id == account_id, Device.id == device_id)
        )
        for secret in secrets:
            credential = Credential((account_id, device_id), secret)
            if stored is not None and hmac.compare_digest(stored, credential.secret_hash):
                return RegisteredDevice(account_id, device_id, credential.format(TOKEN_PREFIX))
        return None

    def create_link(self, caller: Caller) -> tuple[str, datetime]:
        """Make a link code for one more device; it replaces codes that were not redeemed."""
        credential = Credential((caller.account_id,), self._entropy(SECRET_SIZE))
        expires_at = self._clock() + LINK_LIFETIME
        with self._database.write(adds=True) as connection:
            self._refuse_too_many(connection, caller.account_id)
            self.end_links(connection, caller.account_id)
            connection.execute(
                table(DeviceLink)
                .insert()
                .values(
                    account_id=caller.account_id,
                    code_hash=credential.secret_hash,
                    expires_at=expires_at,
                )
            )
        return credential.format(LINK_PREFIX), expires_at

    def redeem_link(
        self, code: str, description: DeviceDescription, idempotency_key: str | None
    ) -> RegisteredDevice:
        """Add a device by its link code, once; the same idempotency key gets the same token.

        A key that is short enough to be somebody else's too gets nothing again.
        """
        if not idempotency.is_secret(idempotency_key):
            idempotency_key = None
        # Pasted with what a messenger or a terminal's line end put around it or into it.
        credential = Credential.parse(LINK_PREFIX, 1, visible(code).replace(" ", ""))
        if credential is None:
            raise LinkCodeInvalid("It is not a link code, or was cut short or altered.")
        (account_id,) = credential.ids
        code_hash = credential.secret_hash
        occasion = b"link" + code_hash + description.model_dump_json().encode()
        secrets = self._mint.secrets(occasion, idempotency_key)
        device_id = UUID(bytes=self._entropy(16), version=4)
        here = (DeviceLink.account_id == account_id, DeviceLink.code_hash == code_hash)
        with self._database.write(adds=True) as connection:
            # Devices of one account join one after the other, or two could take the last place.
            connection.execute(select(Account.id).where(Account.id == account_id).with_for_update())
            claimed = connection.execute(
                update(DeviceLink)
                .where(*here, DeviceLink.device_id.is_(None), DeviceLink.expires_at > self._clock())
                .values(device_id=device_id)
            )
            if cast(Any, claimed).rowcount:
                self._refuse_too_many(connection, account_id)
                return self.add(connection, account_id, device_id, description, secrets[0])
            earlier = connection.scalar(select(DeviceLink.device_id).where(*here))
            if earlier is not None and idempotency_key is not None:
                again = self.joined_again(connection, account_id, earlier, secrets)
                if again is not None:
                    return again
        raise LinkCodeInvalid("It is unknown, expired, replaced or used; make a new one.")

    def _refuse_too_many(self, connection: Connection, account_id: UUID) -> None:
        count = connection.scalar(
            select(func.count()).select_from(Device).where(Device.account_id == account_id)
        )
        if count is not None and count >= self._max_devices:
            raise TooManyDevices(f"It has {count}, the most it may; remove one first.")

    def of_caller(self, caller: Caller) -> tuple[list[Device], Mapping[UUID, MailboxFill]]:
        """Give the devices of the caller's account, oldest first, and how full their mailboxes are."""
        with self._database.read() as connection:
            devices = self.of_account(connection, caller.account_id)
            return devices, self.mailboxes_of(connection, [device.id for device in devices])

    @staticmethod
    def of_account(connection: Connection, account_id: UUID) -> list[Device]:
        """Give the devices of an account, oldest first."""
        theirs = select(*table(Device).columns).where(_DEVICES.account_id == account_id)
        return find_all(connection, Device, theirs.order_by(_DEVICES.created_at, _DEVICES.id))

    @staticmethod
    def device_ids(connection: Connection, account_id: UUID) -> list[UUID]:
        """Give the ids of an account's devices; none when there is no such account."""
        return sorted(connection.scalars(select(Device.id).where(Device.account_id == account_id)))

    def active_device_ids(self, account_id: UUID) -> list[UUID]:
        """Give the ids of the devices that messages to an account are for.

        Idle ones are left out, unless all are idle: nobody can say which of them will be used next.
        """
        with self._database.read() as connection:
            found = connection.execute(
                select(_DEVICES.id, _DEVICES.last_seen_at)
                .where(_DEVICES.account_id == account_id)
                .order_by(_DEVICES.id)
            ).all()
        since = self._clock() - IDLE_AFTER
        active = [device.id for device in found if device.last_seen_at > since]
        return active or [device.id for device in found]

    def rename(
        self, caller: Caller, device_id: UUID, name: str
    ) -> tuple[Device, Mapping[UUID, MailboxFill]]:
        """Rename a device of the caller's account; give it, and how full its mailbox is."""
        with self._database.write() as connection:
            here = (Device.account_id == caller.account_id, Device.id == device_id)
            connection.execute(update(Device).where(*here).values(name=name))
            device = find(connection, Device, *here)
            mailboxes = self.mailboxes_of(connection, [device_id])
        if device is None:
            raise DeviceNotFound("GET /v1/devices lists the devices of this account.")
        return device, mailboxes

    def remove(self, caller: Caller, device_id: UUID) -> None:
        """Remove a device of the caller's account, with its token and all that waits for it."""
        with self._database.write() as connection:
            if not self.remove_devices(connection, caller.account_id, [device_id]):
                raise DeviceNotFound("GET /v1/devices lists the devices of this account.")

    def remove_others(self, caller: Caller) -> list[UUID]:
        """Remove all devices of the caller's account but the calling one; give those that were there."""
        with self._database.write() as connection:
            # Held, so that none joins meanwhile.
            held = select(Account.id).where(Account.id == caller.account_id).with_for_update()
            connection.execute(held)
            ids = self.device_ids(connection, caller.account_id)
            others = [one for one in ids if one != caller.device_id]
            self.end_links(connection, caller.account_id)
            return self.remove_devices(connection, caller.account_id, others) if others else []

    def remove_devices(
        self, connection: Connection, account_id: UUID, device_ids: list[UUID]
    ) -> list[UUID]:
        """Remove devices in the caller's transaction; give those that were there."""
        here = (Device.account_id == account_id, Device.id.in_(device_ids))
        gone = list(connection.scalars(delete(Device).where(*here).returning(Device.id)))
        connection.execute(
            delete(RetiredToken).where(
                RetiredToken.account_id == account_id, RetiredToken.device_id.in_(gone)
            )
        )
        self._events.remove_devices(connection, account_id, gone)
        if gone:
            self.end_links(connection, account_id)
        return gone

    @staticmethod
    def end_links(connection: Connection, account_id: UUID) -> None:
        """End the link codes of an account that were not redeemed.

        A code made by a device that is gone, or by whoever stole its token, must not let another one in.
        """
        connection.execute(
            delete(DeviceLink).where(
                DeviceLink.account_id == account_id, DeviceLink.device_id.is_(None)
            )
        )

    @staticmethod
    def purge_links(connection: Connection, now: datetime) -> int:
        """Delete a batch of link codes, a day after they expired."""
        return purge(connection, DeviceLink, DeviceLink.expires_at < now - timedelta(days=1))
