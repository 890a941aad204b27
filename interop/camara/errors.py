"""CAMARA's errors for our problems, and the correlation id of every response."""

import re
from typing import Any

from flask import Response, g, request

from core.api import ErrorFormat
from core.phone_numbers import PhoneNumberInvalid, PhoneNumberRefused
from core.problems import Problem, UnsupportedMediaType
from interop.camara.schemas import ErrorInfo
from interop.errors import ErrorMap, ErrorMapping, error_response, message_of
from sms.problems import SendBlocked, SendRejected
from tokens.problems import ScopeMissing
from verification.problems import (
    ChecksExhausted,
    CodeRejected,
    CodeUnreadable,
    DestinationRefused,
    LongerCodeRequired,
    TestNumberExpired,
    TooManySends,
    VerificationClosed,
    VerificationExpired,
)

CORRELATOR = "x-correlator"
CORRELATOR_HEADER: dict[str, Any] = {
    "description": "Correlation id for the different services",
    "schema": {"type": "string", "pattern": r"^[a-zA-Z0-9_:;./<>{}-]{0,256}$"},
}
_CORRELATOR = re.compile(CORRELATOR_HEADER["schema"]["pattern"])

INVALID_ARGUMENT = ErrorMapping(400, "INVALID_ARGUMENT")
VERIFICATION_EXPIRED = ErrorMapping(400, "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED")
VERIFICATION_FAILED = ErrorMapping(400, "ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED")
INVALID_OTP = ErrorMapping(400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP")
NOT_ALLOWED = ErrorMapping(403, "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED")
BLOCKED = ErrorMapping(403, "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED")

BY_PROBLEM: dict[type[Problem], ErrorMapping] = {
    CodeRejected: INVALID_OTP,
    # CAMARA does not say which texts cannot be a code.
    CodeUnreadable: INVALID_OTP,
    ChecksExhausted: VERIFICATION_FAILED,
    VerificationExpired: VERIFICATION_EXPIRED,
    VerificationClosed: VERIFICATION_EXPIRED,
    LongerCodeRequired: VERIFICATION_EXPIRED,
    ScopeMissing: ErrorMapping(403, "PERMISSION_DENIED"),
    TooManySends: ErrorMapping(403, "ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED"),
    PhoneNumberRefused: NOT_ALLOWED,
    TestNumberExpired: NOT_ALLOWED,
    SendRejected: NOT_ALLOWED,
    SendBlocked: BLOCKED,
    DestinationRefused: BLOCKED,
    # Valid as E.164, but not assigned: test definition C02.02.
    PhoneNumberInvalid: ErrorMapping(404, "NOT_FOUND"),
}
BY_STATUS = {
    401: ErrorMapping(401, "UNAUTHENTICATED"),
    403: NOT_ALLOWED,
    404: ErrorMapping(404, "NOT_FOUND"),
    405: ErrorMapping(405, "METHOD_NOT_ALLOWED"),
    409: ErrorMapping(409, "CONFLICT"),
    415: ErrorMapping(415, "UNSUPPORTED_MEDIA_TYPE"),
    # CAMARA has no challenge; it can say to come back later.
    428: ErrorMapping(429, "TOO_MANY_REQUESTS"),
    429: ErrorMapping(429, "TOO_MANY_REQUESTS"),
    503: ErrorMapping(503, "UNAVAILABLE"),
}


CAMARA_ERROR_MAP = ErrorMap(
    BY_PROBLEM,
    BY_STATUS,
    INVALID_ARGUMENT,
    ErrorMapping(500, "INTERNAL"),
    "ErrorInfo",
    {CORRELATOR: CORRELATOR_HEADER},
)


def _translate(problem: Problem) -> ErrorMapping:
    if isinstance(problem, CodeRejected) and problem.members["checks_left"] == 0:
        return VERIFICATION_FAILED
    if isinstance(problem, UnsupportedMediaType) and not request.mimetype:
        # There is no body at all.
        return INVALID_ARGUMENT
    return CAMARA_ERROR_MAP.of(type(problem))


def _render(problem: Problem) -> Response:
    status, code = _translate(problem)
    body = ErrorInfo(status=status, code=code, message=message_of(problem))
    return correlate(error_response(problem, status, body))


def can_correlate(text: str) -> bool:
    """Return whether a text can be a correlation id."""
    return _CORRELATOR.fullmatch(text) is not None


def correlate(response: Response) -> Response:
    """Set the correlation id of a response: the request's, or else its request id."""
    given = request.headers.get(CORRELATOR)
    usable = given is not None and can_correlate(given)
    response.headers[CORRELATOR] = given if usable else g.request_id
    return response


CAMARA_ERRORS = ErrorFormat(_render, CAMARA_ERROR_MAP.describe)
