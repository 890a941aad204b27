"""Problems of accounts, devices and tokens."""

from core.problems import Problem


class TokenMissing(Problem):
    """The route requires a device token, and the request has none."""

    code, status, title = "token-missing", 401, "Device token required"


class TokenInvalid(Problem):
    """The device token is unknown, or its device was removed."""

    code, status, title = "token-invalid", 401, "Invalid device token"


class TokenExpired(Problem):
    """The device was not seen for too long."""

    code, status, title = "token-expired", 401, "Expired device token"


class TokenReused(Problem):
    """A replaced token was used, so one of two holders stole it; all tokens of the device are revoked."""

    code, status, title = "token-reused", 401, "Device token reused"


class ServiceTokenMissing(Problem):
    """The route requires a service token, and the request has none."""

    code, status, title = "service-token-missing", 401, "Service token required"


class ServiceTokenInvalid(Problem):
    """The service token is unknown or revoked."""

    code, status, title = "service-token-invalid", 401, "Invalid service token"


class ServiceTokenExpired(Problem):
    """The service token has expired."""

    code, status, title = "service-token-expired", 401, "Expired service token"


class ScopeMissing(Problem):
    """The service token is valid, but lacks the scope of the route."""

    code, status, title = "scope-missing", 403, "Missing scope"


class AccountNotFound(Problem):
    """The account does not exist."""

    code, status, title = "account-not-found", 404, "Account not found"


class DeviceNotFound(Problem):
    """The account has no such device."""

    code, status, title = "device-not-found", 404, "Device not found"


class TooManyDevices(Problem):
    """The account has the maximum number of devices."""

    code, status, title = "too-many-devices", 409, "Too many devices"


class LinkCodeInvalid(Problem):
    """The link code is unknown, expired or used."""

    code, status, title = "link-code-invalid", 404, "Invalid link code"


class RegistrationLocked(Problem):
    """A PIN protects the number, and it is missing or wrong."""

    code, status, title = "registration-locked", 423, "The number is locked with a PIN"


class TooManyPinTries(Problem):
    """The PIN of a registration lock was tried or changed too often."""

    code, status, title = "too-many-pin-tries", 429, "Too many PIN tries"


class TooManyRotations(Problem):
    """The device rotated its token too often."""

    code, status, title = "too-many-rotations", 429, "Too many token rotations"
