"""Routes of accounts, devices and device tokens."""

from collections.abc import Mapping
from uuid import UUID

from core.api import Api
from core.parsing import idempotency_key
from core.problems import TooManyConnections
from tokens.accounts import AccountService
from tokens.authenticate import Authenticator, Caller
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
from tokens.registration_lock import RegistrationLockService
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


def render_account(
    account: Account, caller: Caller, locks: RegistrationLockService
) -> AccountAnswer:
    """Render an account for its owner."""
    lock_state = locks.state(account)
    return AccountAnswer(
        account_id=account.id,
        phone_number=account.e164,
        device_id=caller.device_id,
        discoverable=account.discoverable,
        registration_lock=lock_state is not None,
        registration_lock_state=lock_state,
        registration_lock_ends_at=account.registration_lock_ends_at if lock_state else None,
        created_at=account.created_at,
    )


def _render_device(
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
    """Return the account id of a path; raises AccountNotFound for what is no id."""
    try:
        return UUID(path.account_id)
    except ValueError:
        raise AccountNotFound("It was deleted or never existed.") from None


def accounts_api(
    authenticator: Authenticator,
    accounts: AccountService,
    locks: RegistrationLockService,
    lock_changes: LockChangeService,
) -> Api:
    """Build the routes of the caller's account."""
    api = Api(
        "accounts",
        __name__,
        description="The account of the device, and its registration lock",
        authenticate=authenticator.device,
        problems=AUTHENTICATION,
    )

    @api.operation("GET", "/account", answer=AccountAnswer)
    def get_account(caller: Caller) -> AccountAnswer:
        """Show the account of the calling device."""
        return render_account(accounts.get(caller), caller, locks)

    @api.operation("PATCH", "/account", answer=AccountAnswer)
    def change_account(caller: Caller, body: AccountChange) -> AccountAnswer:
        """Set whether people who know the number can find the account."""
        account = accounts.set_discoverable(caller, body.discoverable)
        return render_account(account, caller, locks)

    @api.operation("DELETE", "/account", answer=None, status=204)
    def delete_account(caller: Caller) -> None:
        """Delete the account, its devices and everything that waits for them."""
        accounts.delete(caller)

    @api.operation(
        "PUT",
        "/account/registration-lock",
        answer=None,
        status=204,
        problems=(RegistrationLocked, TooManyPinTries),
    )
    def set_registration_lock(caller: Caller, body: RegistrationLockBody) -> None:
        """Protect the number with a PIN against registration by others.

        Changing the PIN needs the current one. A PIN that is easy to guess is refused.
        """
        lock_changes.set(caller, body.pin, body.current_pin)

    @api.operation(
        "POST",
        "/account/registration-lock/remove",
        answer=AccountAnswer,
        problems=(RegistrationLocked, TooManyPinTries),
    )
    def remove_registration_lock(caller: Caller, body: RegistrationLockRemoval) -> AccountAnswer:
        """Remove the registration lock at once, with its PIN."""
        return render_account(lock_changes.remove(caller, body.pin), caller, locks)

    @api.operation("DELETE", "/account/registration-lock", answer=AccountAnswer)
    def end_registration_lock(caller: Caller) -> AccountAnswer:
        """Remove the registration lock in 7 days, without its PIN; every device is notified."""
        return render_account(lock_changes.schedule_removal(caller), caller, locks)

    @api.operation("POST", "/account/registration-lock/keep", answer=AccountAnswer)
    def keep_registration_lock(caller: Caller) -> AccountAnswer:
        """Cancel the removal of the registration lock."""
        return render_account(lock_changes.cancel_removal(caller), caller, locks)

    return api


def devices_api(
    authenticator: Authenticator, devices: DeviceService, device_tokens: DeviceTokenService
) -> Api:
    """Build the routes of devices and their tokens."""
    api = Api(
        "devices",
        __name__,
        description="Devices and device tokens",
        authenticate=authenticator.device,
        problems=AUTHENTICATION,
    )

    @api.operation("GET", "/devices", answer=DevicesAnswer)
    def list_devices(caller: Caller) -> DevicesAnswer:
        """List the devices of the account."""
        own, mailboxes = devices.list_own(caller)
        return DevicesAnswer(devices=[_render_device(device, caller, mailboxes) for device in own])

    @api.operation("PATCH", "/devices/<device_id>", answer=DeviceAnswer, problems=(DeviceNotFound,))
    def rename_device(caller: Caller, path: DevicePath, body: DeviceChange) -> DeviceAnswer:
        """Rename a device of the account."""
        device, mailboxes = devices.rename(caller, _device_id(path), body.name)
        return _render_device(device, caller, mailboxes)

    @api.operation(
        "DELETE", "/devices/<device_id>", answer=None, status=204, problems=(DeviceNotFound,)
    )
    def remove_device(caller: Caller, path: DevicePath) -> None:
        """Remove a device, its token and everything that waits for it; the calling one logs out."""
        devices.remove(caller, _device_id(path))

    @api.operation("DELETE", "/account/other-devices", answer=RemovedDevices)
    def remove_other_devices(caller: Caller) -> RemovedDevices:
        """Sign out all other devices of the account, with everything that waits for them.

        Link codes end too. Whoever has a copy of the calling device's token stays: rotate it first.
        """
        return RemovedDevices(removed=devices.remove_others(caller))

    @api.operation(
        "POST", "/device-links", answer=LinkAnswer, status=201, problems=(TooManyDevices,)
    )
    def create_device_link(caller: Caller) -> tuple[LinkAnswer, int]:
        """Create a code with which one more device joins; valid for 10 minutes, once."""
        code, expires_at = devices.create_link(caller)
        return LinkAnswer(link_code=code, expires_at=expires_at), 201

    @api.operation(
        "POST",
        "/tokens/rotate",
        answer=RotatedAnswer,
        status=201,
        problems=(TooManyRotations,),
        takes_idempotency_key=True,
    )
    def rotate_token(caller: Caller) -> tuple[RotatedAnswer, int]:
        """Issue the next token; the current one is valid until the next one is first used."""
        return RotatedAnswer(device_token=device_tokens.rotate(caller, idempotency_key())), 201

    @api.operation(
        "GET",
        "/accounts/<account_id>/devices",
        answer=AccountDevicesAnswer,
        problems=(AccountNotFound,),
    )
    def list_account_devices(path: AccountPath) -> AccountDevicesAnswer:
        """List the devices of an account, for each of which a message is encrypted."""
        account_id = parse_account_id(path)
        ids = devices.active_device_ids(account_id)
        if not ids:
            raise AccountNotFound("It was deleted or never existed.")
        return AccountDevicesAnswer(account_id=account_id, devices=[DeviceName(id=i) for i in ids])

    return api


def links_api(devices: DeviceService) -> Api:
    """Build the public route with which a second device joins."""
    api = Api("device links", __name__, description="How a second device joins")

    @api.operation(
        "POST",
        "/device-links/redeem",
        answer=RegisteredDeviceAnswer,
        status=201,
        problems=(LinkCodeInvalid, TooManyDevices),
        takes_idempotency_key=True,
    )
    def redeem_device_link(body: LinkRedemption) -> tuple[RegisteredDeviceAnswer, int]:
        """Join an account with a link code."""
        device = devices.redeem_link(body.link_code, body.device, idempotency_key())
        return RegisteredDeviceAnswer.model_validate(device, from_attributes=True), 201

    return api
