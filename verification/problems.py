"""What can go wrong while a number is proven and a device registered."""

from core.phone_numbers import PhoneNumberRefused
from core.problems import Problem
from sms.problems import SendBlocked, SendRejected, SendUnavailable


class VerificationNotFound(Problem):
    """There is no such verification."""

    code, status, title = "verification-not-found", 404, "There is no such verification"


class VerificationExpired(Problem):
    """Its time is over."""

    code, status, title = "verification-expired", 410, "This verification has expired"


class VerificationClosed(Problem):
    """It was verified, canceled or failed before, or a newer proof of the number voided it."""

    code, status, title = "verification-closed", 409, "This verification is closed"


class CodeRejected(Problem):
    """The code is wrong; `checks_left` says how many guesses remain."""

    code, status, title = "code-rejected", 422, "The code is wrong"


class CodeUnreadable(Problem):
    """What was entered cannot be the code: it is not as many digits. It did not count as a guess."""

    code, status, title = "code-unreadable", 422, "This cannot be the code"


class ChecksExhausted(Problem):
    """All guesses of this verification are used."""

    code, status, title = "checks-exhausted", 429, "Too many wrong codes"


class TooManyWrongCodes(Problem):
    """The number was guessed at too often today, by whomever; it waits."""

    code, status, title = "too-many-wrong-codes", 429, "Too many wrong codes for this number"


class LongerCodeRequired(Problem):
    """Someone guessed at this number's 6-digit codes; only an 8-digit code is judged now."""

    code, status, title = "longer-code-required", 410, "A longer code is needed"


class SendTooSoon(Problem):
    """The next text or call of this verification comes later."""

    code, status, title = "send-too-soon", 429, "It is too soon to send again"


class TooManySends(Problem):
    """The requester had as many texts and calls to this number as a day holds."""

    code, status, title = "too-many-sends", 429, "Too many messages to this number"


class NoSendsLeft(Problem):
    """The verification sends nothing more on this channel."""

    code, status, title = "no-sends-left", 409, "This verification sends no more"


class WebOriginRefused(Problem):
    """The operator did not allow this web origin."""

    code, status, title = "web-origin-refused", 422, "This web origin is not allowed"


class AppHashRefused(Problem):
    """The operator did not allow this Android app hash."""

    code, status, title = "app-hash-refused", 422, "This app hash is not allowed"


class TestNumberExpired(Problem):
    """The number is one of the operator's test numbers, and its last day has passed."""

    code, status, title = "test-number-expired", 422, "This test number has expired"


class VerificationNotVerified(Problem):
    """The number was not proven yet."""

    code, status, title = "verification-not-verified", 409, "The number is not verified yet"


class DeviceNotRecoverable(Problem):
    """The device that is to return is gone, or did not sign this."""

    code, status, title = "device-not-recoverable", 409, "This device cannot be recovered"


class VerificationUsed(Problem):
    """The proof was used before; a verification is good for one registration."""

    code, status, title = "verification-used", 409, "This verification was used before"


class SendsPaused(Problem):
    """The policy stops sends of this kind for now; `decision` names what it decided, for operators."""

    code, status, title = "sends-paused", 429, "Codes like this one are not sent right now"


class DestinationRefused(Problem):
    """The policy does not send to this country."""

    code, status, title = "destination-refused", 403, "This service does not send there"


class ChallengeRequired(Problem):
    """Solve the `challenge` (ALTCHA) and send the same request with `challenge_solution`."""

    code, status, title = "challenge-required", 428, "A challenge is to be solved first"


class ChallengeRejected(Problem):
    """The solution is wrong, expired, used before, or of another number's challenge."""

    code, status, title = "challenge-rejected", 422, "The challenge is not solved"


#: Why a text or a call is not sent, at whichever door it was asked for.
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
