"""What can go wrong with accounts, devices and tokens."""

from core.problems import Problem


class TokenMissing(Problem):
    """The route needs a device token and none came."""

    code, status, title = "token-missing", 401, "A device token is needed"


class TokenInvalid(Problem):
    """The device token is not one of ours, or its device was removed."""

    code, status, title = "token-invalid", 401, "This device token is not valid"


class TokenExpired(Problem):
    """The device was not seen for so long that its token is not good any more."""

    code, status, title = "token-expired", 401, "This device token has expired"


class TokenReused(Problem):
    """A token that was replaced came back, so one of two holders stole it: all are revoked."""

    code, status, title = "token-reused", 401, "This device token was replaced before"


class ServiceTokenMissing(Problem):
    """The route needs a service token and none came."""

    code, status, title = "service-token-missing", 401, "A service token is needed"


class ServiceTokenInvalid(Problem):
    """The service token is not one of ours, or was revoked."""

    code, status, title = "service-token-invalid", 401, "This service token is not valid"


class ServiceTokenExpired(Problem):
    """The service token's time is over."""

    code, status, title = "service-token-expired", 401, "This service token has expired"


class ScopeMissing(Problem):
    """The service token is valid, but not for this."""

    code, status, title = "scope-missing", 403, "This service token is not good for this"


class AccountNotFound(Problem):
    """There is no such account."""

    code, status, title = "account-not-found", 404, "There is no such account"


class DeviceNotFound(Problem):
    """The account has no such device."""

    code, status, title = "device-not-found", 404, "This account has no such device"


class TooManyDevices(Problem):
    """The account has as many devices as it may."""

    code, status, title = "too-many-devices", 409, "This account has too many devices"


class LinkCodeInvalid(Problem):
    """The link code is unknown, expired or used."""

    code, status, title = "link-code-invalid", 404, "This link code does not work"


class RegistrationLocked(Problem):
    """The number's account is guarded by a PIN, which is missing or wrong."""

    code, status, title = "registration-locked", 423, "This number is locked with a PIN"


class TooManyPinTries(Problem):
    """The PIN of a registration lock was tried, or changed, too often."""

    code, status, title = "too-many-pin-tries", 429, "Too many PINs"


class TooManyRotations(Problem):
    """The device rotated its token too often."""

    code, status, title = "too-many-rotations", 429, "Too many rotations of this token"
