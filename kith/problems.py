"""Own one exception class for each problem code of the API.

Refuse to interpret: what to do about a problem is the caller's decision.
"""

from collections.abc import Mapping

from kith.errors import KithProblem


class MalformedRequest(KithProblem):
    """Report a body that is not JSON."""

    code = "malformed-request"


class InvalidFields(KithProblem):
    """Report fields that are missing, unknown or out of range; `errors` names them."""

    code = "invalid-fields"


class UnsupportedMediaType(KithProblem):
    """Report a body of another content type than the call takes."""

    code = "unsupported-media-type"


class NotFound(KithProblem):
    """Report an address that the server does not serve."""

    code = "not-found"


class MethodNotAllowed(KithProblem):
    """Report a method that the address does not take."""

    code = "method-not-allowed"


class BodyTooLarge(KithProblem):
    """Report a body above the server's limit."""

    code = "body-too-large"


class RequestTimeout(KithProblem):
    """Report a body that came too slowly; nothing was done."""

    code = "request-timeout"


class TooManyConnections(KithProblem):
    """Report that the device has too many requests and sockets open at once."""

    code = "too-many-connections"


class InternalError(KithProblem):
    """Report a fault of the server; `request_id` finds it in its log."""

    code = "internal-error"


class ServiceUnavailable(KithProblem):
    """Report that the server cannot answer now."""

    code = "service-unavailable"


class OutcomeUnknown(KithProblem):
    """Report that the server does not know whether it was done; a repeat does it once."""

    code = "outcome-unknown"


class StorageFull(KithProblem):
    """Report that the server has no room to store what was asked for."""

    code = "storage-full"


class IdempotencyKeyReused(KithProblem):
    """Report an Idempotency-Key that was sent with another body before."""

    code = "idempotency-key-reused"


class IdempotencyAnswerWithheld(KithProblem):
    """Report a request that was done before, under a key too short to be told its answer for."""

    code = "idempotency-answer-withheld"


class IdempotencyInProgress(KithProblem):
    """Report that the first request with this Idempotency-Key is still running."""

    code = "idempotency-in-progress"


class PhoneNumberInvalid(KithProblem):
    """Report a text that is no phone number."""

    code = "phone-number-invalid"


class PhoneNumberRefused(KithProblem):
    """Report a number that this service does not verify."""

    code = "phone-number-refused"


class TestNumberExpired(KithProblem):
    """Report a test number whose last day has passed."""

    code = "test-number-expired"


class WebOriginRefused(KithProblem):
    """Report a web origin that may not stand in the text."""

    code = "web-origin-refused"


class AppHashRefused(KithProblem):
    """Report an Android app hash that may not stand in the text."""

    code = "app-hash-refused"


class VerificationNotFound(KithProblem):
    """Report an unknown verification."""

    code = "verification-not-found"


class VerificationExpired(KithProblem):
    """Report a verification whose time is over; start another."""

    code = "verification-expired"


class VerificationClosed(KithProblem):
    """Report a verification that is already verified, canceled or failed."""

    code = "verification-closed"


class CodeRejected(KithProblem):
    """Report a wrong code; `checks_left` guesses remain."""

    code = "code-rejected"


class CodeUnreadable(KithProblem):
    """Report a text that cannot be the code; it did not count as a guess."""

    code = "code-unreadable"


class ChecksExhausted(KithProblem):
    """Report that this verification has no guesses left; start another."""

    code = "checks-exhausted"


class TooManyWrongCodes(KithProblem):
    """Report too many wrong codes for this number over all verifications."""

    code = "too-many-wrong-codes"


class LongerCodeRequired(KithProblem):
    """Report that this number needs a longer code now; start another verification."""

    code = "longer-code-required"


class SendTooSoon(KithProblem):
    """Report that the next text or call may go out in `retry_after` seconds only."""

    code = "send-too-soon"


class TooManySends(KithProblem):
    """Report that this number or requester has had its texts for now."""

    code = "too-many-sends"


class NoSendsLeft(KithProblem):
    """Report that this verification may send no more; start another later."""

    code = "no-sends-left"


class SendsPaused(KithProblem):
    """Report that the server's policy stops texts like this one for now."""

    code = "sends-paused"


class DestinationRefused(KithProblem):
    """Report a country that the server does not send to."""

    code = "destination-refused"


class ChallengeRequired(KithProblem):
    """Report that a proof of work is asked for first; `kith.solve_challenge` solves `challenge`."""

    code = "challenge-required"


class ChallengeRejected(KithProblem):
    """Report a solution that is wrong, has expired or was used before; ask again without it."""

    code = "challenge-rejected"


class SendRejected(KithProblem):
    """Report that the number cannot receive the text or call."""

    code = "send-rejected"


class SendBlocked(KithProblem):
    """Report that sending to this number is blocked."""

    code = "send-blocked"


class SendUnavailable(KithProblem):
    """Report that no provider could send now."""

    code = "send-unavailable"


class VerificationNotVerified(KithProblem):
    """Report a verification whose code has not been checked yet."""

    code = "verification-not-verified"


class DeviceNotRecoverable(KithProblem):
    """Report a device that is gone, or whose signature is wrong; the verification is not used up."""

    code = "device-not-recoverable"


class VerificationUsed(KithProblem):
    """Report a verification that has already served once."""

    code = "verification-used"


class RegistrationLocked(KithProblem):
    """Report that the number's account is locked and the PIN is missing or wrong."""

    code = "registration-locked"


class TooManyPinTries(KithProblem):
    """Report that the PIN may be tried again in `retry_after` seconds only."""

    code = "too-many-pin-tries"


class TooManyRotations(KithProblem):
    """Report that the token was rotated too often; `retry_after` says when it can be again."""

    code = "too-many-rotations"


class TokenMissing(KithProblem):
    """Report a call that needs a device token and had none."""

    code = "token-missing"


class TokenInvalid(KithProblem):
    """Report a device token that is unknown or revoked."""

    code = "token-invalid"


class TokenExpired(KithProblem):
    """Report a token whose device was not seen for too long."""

    code = "token-expired"


class TokenReused(KithProblem):
    """Report an old device token used after its successor: the device is revoked, one of the two
    was stolen.
    """

    code = "token-reused"


class ServiceTokenInvalid(KithProblem):
    """Report a service token that is unknown or revoked."""

    code = "service-token-invalid"


class ServiceTokenExpired(KithProblem):
    """Report a service token whose time is over."""

    code = "service-token-expired"


class ScopeMissing(KithProblem):
    """Report a service token that was issued for something else."""

    code = "scope-missing"


class AccountNotFound(KithProblem):
    """Report an unknown account."""

    code = "account-not-found"


class DeviceNotFound(KithProblem):
    """Report an unknown device."""

    code = "device-not-found"


class TooManyDevices(KithProblem):
    """Report that the account has as many devices as it may have."""

    code = "too-many-devices"


class LinkCodeInvalid(KithProblem):
    """Report a link code that is wrong, used or too old."""

    code = "link-code-invalid"


class EpochUnknown(KithProblem):
    """Report hashes of an epoch that is over; fetch the discovery parameters again."""

    code = "epoch-unknown"


class BudgetExhausted(KithProblem):
    """Report a lookup of more new hashes than the budget holds: `left`, `capacity`, `needed`;
    nothing was looked up or paid for.
    """

    code = "budget-exhausted"


class BudgetTooSmall(KithProblem):
    """Report a lookup of more new hashes than the budget ever holds: `capacity`, `needed`; ask
    about fewer at once.
    """

    code = "budget-too-small"


class DevicesMismatched(KithProblem):
    """Report envelopes that do not fit the recipient's devices: `missing`, `extra`, `stale`;
    nothing was stored.
    """

    code = "devices-mismatched"


class ClientIdReused(KithProblem):
    """Report a client_id that was sent with another message before."""

    code = "client-id-reused"


class MailboxFull(KithProblem):
    """Report a recipient whose mailbox takes no more."""

    code = "mailbox-full"


class PushTypeNotOffered(KithProblem):
    """Report that this server does not wake devices in this way."""

    code = "push-type-not-offered"


class PushSubscriptionNotFound(KithProblem):
    """Report that this device has no push subscription."""

    code = "push-subscription-not-found"


class AcknowledgementAhead(KithProblem):
    """Report an acknowledgement of a message that was not delivered yet."""

    code = "acknowledgement-ahead"


class KeysDiffer(KithProblem):
    """Report a digest of keys that are not those the server would hand out."""

    code = "keys-differ"


class TooManyKeyUploads(KithProblem):
    """Report more uploads of keys than this device may make."""

    code = "too-many-key-uploads"


class TooManyKeyTakes(KithProblem):
    """Report more bundles taken than this account may take, of this recipient or in all."""

    code = "too-many-key-takes"


class BlockedByYou(KithProblem):
    """Report a recipient whom the own account has blocked; accept or forget it first."""

    code = "blocked-by-you"


class MessageLimit(KithProblem):
    """Report that the account may write more in `retry_after` seconds only."""

    code = "message-limit"


class TooManyContacts(KithProblem):
    """Report that the account has accepted or blocked as many others as it may."""

    code = "too-many-contacts"


class GroupNotFound(KithProblem):
    """Report a group that this account is not in, or that is not there."""

    code = "group-not-found"


class GroupChanged(KithProblem):
    """Report that the group has another version, `version`; nothing happened."""

    code = "group-changed"


class NotAnAdmin(KithProblem):
    """Report a change of a group that is for its admins."""

    code = "not-an-admin"


class NotJoined(KithProblem):
    """Report that the invitation to the group must be accepted first."""

    code = "not-joined"


class LastAdmin(KithProblem):
    """Report that the group would be left without an admin."""

    code = "last-admin"


class MemberNotFound(KithProblem):
    """Report an account that is not in the group."""

    code = "member-not-found"


class AccountsUnknown(KithProblem):
    """Report accounts that are not there: `unknown`; nothing happened."""

    code = "accounts-unknown"


class GroupFull(KithProblem):
    """Report a group that would have more than 1,024 members."""

    code = "group-full"


class TooManyGroups(KithProblem):
    """Report that the account is in as many groups as it may be."""

    code = "too-many-groups"


class GroupLimit(KithProblem):
    """Report too many groups made, changes, or invitations of strangers for now."""

    code = "group-limit"


KNOWN: Mapping[str, type[KithProblem]] = {kind.code: kind for kind in KithProblem.__subclasses__()}
