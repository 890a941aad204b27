"""Own the calls about the own account, its devices and tokens; they need the device token."""

from dataclasses import dataclass, field

from kith.calls.base import Calls, answer, fresh_key, segment
from kith.calls.verification import described
from kith.models import Account, Device, DeviceLink
from kith.problems import AccountNotFound, DeviceNotFound, TokenInvalid

_LOCK = "/v1/account/registration-lock"


@dataclass(frozen=True)
class _Devices:
    devices: tuple[Device, ...]


@dataclass(frozen=True)
class _DeviceId:
    id: str


@dataclass(frozen=True)
class _AccountDevices:
    devices: tuple[_DeviceId, ...]


@dataclass(frozen=True)
class _Removed:
    removed: tuple[str, ...]


@dataclass(frozen=True)
class _Rotated:
    device_token: str = field(repr=False)


class AccountCalls(Calls):
    """Read and change the own account."""

    def account(self) -> Account:
        """Return the account that the device token belongs to."""
        return answer(Account, self._requests.call("GET", "/v1/account"))

    def set_discoverable(self, discoverable: bool) -> Account:
        """Let others find this account by its number, or not."""
        body = {"discoverable": discoverable}
        return answer(Account, self._requests.call("PATCH", "/v1/account", body))

    def delete_account(self) -> None:
        """Delete the account with all its devices and waiting messages."""
        self._requests.call("DELETE", "/v1/account", done_when=(AccountNotFound, TokenInvalid))

    def set_registration_lock(self, pin: str, *, current_pin: str | None = None) -> None:
        """Ask for `pin` (six digits, or 6 to 64 characters) when somebody registers this number
        again.

        current_pin: the one that is set, without which it cannot be changed. Raise InvalidFields for
        a PIN that is easy to guess, or RegistrationLocked.
        """
        body = described(pin=pin, current_pin=current_pin)
        self._requests.call("PUT", _LOCK, body)

    def remove_registration_lock(self, pin: str | None = None) -> Account:
        """Ask for no PIN any more: at once with it, without it in 7 days, of which every device is
        told.
        """
        if pin is None:
            return answer(Account, self._requests.call("DELETE", _LOCK))
        return answer(Account, self._requests.call("POST", f"{_LOCK}/remove", {"pin": pin}))

    def keep_registration_lock(self) -> Account:
        """Keep the PIN that was to be removed."""
        return answer(Account, self._requests.call("POST", f"{_LOCK}/keep", {}))

    def change_phone_number(
        self, verification_id: str, *, registration_lock_pin: str | None = None
    ) -> Account:
        """Move the account to the verified number; not retried, as a verification serves once."""
        body = described(
            verification_id=verification_id, registration_lock_pin=registration_lock_pin
        )
        path = "/v1/account/phone-number"
        return answer(Account, self._requests.call("POST", path, body, repeatable=False))

    def devices(self) -> tuple[Device, ...]:
        """Return the devices of the own account."""
        return answer(_Devices, self._requests.call("GET", "/v1/devices")).devices

    def rename_device(self, device_id: str, name: str) -> Device:
        """Give a device another name, at most 100 characters."""
        path = f"/v1/devices/{segment(device_id)}"
        return answer(Device, self._requests.call("PATCH", path, {"name": name}))

    def remove_device(self, device_id: str) -> None:
        """Revoke a device and drop its mailbox; removing the asking device signs out."""
        path = f"/v1/devices/{segment(device_id)}"
        self._requests.call("DELETE", path, done_when=(DeviceNotFound, TokenInvalid))

    def remove_other_devices(self) -> tuple[str, ...]:
        """Revoke all devices but the asking one and drop their mailboxes; return their ids."""
        response = self._requests.call("DELETE", "/v1/account/other-devices")
        return answer(_Removed, response).removed

    def create_device_link(self) -> DeviceLink:
        """Return a code with which one other device can join; not retried, so that one call makes
        one code.
        """
        return answer(
            DeviceLink, self._requests.call("POST", "/v1/device-links", {}, repeatable=False)
        )

    def rotate_token(self) -> str:
        """Return a new device token; the old one works until the new one is first used.

        Store the new token before using it: set `device_token` to it afterwards. A minute after the
        first use of the new one, using the old one revokes both.
        """
        response = self._requests.call("POST", "/v1/tokens/rotate", {}, idempotency_key=fresh_key())
        return answer(_Rotated, response).device_token

    def account_devices(self, account_id: str) -> tuple[str, ...]:
        """Return the ids of an account's devices, one envelope each."""
        response = self._requests.call("GET", f"/v1/accounts/{segment(account_id)}/devices")
        return tuple(device.id for device in answer(_AccountDevices, response).devices)
