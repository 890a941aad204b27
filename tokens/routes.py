"""Routes of accounts, devices and tokens."""

from collections.abc import Mapping
from uuid import UUID

from flask import current_app

from core.api import Api, idempotency_key
from core.problems import TooManyConnections
from tokens.accounts import AccountService
from tokens.authenticate import Caller, authenticate_device
from tokens.device_tokens import DeviceTokenService
from tokens.devices import DeviceService, MailboxFill
from tokens.lock_changes import LockChangeService
from tokens.models import Account, Device
from tokens.problems import (
    AccountNotFound,
    DeviceNotFound,
    LinkCodeInvalid,
    RegistrationLocked,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    TokenReused,
    TooManyDevices,
    TooManyPinTries,
    TooManyRotations,
)
from tokens.schemas import (
    AccountAnswer,
    AccountChange,
    AccountDevicesAnswer,
    AccountPath,
    DeviceAnswer,
    DeviceChange,
    DeviceName,
    DevicePath,
    DevicesAnswer,
    LinkAnswer,
    LinkRedemption,
    MailboxFillAnswer,
    RegisteredDeviceAnswer,
    RegistrationLockBody,
    RegistrationLockRemoval,
    RemovedDevices,
    RotatedAnswer,
)

AUTHENTICATION = (TokenMissing, TokenInvalid, TokenExpired, TokenReused, TooManyConnections)

accounts_api = Api(
    "accounts",
    __name__,
    description="Accounts, devices and device tokens",
    authenticate=authenticate_device,
    problems=AUTHENTICATION,
)
links_api = Api("device links", __name__, description="How a second device joins")


def _accounts() -> AccountService:
    service: AccountService = current_app.extensions["kith"].tokens.accounts
    return service


def _lock_changes() -> LockChangeService:
    service: LockChangeService = current_app.extensions["kith"].tokens.lock_changes
    return service


def _devices() -> DeviceService:
    service: DeviceService = current_app.extensions["kith"].tokens.devices
    return service


def render_account(account: Account, caller: Caller) -> AccountAnswer:
    """Render an account for its owner."""
    lock_state, lock_ends_at = _lock_changes().status(account)
    return AccountAnswer(
        account_id=account.id,
        phone_number=account.e164,
        device_id=caller.device_id,
        discoverable=account.discoverable,
        registration_lock=lock_state is not None,
        registration_lock_state=lock_state,
        registration_lock_ends_at=lock_ends_at,
        created_at=account.created_at,
    )


def _show_device(
    device: Device, caller: Caller, mailboxes: Mapping[UUID, MailboxFill]
) -> DeviceAnswer:
    fill = mailboxes.get(device.id)
    return DeviceAnswer(
        id=device.id,
        name=device.name,
        platform=device.platform,
        created_at=device.created_at,
        last_seen_at=device.last_seen_at,
        token_revoked_at=device.token_revoked_at,
        current=device.id == caller.device_id,
        mailbox=None if fill is None else MailboxFillAnswer(**fill._asdict()),
    )


def _device_id(path: DevicePath) -> UUID:
    try:
        return UUID(path.device_id)
    except ValueError:
        raise DeviceNotFound("GET /v1/devices lists the devices of this account.") from None


def parse_account_id(path: AccountPath) -> UUID:
    """Read the account that a path names; raises AccountNotFound for what cannot be one."""
    try:
        return UUID(path.account_id)
    except ValueError:
        raise AccountNotFound("It was deleted, or never was.") from None


@accounts_api.operation("GET", "/account", answer=AccountAnswer)
def get_account(caller: Caller) -> AccountAnswer:
    """Show the account of the calling device."""
    return render_account(_accounts().get(caller), caller)


@accounts_api.operation("PATCH", "/account", answer=AccountAnswer)
def change_account(caller: Caller, body: AccountChange) -> AccountAnswer:
    """Change whether people who know the number find the account."""
    return render_account(_accounts().set_discoverable(caller, body.discoverable), caller)


@accounts_api.operation("DELETE", "/account", answer=None, status=204)
def delete_account(caller: Caller) -> None:
    """Delete the account, its devices and everything that waits for them."""
    _accounts().delete(caller)


@accounts_api.operation(
    "PUT",
    "/account/registration-lock",
    answer=None,
    status=204,
    problems=(RegistrationLocked, TooManyPinTries),
)
def set_registration_lock(caller: Caller, body: RegistrationLockBody) -> None:
    """Guard the number with a PIN against registration by someone else.

    The PIN that is set is needed to change it. One that is easy to guess is refused.
    """
    _lock_changes().set(caller, body.pin, body.current_pin)


@accounts_api.operation(
    "POST",
    "/account/registration-lock/remove",
    answer=AccountAnswer,
    problems=(RegistrationLocked, TooManyPinTries),
)
def remove_registration_lock(caller: Caller, body: RegistrationLockRemoval) -> AccountAnswer:
    """Remove the registration lock at once, with its PIN."""
    return render_account(_lock_changes().remove(caller, body.pin), caller)


@accounts_api.operation("DELETE", "/account/registration-lock", answer=AccountAnswer)
def end_registration_lock(caller: Caller) -> AccountAnswer:
    """Remove the registration lock without its PIN: in 7 days, and every device is told."""
    return render_account(_lock_changes().schedule_removal(caller), caller)


@accounts_api.operation("POST", "/account/registration-lock/keep", answer=AccountAnswer)
def keep_registration_lock(caller: Caller) -> AccountAnswer:
    """Keep the registration lock that was to be removed."""
    return render_account(_lock_changes().cancel_removal(caller), caller)


@accounts_api.operation("GET", "/devices", answer=DevicesAnswer)
def list_devices(caller: Caller) -> DevicesAnswer:
    """List the devices of the account."""
    devices, mailboxes = _devices().list_own(caller)
    return DevicesAnswer(devices=[_show_device(device, caller, mailboxes) for device in devices])


@accounts_api.operation(
    "PATCH", "/devices/<device_id>", answer=DeviceAnswer, problems=(DeviceNotFound,)
)
def rename_device(caller: Caller, path: DevicePath, body: DeviceChange) -> DeviceAnswer:
    """Rename a device of the account."""
    device, mailboxes = _devices().rename(caller, _device_id(path), body.name)
    return _show_device(device, caller, mailboxes)


@accounts_api.operation(
    "DELETE", "/devices/<device_id>", answer=None, status=204, problems=(DeviceNotFound,)
)
def remove_device(caller: Caller, path: DevicePath) -> None:
    """Remove a device, its token and everything that waits for it; the calling one logs out."""
    _devices().remove(caller, _device_id(path))


@accounts_api.operation("DELETE", "/account/other-devices", answer=RemovedDevices)
def remove_other_devices(caller: Caller) -> RemovedDevices:
    """Sign out all devices of the account but the calling one, with everything that waits for them.

    Link codes end too. Whoever holds a copy of the calling device's token stays: rotate that first.
    """
    return RemovedDevices(removed=_devices().remove_others(caller))


@accounts_api.operation(
    "POST", "/device-links", answer=LinkAnswer, status=201, problems=(TooManyDevices,)
)
def create_device_link(caller: Caller) -> tuple[LinkAnswer, int]:
    """Make a code with which one more device joins; good for 10 minutes, once."""
    code, expires_at = _devices().create_link(caller)
    return LinkAnswer(link_code=code, expires_at=expires_at), 201


@links_api.operation(
    "POST",
    "/device-links/redeem",
    answer=RegisteredDeviceAnswer,
    status=201,
    problems=(LinkCodeInvalid, TooManyDevices),
    takes_idempotency_key=True,
)
def redeem_device_link(body: LinkRedemption) -> tuple[RegisteredDeviceAnswer, int]:
    """Join an account with a link code."""
    joined = _devices().redeem_link(body.link_code, body.device, idempotency_key())
    return RegisteredDeviceAnswer.model_validate(joined, from_attributes=True), 201


@accounts_api.operation(
    "POST",
    "/tokens/rotate",
    answer=RotatedAnswer,
    status=201,
    problems=(TooManyRotations,),
    takes_idempotency_key=True,
)
def rotate_token(caller: Caller) -> tuple[RotatedAnswer, int]:
    """TokenIssuer the next token; the old one works until the new one is first used, and never after."""
    tokens: DeviceTokenService = current_app.extensions["kith"].tokens.device_tokens
    return RotatedAnswer(device_token=tokens.rotate(caller, idempotency_key())), 201


@accounts_api.operation(
    "GET",
    "/accounts/<account_id>/devices",
    answer=AccountDevicesAnswer,
    problems=(AccountNotFound,),
)
def list_account_devices(path: AccountPath) -> AccountDevicesAnswer:
    """List the devices of an account, to encrypt for each."""
    account_id = parse_account_id(path)
    ids = _devices().active_device_ids(account_id)
    if not ids:
        raise AccountNotFound("It was deleted, or never was.")
    return AccountDevicesAnswer(account_id=account_id, devices=[DeviceName(id=i) for i in ids])
