"""Problems of verifications and registrations."""

from core.phone_numbers import PhoneNumberRefused
from core.problems import Problem
from sms.problems import SendBlocked, SendRejected, SendUnavailable


class VerificationNotFound(Problem):
    """No verification has this id."""

    code, status, title = "verification-not-found", 404, "Verification not found"


class VerificationExpired(Problem):
    """The verification has expired."""

    code, status, title = "verification-expired", 410, "The verification has expired"


class VerificationClosed(Problem):
    """The verification was verified, canceled or failed, or a newer proof of the number voided it."""

    code, status, title = "verification-closed", 409, "The verification is closed"


class CodeRejected(Problem):
    """The code is wrong; `checks_left` is how many guesses remain."""

    code, status, title = "code-rejected", 422, "The code is wrong"


class CodeUnreadable(Problem):
    """The text cannot be the code: it has another number of digits. It did not count as a guess."""

    code, status, title = "code-unreadable", 422, "This is not a code"


class ChecksExhausted(Problem):
    """All guesses of this verification are used."""

    code, status, title = "checks-exhausted", 429, "Too many wrong codes"


class TooManyWrongCodes(Problem):
    """Too many wrong codes were sent for this number today, by all requesters together."""

    code, status, title = "too-many-wrong-codes", 429, "Too many wrong codes for this number"


class LongerCodeRequired(Problem):
    """Many wrong codes were sent for this number today; only 8-digit codes are accepted now."""

    code, status, title = "longer-code-required", 410, "A longer code is required"


class SendTooSoon(Problem):
    """The next text or call of this verification is not possible yet."""

    code, status, title = "send-too-soon", 429, "It is too soon to send again"


class TooManySends(Problem):
    """The requester has used up the day's texts and calls to this number."""

    code, status, title = "too-many-sends", 429, "Too many messages to this number"


class NoSendsLeft(Problem):
    """The verification has no sends left on this channel."""

    code, status, title = "no-sends-left", 409, "No more sends are left"


class WebOriginRefused(Problem):
    """The operator does not allow this web origin."""

    code, status, title = "web-origin-refused", 422, "This web origin is not allowed"


class AppHashRefused(Problem):
    """The operator does not allow this Android app hash."""

    code, status, title = "app-hash-refused", 422, "This app hash is not allowed"


class TestNumberExpired(Problem):
    """The number is a test number, and its last day has passed."""

    code, status, title = "test-number-expired", 422, "The test number has expired"


class VerificationNotVerified(Problem):
    """The code was not checked yet."""

    code, status, title = "verification-not-verified", 409, "The number is not verified yet"


class DeviceNotRecoverable(Problem):
    """The device to recover does not exist any more, or the signature is not its own."""

    code, status, title = "device-not-recoverable", 409, "The device cannot be recovered"


class VerificationUsed(Problem):
    """The verification was used before; it can be used once."""

    code, status, title = "verification-used", 409, "The verification was used before"


class SendsPaused(Problem):
    """The policy blocks sends of this kind for now; `decision` is the id of its decision, for operators."""

    code, status, title = "sends-paused", 429, "Sending is paused"


class DestinationRefused(Problem):
    """The policy blocks sends to this country."""

    code, status, title = "destination-refused", 403, "This destination is not served"


class ChallengeRequired(Problem):
    """Solve the `challenge` (ALTCHA) and send the same request with `challenge_solution`."""

    code, status, title = "challenge-required", 428, "A challenge is required"


class ChallengeRejected(Problem):
    """The solution is wrong, expired, was used before, or is of another number's challenge."""

    code, status, title = "challenge-rejected", 422, "The solution of the challenge is not valid"


#: Why a text or a call is not sent, natively and behind every protocol adapter.
SEND_REFUSALS: tuple[type[Problem], ...] = (
    SendRejected,
    SendBlocked,
    SendUnavailable,
    TooManySends,
    SendsPaused,
    DestinationRefused,
    PhoneNumberRefused,
    ChallengeRequired,
)
#: Why a code is not accepted.
CHECK_REFUSALS: tuple[type[Problem], ...] = (
    VerificationNotFound,
    CodeRejected,
    CodeUnreadable,
    ChecksExhausted,
    VerificationExpired,
    VerificationClosed,
    LongerCodeRequired,
    TooManyWrongCodes,
)
