"""What can go wrong at the Matrix door alone."""

from core.problems import Problem


class MatrixTokenInvalid(Problem):
    """No access token of this door came, or one that is unknown, unused for long or logged out."""

    code, status, title = "matrix-token-invalid", 401, "An access token of this service is needed"


class MatrixTermsNotSigned(Problem):
    """The terms of service are to be accepted first."""

    code, status, title = "matrix-terms-not-signed", 403, "The terms of service are not accepted"


class MatrixUserForbidden(Problem):
    """It is not for this Matrix user to do."""

    code, status, title = "matrix-user-forbidden", 403, "This user may not do that"


class OpenIdRefused(Problem):
    """The homeserver does not vouch for the bearer of the OpenID token."""

    code, status, title = "openid-refused", 401, "The homeserver does not know this token"


class HomeserverUnavailable(Problem):
    """The homeserver cannot be asked: its name leads nowhere, or to where we do not go, or it failed."""

    # Whoever named it may name another: it is no fault of ours, and nothing to wake anyone for.
    code, status, title = "homeserver-unavailable", 422, "The homeserver cannot be asked"


class SignedRequestMalformed(Problem):
    """The `Authorization` of a homeserver (`X-Matrix`) cannot be read."""

    code, status, title = "signed-request-malformed", 400, "The signature cannot be read"


class SignedRequestRefused(Problem):
    """A homeserver's signature does not fit the request, or is meant for another identity server."""

    code, status, title = "signed-request-refused", 403, "Invalid homeserver signature"


class TooManyHomeserverKeys(Problem):
    """Keys of homeservers were asked for, from this network, as often as an hour holds."""

    code, status = "too-many-homeserver-keys", 429
    title = "Too many homeservers whose keys are not known"


class TooManyMatrixRegistrations(Problem):
    """The network registered, or tried to, as often as an hour holds."""

    code, status = "too-many-matrix-registrations", 429
    title = "Too many registrations"


class HomeserverCeilingReached(Problem):
    """Users without a proven number asked about as many hashes as a day holds for all of them together."""

    code, status = "homeserver-ceiling-reached", 429
    title = "Users without a proven number looked up too many numbers"


class MatrixLookupForbidden(Problem):
    """A user without a proven number looks up from a homeserver that the operator does not name."""

    code, status = "matrix-lookup-forbidden", 403
    title = "A proven number is needed"


class MatrixNumberInUse(Problem):
    """The number that is invited is a Matrix user's, whom `mxid` names."""

    code, status, title = "matrix-number-in-use", 409, "This number is a Matrix user's"


class InvitationNotStored(Problem):
    """Invitations to numbers that are nobody's here are not kept."""

    code, status, title = "invitation-not-stored", 403, "Invitations are not stored here"


class MatrixMediumUnknown(Problem):
    """It is no phone number that is invited."""

    code, status, title = "matrix-medium-unknown", 422, "There are only phone numbers here"


class SigningKeyNotFound(Problem):
    """There is no key of this name."""

    code, status, title = "signing-key-not-found", 404, "There is no such key"


class MatrixTokenUnknown(Problem):
    """What is to be logged out is not logged in."""

    code, status, title = "matrix-token-unknown", 401, "There is no such access token"
