"""Calls about this account: its registration lock, devices, tokens and push subscription."""

from kith.api import ApiCalls, new_idempotency_key, path_segment, without_none
from kith.models import (
    Account,
    Answer,
    Device,
    DeviceLink,
    PushParameters,
    PushSubscription,
    base64url,
)
from kith.problems import AccountNotFound, DeviceNotFound, PushSubscriptionNotFound, TokenInvalid

_LOCK = "/v1/account/registration-lock"
_PUSH = "/v1/push-subscription"


class _Devices(Answer, frozen=True):
    devices: tuple[Device, ...]


class _DeviceId(Answer, frozen=True):
    id: str


class _AccountDevices(Answer, frozen=True):
    devices: tuple[_DeviceId, ...]


class _RemovedDevices(Answer, frozen=True):
    removed: tuple[str, ...]


class _RotatedToken(Answer, frozen=True):
    secret = frozenset({"device_token"})
    device_token: str


class AccountCalls(ApiCalls):
    """Read and change this account and its devices."""

    def account(self) -> Account:
        """Return the account that the device token belongs to."""
        return self._read(Account, "GET", "/v1/account")

    def set_discoverable(self, discoverable: bool) -> Account:
        """Set whether others find this account by its number."""
        return self._read(Account, "PATCH", "/v1/account", {"discoverable": discoverable})

    def delete_account(self) -> None:
        """Delete the account with its devices and messages."""
        self._transport.call("DELETE", "/v1/account", done_when=(AccountNotFound, TokenInvalid))

    def set_registration_lock(self, pin: str, *, current_pin: str | None = None) -> None:
        """Require `pin` (six digits, or 6 to 64 characters) when this number registers again.

        current_pin: required to change a PIN. Raise InvalidFields for a PIN that is easy to guess,
        or RegistrationLocked.
        """
        self._transport.call("PUT", _LOCK, without_none(pin=pin, current_pin=current_pin))

    def remove_registration_lock(self, pin: str | None = None) -> Account:
        """Remove the PIN: at once with it, in 7 days without it; every device is notified."""
        if pin is None:
            return self._read(Account, "DELETE", _LOCK)
        return self._read(Account, "POST", f"{_LOCK}/remove", {"pin": pin})

    def keep_registration_lock(self) -> Account:
        """Cancel the removal of the PIN."""
        return self._read(Account, "POST", f"{_LOCK}/keep", {})

    def change_phone_number(
        self, verification_id: str, *, registration_lock_pin: str | None = None
    ) -> Account:
        """Move the account to the verified number; not retried, as a verification is used once."""
        body = without_none(
            verification_id=verification_id, registration_lock_pin=registration_lock_pin
        )
        return self._read(Account, "POST", "/v1/account/phone-number", body, repeatable=False)

    def devices(self) -> tuple[Device, ...]:
        """Return the devices of this account."""
        return self._read(_Devices, "GET", "/v1/devices").devices

    def rename_device(self, device_id: str, name: str) -> Device:
        """Rename a device, at most 100 characters."""
        return self._read(Device, "PATCH", f"/v1/devices/{path_segment(device_id)}", {"name": name})

    def remove_device(self, device_id: str) -> None:
        """Revoke a device and delete its mailbox; removing this device signs out."""
        path = f"/v1/devices/{path_segment(device_id)}"
        self._transport.call("DELETE", path, done_when=(DeviceNotFound, TokenInvalid))

    def remove_other_devices(self) -> tuple[str, ...]:
        """Revoke all other devices and delete their mailboxes; return their ids."""
        return self._read(_RemovedDevices, "DELETE", "/v1/account/other-devices").removed

    def create_device_link(self) -> DeviceLink:
        """Return a code that adds one device; not retried, so that one call creates one code."""
        return self._read(DeviceLink, "POST", "/v1/device-links", {}, repeatable=False)

    def rotate_token(self) -> str:
        """Return a new device token; the old one works until the new one is first used.

        Store the new token, then set `device_token` to it. Using the old token a minute after the
        first use of the new one revokes both.
        """
        path, key = "/v1/tokens/rotate", new_idempotency_key()
        return self._read(_RotatedToken, "POST", path, {}, idempotency_key=key).device_token

    def account_devices(self, account_id: str) -> tuple[str, ...]:
        """Return the ids of an account's devices; a message needs one envelope for each."""
        path = f"/v1/accounts/{path_segment(account_id)}/devices"
        return tuple(device.id for device in self._read(_AccountDevices, "GET", path).devices)

    def push_parameters(self) -> PushParameters:
        """Return the subscription types that the server supports, and the key for browsers."""
        return self._read(PushParameters, "GET", f"{_PUSH}/parameters")

    def push_subscription(self) -> PushSubscription | None:
        """Return the push subscription of this device, None without one."""
        try:
            return self._read(PushSubscription, "GET", _PUSH)
        except PushSubscriptionNotFound:
            return None

    def subscribe_web_push(self, endpoint: str, *, p256dh: bytes, auth: bytes) -> None:
        """Wake this device through Web Push, instead of its subscription before.

        p256dh: a point of P-256, uncompressed, 65 bytes. auth: 16 bytes. Raise InvalidFields for an
        endpoint that the server does not allow.
        """
        keys = {"p256dh": base64url(p256dh), "auth": base64url(auth)}
        self._subscribe({"type": "webpush", "endpoint": endpoint, **keys})

    def subscribe_apns(self, token: str) -> None:
        """Wake this device through APNs; token: the device token, hexadecimal."""
        self._subscribe({"type": "apns", "token": token})

    def subscribe_fcm(self, token: str) -> None:
        """Wake this device through FCM; token: the registration token."""
        self._subscribe({"type": "fcm", "token": token})

    def _subscribe(self, subscription: dict[str, str]) -> None:
        self._transport.call("PUT", _PUSH, subscription)

    def delete_push_subscription(self) -> None:
        """Delete the push subscription of this device."""
        self._transport.call("DELETE", _PUSH)
