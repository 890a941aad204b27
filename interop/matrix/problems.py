"""Problems of the Matrix adapter alone."""

from core.problems import Problem


class MatrixTokenInvalid(Problem):
    """The access token is missing, unknown, logged out, or was not used for too long."""

    code, status, title = "matrix-token-invalid", 401, "A valid access token is required"


class MatrixTermsNotSigned(Problem):
    """The user has not accepted the terms of service."""

    code, status, title = "matrix-terms-not-signed", 403, "The terms of service are not accepted"


class MatrixUserForbidden(Problem):
    """The Matrix user may not do that."""

    code, status, title = "matrix-user-forbidden", 403, "This user may not do that"


class OpenIdRefused(Problem):
    """The homeserver does not accept the OpenID token."""

    code, status, title = "openid-refused", 401, "The OpenID token is not valid"


class HomeserverUnavailable(Problem):
    """The homeserver's name does not resolve to an allowed address, or the request to it failed."""

    # The client named it: no error of this service, and no reason for an alert.
    code, status, title = "homeserver-unavailable", 422, "The homeserver is not available"


class SignedRequestMalformed(Problem):
    """The `Authorization` of a homeserver (`X-Matrix`) cannot be read."""

    code, status, title = "signed-request-malformed", 400, "The signature cannot be read"


class SignedRequestRefused(Problem):
    """The homeserver's signature is not valid, or is meant for another identity server."""

    code, status, title = "signed-request-refused", 403, "Invalid homeserver signature"


class TooManyHomeserverKeys(Problem):
    """The network caused too many requests for homeservers' keys this hour."""

    code, status = "too-many-homeserver-keys", 429
    title = "Too many unknown homeservers"


class TooManyMatrixRegistrations(Problem):
    """The network made too many registrations this hour."""

    code, status = "too-many-matrix-registrations", 429
    title = "Too many registrations"


class MatrixLookupsRateLimited(Problem):
    """Users without a verified number have used up a daily limit that they share."""

    code, status = "matrix-lookups-rate-limited", 429
    title = "Too many lookups without a verified number"


class MatrixLookupForbidden(Problem):
    """The user has no verified number, and the operator does not list their homeserver."""

    code, status = "matrix-lookup-forbidden", 403
    title = "A verified number is required"


class MatrixNumberInUse(Problem):
    """The invited number belongs to the Matrix user `mxid`."""

    code, status, title = "matrix-number-in-use", 409, "The number belongs to a Matrix user"


class InvitationNotStored(Problem):
    """Nobody here has the number, and invitations are not stored."""

    code, status, title = "invitation-not-stored", 403, "Invitations are not stored"


class MatrixMediumUnknown(Problem):
    """The invitation is not for a phone number."""

    code, status, title = "matrix-medium-unknown", 422, "Only phone numbers are supported"


class SigningKeyNotFound(Problem):
    """No signing key has this id."""

    code, status, title = "signing-key-not-found", 404, "Signing key not found"


class MatrixTokenUnknown(Problem):
    """The access token to log out is not valid."""

    code, status, title = "matrix-token-unknown", 401, "Unknown access token"
