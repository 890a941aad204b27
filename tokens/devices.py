"""Devices of an account: added by registration or link code, listed, renamed and removed."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast
from uuid import UUID

from sqlalchemy import Connection, delete, func, select, update

from core import idempotency
from core.database import Database, find, find_all, purge, table
from core.typed_text import visible
from tokens.events import AccountEvents
from tokens.models import Account, Device, DeviceLink, RetiredToken
from tokens.problems import DeviceNotFound, LinkCodeInvalid, TooManyDevices
from tokens.schemas import DeviceDescription
from tokens.token_issuer import LINK_PREFIX, SECRET_SIZE, TOKEN_PREFIX, Credential, TokenIssuer

LINK_LIFETIME = timedelta(minutes=10)
#: A device unseen for this long gets no messages, unless all devices of its account are idle.
IDLE_AFTER = timedelta(days=30)

_DEVICES = table(Device).c
_INSERT_DEVICE = table(Device).insert()


@dataclass(frozen=True)
class Caller:
    """The device that makes a request."""

    account_id: UUID
    device_id: UUID
    token_hash: bytes
    #: Identifies the account's number in blocks and limits; None: the account's id does.
    number_id: UUID | None = None

    @property
    def subject(self) -> bytes:
        """Subject of limits: the number, so that they outlive the account."""
        return (self.number_id or self.account_id).bytes


@dataclass(frozen=True)
class RegisteredDevice:
    """A device and its new token."""

    account_id: UUID
    device_id: UUID
    device_token: str


class MailboxFill(NamedTuple):
    """What waits in the mailbox of a device, and how much it can hold."""

    messages: int
    bytes: int
    max_messages: int
    max_bytes: int


#: Reads how full the mailboxes of devices are.
ReadMailboxFills = Callable[[Connection, Sequence[UUID]], Mapping[UUID, MailboxFill]]


@dataclass
class DeviceService:
    """Adds, links, lists, renames and removes devices."""

    database: Database
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    issuer: TokenIssuer
    events: AccountEvents
    max_devices: int
    #: Set by messaging, which is built later.
    mailbox_fills: ReadMailboxFills = field(default=lambda connection, device_ids: {})

    def add(
        self,
        connection: Connection,
        account_id: UUID,
        device_id: UUID,
        description: DeviceDescription,
        secret: bytes,
    ) -> RegisteredDevice:
        """Add a device and issue its token, in the caller's transaction."""
        now = self.clock()
        credential = Credential((account_id, device_id), secret)
        connection.execute(
            _INSERT_DEVICE,
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
        self.events.device_added.emit(connection, account_id, device_id)
        return RegisteredDevice(account_id, device_id, credential.format(TOKEN_PREFIX))

    def reissue(
        self, connection: Connection, account_id: UUID, device_id: UUID, secrets: list[bytes]
    ) -> RegisteredDevice | None:
        """Return a device's token again if it is still the one made from one of the secrets; else None."""
        stored = connection.scalar(
            select(Device.token_hash).where(Device.account_id == account_id, Device.id == device_id)
        )
        for secret in secrets:
            credential = Credential((account_id, device_id), secret)
            if stored is not None and hmac.compare_digest(stored, credential.secret_hash):
                return RegisteredDevice(account_id, device_id, credential.format(TOKEN_PREFIX))
        return None

    def create_link(self, caller: Caller) -> tuple[str, datetime]:
        """Create a link code for one more device; return it and its expiry. Unredeemed codes end."""
        credential = Credential((caller.account_id,), self.entropy(SECRET_SIZE))
        expires_at = self.clock() + LINK_LIFETIME
        with self.database.write(adds=True) as connection:
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
        """Add a device with a link code, once; a repeat with the same idempotency key gets the same token.

        Short keys are ignored: another client could choose the same one. Raises LinkCodeInvalid or
        TooManyDevices.
        """
        if not idempotency.is_secret(idempotency_key):
            idempotency_key = None
        # Messengers and terminals add white space and line ends to what is pasted.
        credential = Credential.parse(LINK_PREFIX, 1, visible(code).replace(" ", ""))
        if credential is None:
            raise LinkCodeInvalid("It is not a link code, or was truncated or altered.")
        (account_id,) = credential.ids
        code_hash = credential.secret_hash
        context = b"link" + code_hash + description.model_dump_json().encode()
        secrets = self.issuer.secrets(context, idempotency_key)
        device_id = UUID(bytes=self.entropy(16), version=4)
        here = (DeviceLink.account_id == account_id, DeviceLink.code_hash == code_hash)
        with self.database.write(adds=True) as connection:
            # Serialize the devices that join an account: two could take the last place.
            connection.execute(select(Account.id).where(Account.id == account_id).with_for_update())
            claimed = connection.execute(
                update(DeviceLink)
                .where(*here, DeviceLink.device_id.is_(None), DeviceLink.expires_at > self.clock())
                .values(device_id=device_id)
            )
            if cast(Any, claimed).rowcount:
                self._refuse_too_many(connection, account_id)
                return self.add(connection, account_id, device_id, description, secrets[0])
            earlier = connection.scalar(select(DeviceLink.device_id).where(*here))
            if earlier is not None and idempotency_key is not None:
                again = self.reissue(connection, account_id, earlier, secrets)
                if again is not None:
                    return again
        raise LinkCodeInvalid("It is unknown, expired, replaced or used. Create a new one.")

    def _refuse_too_many(self, connection: Connection, account_id: UUID) -> None:
        count = connection.scalar(
            select(func.count()).select_from(Device).where(Device.account_id == account_id)
        )
        if count is not None and count >= self.max_devices:
            raise TooManyDevices(f"It has {count}, the maximum. Remove one first.")

    def list_own(self, caller: Caller) -> tuple[list[Device], Mapping[UUID, MailboxFill]]:
        """Return the devices of the caller's account, oldest first, and how full their mailboxes are."""
        with self.database.read() as connection:
            devices = self.list_by_account(connection, caller.account_id)
            return devices, self.mailbox_fills(connection, [device.id for device in devices])

    @staticmethod
    def list_by_account(connection: Connection, account_id: UUID) -> list[Device]:
        """Return the devices of an account, oldest first."""
        devices = select(*table(Device).columns).where(_DEVICES.account_id == account_id)
        return find_all(connection, Device, devices.order_by(_DEVICES.created_at, _DEVICES.id))

    @staticmethod
    def device_ids(connection: Connection, account_id: UUID) -> list[UUID]:
        """Return the sorted ids of an account's devices; none if there is no such account."""
        return sorted(connection.scalars(select(Device.id).where(Device.account_id == account_id)))

    def active_device_ids(self, account_id: UUID) -> list[UUID]:
        """Return the ids of the devices that messages to an account are for.

        Idle devices are left out, unless all are idle: any of them may be used next.
        """
        with self.database.read() as connection:
            found = connection.execute(
                select(_DEVICES.id, _DEVICES.last_seen_at)
                .where(_DEVICES.account_id == account_id)
                .order_by(_DEVICES.id)
            ).all()
        since = self.clock() - IDLE_AFTER
        active = [device.id for device in found if device.last_seen_at > since]
        return active or [device.id for device in found]

    def rename(
        self, caller: Caller, device_id: UUID, name: str
    ) -> tuple[Device, Mapping[UUID, MailboxFill]]:
        """Rename a device of the caller's account; return it and how full its mailbox is."""
        with self.database.write() as connection:
            here = (Device.account_id == caller.account_id, Device.id == device_id)
            connection.execute(update(Device).where(*here).values(name=name))
            device = find(connection, Device, *here)
            mailboxes = self.mailbox_fills(connection, [device_id])
        if device is None:
            raise DeviceNotFound("GET /v1/devices lists the devices of this account.")
        return device, mailboxes

    def remove(self, caller: Caller, device_id: UUID) -> None:
        """Remove a device of the caller's account, with its token and everything that waits for it."""
        with self.database.write() as connection:
            if not self.remove_devices(connection, caller.account_id, [device_id]):
                raise DeviceNotFound("GET /v1/devices lists the devices of this account.")

    def remove_others(self, caller: Caller) -> list[UUID]:
        """Remove all other devices of the caller's account; return their ids."""
        with self.database.write() as connection:
            # Locked so that no device joins meanwhile.
            locked = select(Account.id).where(Account.id == caller.account_id).with_for_update()
            connection.execute(locked)
            ids = self.device_ids(connection, caller.account_id)
            others = [one for one in ids if one != caller.device_id]
            self.end_links(connection, caller.account_id)
            return self.remove_devices(connection, caller.account_id, others) if others else []

    def remove_devices(
        self, connection: Connection, account_id: UUID, device_ids: list[UUID]
    ) -> list[UUID]:
        """Remove devices in the caller's transaction; return the ids that existed."""
        here = (Device.account_id == account_id, Device.id.in_(device_ids))
        gone = list(connection.scalars(delete(Device).where(*here).returning(Device.id)))
        connection.execute(
            delete(RetiredToken).where(
                RetiredToken.account_id == account_id, RetiredToken.device_id.in_(gone)
            )
        )
        if gone:
            self.events.devices_removed.emit(connection, account_id, gone)
            self.end_links(connection, account_id)
        return gone

    @staticmethod
    def end_links(connection: Connection, account_id: UUID) -> None:
        """Delete the unredeemed link codes of an account.

        A code created by a removed device, or with its stolen token, must not admit another one.
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
