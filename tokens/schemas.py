"""Requests and answers about accounts, devices and tokens."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from core.parsing import Answer, Body, Name, printable
from tokens.pins import MIN_LENGTH

#: The PIN of an existing lock; the minimum was four characters once.
Pin = Annotated[str, StringConstraints(min_length=4, max_length=64), AfterValidator(printable)]
NewPin = Annotated[
    str, StringConstraints(min_length=MIN_LENGTH, max_length=64), AfterValidator(printable)
]
LockState = Literal["active", "lapsed"]


class DeviceDescription(Body):
    """Name and platform of a device."""

    name: Name | None = None
    platform: (
        Annotated[str, StringConstraints(min_length=1, max_length=50), AfterValidator(printable)]
        | None
    ) = None


class AccountAnswer(Answer):
    """The caller's account."""

    account_id: UUID
    phone_number: str
    device_id: UUID
    discoverable: bool
    registration_lock: bool = Field(description="Whether a PIN is set.")
    registration_lock_state: LockState | None = Field(
        description="`lapsed`: no device was used for 7 days, and until one is the PIN protects nothing."
    )
    registration_lock_ends_at: datetime | None = Field(
        description="When the lock is removed, because a device requested that without the PIN."
    )
    created_at: datetime


class AccountChange(Body):
    """Changes of an account."""

    discoverable: bool


class RegistrationLockBody(Body):
    """The PIN of a registration lock: six digits, or 6 to 64 characters, hard to guess."""

    pin: NewPin
    current_pin: Pin | None = Field(None, description="Required if a PIN is set.")


class RegistrationLockRemoval(Body):
    """The PIN of the registration lock to remove."""

    pin: Pin


class MailboxFillAnswer(Answer):
    """Contents and capacity of a device's mailbox."""

    messages: int
    bytes: int
    max_messages: int
    max_bytes: int


class DeviceAnswer(Answer):
    """One device."""

    id: UUID
    name: str | None
    platform: str | None
    created_at: datetime
    last_seen_at: datetime
    token_revoked_at: datetime | None = Field(
        description="When it was signed out; its mailbox is kept for 30 days."
    )
    current: bool
    mailbox: MailboxFillAnswer | None = Field(description="What waits for it, and its capacity.")


class DevicesAnswer(Answer):
    """The devices of the caller's account."""

    devices: list[DeviceAnswer]


class RemovedDevices(Answer):
    """The devices that were signed out."""

    removed: list[UUID]


class DeviceChange(Body):
    """Changes of a device."""

    name: Name


class DevicePath(BaseModel):
    """A device of the caller's account."""

    device_id: str = Field(max_length=64)


class AccountPath(BaseModel):
    """An account."""

    account_id: str = Field(max_length=64)


class LinkAnswer(Answer):
    """A link code for the new device."""

    link_code: str
    expires_at: datetime


class LinkRedemption(Body):
    """A link code and the device that redeems it."""

    link_code: Annotated[str, Field(max_length=128)]
    device: DeviceDescription = DeviceDescription()


class RegisteredDeviceAnswer(Answer):
    """A device and its token."""

    account_id: UUID
    device_id: UUID
    device_token: str


class RotatedAnswer(Answer):
    """The next token of the device."""

    device_token: str


class DeviceName(Answer):
    """The id of a device."""

    id: UUID


class AccountDevicesAnswer(Answer):
    """The devices of an account, for each of which a message is encrypted."""

    account_id: UUID
    devices: list[DeviceName]
