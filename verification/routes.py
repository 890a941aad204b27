"""Routes of verifications, registrations and changes of number."""

from collections.abc import Callable

from flask import g

from core.api import Api
from core.parsing import idempotency_key
from core.phone_numbers import PhoneNumberInvalid
from core.problems import (
    IdempotencyAnswerWithheld,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    Problem,
)
from tokens.authenticate import Caller
from tokens.problems import RegistrationLocked, TooManyPinTries
from tokens.registration_lock import RegistrationLockService
from tokens.routes import AUTHENTICATION, render_account
from tokens.schemas import AccountAnswer
from verification.checks import CheckService
from verification.problems import (
    CHECK_REFUSALS,
    SEND_REFUSALS,
    AppHashRefused,
    ChallengeRejected,
    ChecksExhausted,
    DeviceNotRecoverable,
    NoSendsLeft,
    SendTooSoon,
    TestNumberExpired,
    TooManyWrongCodes,
    VerificationClosed,
    VerificationExpired,
    VerificationNotFound,
    VerificationNotVerified,
    VerificationUsed,
    WebOriginRefused,
)
from verification.registration import RegistrationService
from verification.schemas import (
    ChangePhoneNumber,
    CheckCode,
    RegisterDevice,
    RegisteredAnswer,
    SendAgain,
    StartVerification,
    VerificationAnswer,
    VerificationPath,
)
from verification.sending import CodeSent
from verification.service import VerificationService
from verification.store import VerificationKey

#: The verification, or the text that the first request under an idempotency key was answered.
SentAnswer = tuple[VerificationAnswer | str, int, dict[str, str]]

SEND_PROBLEMS: tuple[type[Problem], ...] = (
    *SEND_REFUSALS,
    ChallengeRejected,
    IdempotencyKeyReused,
    IdempotencyInProgress,
)
PROOF: tuple[type[Problem], ...] = (
    VerificationNotFound,
    VerificationNotVerified,
    VerificationUsed,
    VerificationExpired,
    VerificationClosed,
    RegistrationLocked,
    TooManyPinTries,
)


def verifications_api(verifications: VerificationService, checks: CheckService) -> Api:
    """Return the routes of verifications, which are public."""
    api = Api("verifications", __name__, description="Verify a phone number. Public, rate-limited")

    @api.operation(
        "POST",
        "/verifications",
        answer=VerificationAnswer,
        status=201,
        problems=(
            *SEND_PROBLEMS,
            IdempotencyAnswerWithheld,
            PhoneNumberInvalid,
            TestNumberExpired,
            WebOriginRefused,
            AppHashRefused,
            TooManyWrongCodes,
        ),
        takes_idempotency_key=True,
    )
    def start_verification(body: StartVerification) -> SentAnswer:
        """Start a verification: the number gets a code by text or call."""
        return _sent(verifications.start(body, g.requester, idempotency_key()))

    @api.operation(
        "GET",
        "/verifications/<verification_id>",
        answer=VerificationAnswer,
        problems=(VerificationNotFound,),
    )
    def get_verification(path: VerificationPath) -> VerificationAnswer:
        """Show a verification."""
        return verifications.get(path.verification_id)

    @api.operation(
        "POST",
        "/verifications/<verification_id>/sends",
        answer=VerificationAnswer,
        status=201,
        problems=(
            *SEND_PROBLEMS,
            VerificationNotFound,
            VerificationExpired,
            VerificationClosed,
            ChecksExhausted,
            SendTooSoon,
            NoSendsLeft,
        ),
        takes_idempotency_key=True,
    )
    def send_again(path: VerificationPath, body: SendAgain) -> SentAnswer:
        """Send the code again, by text or by call; it stays the same."""
        key = VerificationKey.parse(path.verification_id)
        return _sent(verifications.resend(key, body, g.requester, idempotency_key()))

    @api.operation(
        "POST",
        "/verifications/<verification_id>/checks",
        answer=VerificationAnswer,
        problems=CHECK_REFUSALS,
    )
    def check_code(path: VerificationPath, body: CheckCode) -> VerificationAnswer:
        """Check a code; the right one verifies the number."""
        return checks.check(path.verification_id, body.code)

    @api.operation(
        "DELETE",
        "/verifications/<verification_id>",
        answer=None,
        status=204,
        problems=(VerificationNotFound,),
    )
    def cancel_verification(path: VerificationPath) -> None:
        """Cancel a verification."""
        verifications.cancel(path.verification_id)

    return api


def registrations_api(registrations: RegistrationService) -> Api:
    """Return the route of registrations, whose credential is a verified number."""
    api = Api("registrations", __name__, description="Register a device with a verified number")

    @api.operation(
        "POST",
        "/registrations",
        answer=RegisteredAnswer,
        status=201,
        problems=(*PROOF, DeviceNotRecoverable),
        takes_idempotency_key=True,
    )
    def register_device(body: RegisterDevice) -> tuple[RegisteredAnswer, int]:
        """Register a device with a verified number; the answer holds its token.

        It replaces all devices of the account, and their mailboxes are deleted. A device that returns with
        `recover_device` keeps its id and its mailbox, signed in or not.
        """
        registered = registrations.register(body, idempotency_key())
        return RegisteredAnswer(
            account_id=registered.device.account_id,
            phone_number=registered.e164,
            device_id=registered.device.device_id,
            device_token=registered.device.device_token,
            reregistered=registered.reregistered,
        ), 201

    return api


def phone_number_api(
    registrations: RegistrationService,
    authenticate: Callable[[], Caller],
    locks: RegistrationLockService,
) -> Api:
    """Return the route that changes the number of an account."""
    api = Api(
        "phone number",
        __name__,
        description="Move an account to another number",
        authenticate=authenticate,
        problems=AUTHENTICATION,
    )

    @api.operation("POST", "/account/phone-number", answer=AccountAnswer, problems=PROOF)
    def change_phone_number(caller: Caller, body: ChangePhoneNumber) -> AccountAnswer:
        """Change the account's number to a verified one."""
        return render_account(registrations.change_number(caller, body), caller, locks)

    return api


def _sent(sent: CodeSent) -> SentAnswer:
    return sent.shown, 201, sent.rate_limit.headers() if sent.rate_limit else {}
