"""Errors as CAMARA writes them: our problems translated, whatever part of the service raised them.

Owns the one table from problems to CAMARA's statuses and codes, and the correlation id of each answer. A
problem that is not in the table goes by its status, so that a new rule below needs no change here.
"""

import re
from typing import Any

from flask import Response, g, request

from core.api import Refusals
from core.phone_numbers import PhoneNumberInvalid, PhoneNumberRefused
from core.problems import Problem, UnsupportedMediaType
from interop.camara.schemas import ErrorInfo
from interop.errors import Fault, Faults, describe_faults
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

INVALID_ARGUMENT = Fault(400, "INVALID_ARGUMENT")
VERIFICATION_EXPIRED = Fault(400, "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED")
VERIFICATION_FAILED = Fault(400, "ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED")
INVALID_OTP = Fault(400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP")
NOT_ALLOWED = Fault(403, "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED")
BLOCKED = Fault(403, "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED")
INTERNAL = Fault(500, "INTERNAL")

BY_PROBLEM: dict[type[Problem], Fault] = {
    CodeRejected: INVALID_OTP,
    # Well written and not the code; CAMARA does not tell which strings might be one.
    CodeUnreadable: INVALID_OTP,
    ChecksExhausted: VERIFICATION_FAILED,
    VerificationExpired: VERIFICATION_EXPIRED,
    VerificationClosed: VERIFICATION_EXPIRED,
    LongerCodeRequired: VERIFICATION_EXPIRED,
    ScopeMissing: Fault(403, "PERMISSION_DENIED"),
    TooManySends: Fault(403, "ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED"),
    PhoneNumberRefused: NOT_ALLOWED,
    TestNumberExpired: NOT_ALLOWED,
    SendRejected: NOT_ALLOWED,
    SendBlocked: BLOCKED,
    DestinationRefused: BLOCKED,
    # Well written, but nobody's: Commonalities, test definition C02.02.
    PhoneNumberInvalid: Fault(404, "NOT_FOUND"),
}
BY_STATUS = {
    401: Fault(401, "UNAUTHENTICATED"),
    403: NOT_ALLOWED,
    404: Fault(404, "NOT_FOUND"),
    405: Fault(405, "METHOD_NOT_ALLOWED"),
    409: Fault(409, "CONFLICT"),
    415: Fault(415, "UNSUPPORTED_MEDIA_TYPE"),
    # To prove some work first is nothing that CAMARA knows; to come back later is.
    428: Fault(429, "TOO_MANY_REQUESTS"),
    429: Fault(429, "TOO_MANY_REQUESTS"),
    503: Fault(503, "UNAVAILABLE"),
}


FAULTS = Faults(BY_PROBLEM, BY_STATUS, INVALID_ARGUMENT, INTERNAL)


def _translate(problem: Problem) -> Fault:
    if isinstance(problem, CodeRejected) and problem.members["checks_left"] == 0:
        return VERIFICATION_FAILED
    if isinstance(problem, UnsupportedMediaType) and not request.mimetype:
        # No body at all has no media type either, and is what a client forgot.
        return INVALID_ARGUMENT
    return FAULTS.of(type(problem))


def _render(problem: Problem) -> Response:
    status, code = _translate(problem)
    body = ErrorInfo(status=status, code=code, message=f"{problem.title}. {problem.detail}")
    return correlate(
        Response(body.model_dump_json(), status, problem.headers(), mimetype="application/json")
    )


def _describe(problems: tuple[type[Problem], ...]) -> dict[str, Any]:
    faults = [FAULTS.of(kind) for kind in problems]
    return describe_faults(faults, "ErrorInfo", headers={CORRELATOR: CORRELATOR_HEADER})


def can_correlate(text: str) -> bool:
    """Say whether a text can be a correlation id."""
    return _CORRELATOR.fullmatch(text) is not None


def correlate(response: Response) -> Response:
    """Give an answer the correlation id of its request, or the request's id when it brought none."""
    given = request.headers.get(CORRELATOR)
    usable = given is not None and can_correlate(given)
    response.headers[CORRELATOR] = given if usable else g.request_id
    return response


CAMARA_ERRORS = Refusals(_render, _describe)
