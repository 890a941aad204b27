"""Matrix's errors for our problems, and the CORS header fields of every response under its prefix."""

from typing import Any

from flask import Response, request

from core.api import ErrorFormat
from core.phone_numbers import PhoneNumberInvalid, PhoneNumberRefused
from core.problems import InvalidFields, MalformedRequest, Problem
from discovery.problems import BudgetTooSmall, EpochUnknown
from interop.errors import ErrorMap, ErrorMapping, error_response, message_of
from interop.matrix.problems import (
    HomeserverUnavailable,
    MatrixMediumUnknown,
    MatrixNumberInUse,
    MatrixTermsNotSigned,
    MatrixTokenUnknown,
    SignedRequestMalformed,
    SignedRequestRefused,
    SigningKeyNotFound,
)
from interop.matrix.schemas import MatrixError
from sms.problems import SendBlocked, SendRejected, SendUnavailable
from tokens.problems import RegistrationLocked
from verification.problems import (
    ChecksExhausted,
    CodeRejected,
    CodeUnreadable,
    DestinationRefused,
    LongerCodeRequired,
    TestNumberExpired,
    VerificationClosed,
    VerificationExpired,
    VerificationNotFound,
    VerificationNotVerified,
    VerificationUsed,
)

PREFIX = "/_matrix/identity"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Origin, X-Requested-With, Content-Type, Accept, Authorization",
}
#: What pydantic says of a missing field.
MISSING_FIELD = "Field required"

MISSING = ErrorMapping(400, "M_MISSING_PARAMS")
INVALID = ErrorMapping(400, "M_INVALID_PARAM")
INVALID_ADDRESS = ErrorMapping(400, "M_INVALID_ADDRESS")
SEND_ERROR = ErrorMapping(400, "M_SEND_ERROR")
TOKEN_INCORRECT = ErrorMapping(400, "M_TOKEN_INCORRECT")
SESSION_EXPIRED = ErrorMapping(400, "M_SESSION_EXPIRED")
TOO_LARGE = ErrorMapping(413, "M_TOO_LARGE")
LIMIT_EXCEEDED = ErrorMapping(429, "M_LIMIT_EXCEEDED")

BY_PROBLEM: dict[type[Problem], ErrorMapping] = {
    MalformedRequest: ErrorMapping(400, "M_NOT_JSON"),
    PhoneNumberInvalid: INVALID_ADDRESS,
    PhoneNumberRefused: INVALID_ADDRESS,
    TestNumberExpired: INVALID_ADDRESS,
    DestinationRefused: ErrorMapping(400, "M_DESTINATION_REJECTED"),
    SendRejected: SEND_ERROR,
    SendBlocked: SEND_ERROR,
    SendUnavailable: SEND_ERROR,
    CodeRejected: TOKEN_INCORRECT,
    CodeUnreadable: TOKEN_INCORRECT,
    VerificationNotFound: ErrorMapping(404, "M_NO_VALID_SESSION"),
    VerificationNotVerified: ErrorMapping(400, "M_SESSION_NOT_VALIDATED"),
    VerificationExpired: SESSION_EXPIRED,
    VerificationClosed: SESSION_EXPIRED,
    ChecksExhausted: SESSION_EXPIRED,
    LongerCodeRequired: SESSION_EXPIRED,
    VerificationUsed: SESSION_EXPIRED,
    EpochUnknown: ErrorMapping(400, "M_INVALID_PEPPER"),
    BudgetTooSmall: TOO_LARGE,
    HomeserverUnavailable: ErrorMapping(400, "M_UNKNOWN"),
    MatrixTermsNotSigned: ErrorMapping(403, "M_TERMS_NOT_SIGNED"),
    MatrixTokenUnknown: ErrorMapping(401, "M_UNKNOWN_TOKEN"),
    RegistrationLocked: ErrorMapping(403, "M_FORBIDDEN"),
    SigningKeyNotFound: ErrorMapping(404, "M_NOT_FOUND"),
    MatrixNumberInUse: ErrorMapping(400, "M_THREEPID_IN_USE"),
    MatrixMediumUnknown: ErrorMapping(400, "M_UNRECOGNIZED"),
    # Synapse takes 400 as "unbinding is not supported" and continues.
    SignedRequestMalformed: INVALID,
    SignedRequestRefused: ErrorMapping(403, "M_FORBIDDEN"),
}
BY_STATUS = {
    401: ErrorMapping(401, "M_UNAUTHORIZED"),
    403: ErrorMapping(403, "M_FORBIDDEN"),
    404: ErrorMapping(404, "M_UNRECOGNIZED"),
    405: ErrorMapping(405, "M_UNRECOGNIZED"),
    409: LIMIT_EXCEEDED,
    413: TOO_LARGE,
    # Matrix has no challenge; it can say to come back later.
    428: LIMIT_EXCEEDED,
    429: LIMIT_EXCEEDED,
    503: ErrorMapping(503, "M_UNKNOWN"),
}


MATRIX_ERROR_MAP = ErrorMap(
    BY_PROBLEM, BY_STATUS, INVALID, ErrorMapping(500, "M_UNKNOWN"), "MatrixError"
)


def _translate(problem: Problem) -> ErrorMapping:
    if isinstance(problem, InvalidFields):
        errors = problem.members.get("errors", [])
        if any(error["detail"] == MISSING_FIELD for error in errors):
            return MISSING
    return MATRIX_ERROR_MAP.of(type(problem))


def _render(problem: Problem) -> Response:
    status, code = _translate(problem)
    wait = problem.retry_after
    body = MatrixError(
        errcode=code,
        error=message_of(problem),
        retry_after_ms=None if wait is None else wait * 1000,
        mxid=problem.members.get("mxid"),
    )
    return allow_all_origins(error_response(problem, status, body))


def _describe(problems: tuple[type[Problem], ...]) -> dict[str, Any]:
    missing = [MISSING] if InvalidFields in problems else []
    return MATRIX_ERROR_MAP.describe(problems, *missing)


def allow_all_origins(response: Response) -> Response:
    """Set the CORS header fields that let pages of any origin read a response."""
    response.headers.update(CORS)
    return response


def answer_preflight() -> Response | None:
    """Answer a CORS preflight on every path under the prefix, known or not."""
    if request.method == "OPTIONS" and request.path.startswith(f"{PREFIX}/"):
        return allow_all_origins(Response(status=204))
    return None


MATRIX_ERRORS = ErrorFormat(_render, _describe)
