"""Errors as Matrix writes them: our problems translated, whatever part of the service raised them.

Owns the one table from problems to the specification's statuses and codes, and the CORS header fields
that are on every answer under its prefix. A problem that is not in the table goes by its status, so that a
new rule below needs no change here.
"""

from typing import Any

from flask import Response, request

from core.api import Refusals
from core.phone_numbers import PhoneNumberInvalid, PhoneNumberRefused
from core.problems import InvalidFields, MalformedRequest, Problem
from discovery.problems import BudgetTooSmall, EpochUnknown
from interop.errors import Fault, Faults, describe_faults
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
#: What pydantic says of a field that did not come.
ABSENT = "Field required"

MISSING = Fault(400, "M_MISSING_PARAMS")
INVALID = Fault(400, "M_INVALID_PARAM")
INVALID_ADDRESS = Fault(400, "M_INVALID_ADDRESS")
SEND_ERROR = Fault(400, "M_SEND_ERROR")
TOKEN_INCORRECT = Fault(400, "M_TOKEN_INCORRECT")
SESSION_EXPIRED = Fault(400, "M_SESSION_EXPIRED")
TOO_LARGE = Fault(413, "M_TOO_LARGE")
LIMIT_EXCEEDED = Fault(429, "M_LIMIT_EXCEEDED")

BY_PROBLEM: dict[type[Problem], Fault] = {
    MalformedRequest: Fault(400, "M_NOT_JSON"),
    PhoneNumberInvalid: INVALID_ADDRESS,
    PhoneNumberRefused: INVALID_ADDRESS,
    TestNumberExpired: INVALID_ADDRESS,
    DestinationRefused: Fault(400, "M_DESTINATION_REJECTED"),
    SendRejected: SEND_ERROR,
    SendBlocked: SEND_ERROR,
    SendUnavailable: SEND_ERROR,
    CodeRejected: TOKEN_INCORRECT,
    CodeUnreadable: TOKEN_INCORRECT,
    VerificationNotFound: Fault(404, "M_NO_VALID_SESSION"),
    VerificationNotVerified: Fault(400, "M_SESSION_NOT_VALIDATED"),
    VerificationExpired: SESSION_EXPIRED,
    VerificationClosed: SESSION_EXPIRED,
    ChecksExhausted: SESSION_EXPIRED,
    LongerCodeRequired: SESSION_EXPIRED,
    VerificationUsed: SESSION_EXPIRED,
    EpochUnknown: Fault(400, "M_INVALID_PEPPER"),
    BudgetTooSmall: TOO_LARGE,
    HomeserverUnavailable: Fault(400, "M_UNKNOWN"),
    MatrixTermsNotSigned: Fault(403, "M_TERMS_NOT_SIGNED"),
    MatrixTokenUnknown: Fault(401, "M_UNKNOWN_TOKEN"),
    RegistrationLocked: Fault(403, "M_FORBIDDEN"),
    SigningKeyNotFound: Fault(404, "M_NOT_FOUND"),
    MatrixNumberInUse: Fault(400, "M_THREEPID_IN_USE"),
    MatrixMediumUnknown: Fault(400, "M_UNRECOGNIZED"),
    # Synapse takes 400 for "no unbinding here" and goes on with what its user asked for.
    SignedRequestMalformed: INVALID,
    SignedRequestRefused: Fault(403, "M_FORBIDDEN"),
}
BY_STATUS = {
    401: Fault(401, "M_UNAUTHORIZED"),
    403: Fault(403, "M_FORBIDDEN"),
    404: Fault(404, "M_UNRECOGNIZED"),
    405: Fault(405, "M_UNRECOGNIZED"),
    409: LIMIT_EXCEEDED,
    413: TOO_LARGE,
    # To prove some work first is nothing that Matrix knows; to come back later is.
    428: LIMIT_EXCEEDED,
    429: LIMIT_EXCEEDED,
    503: Fault(503, "M_UNKNOWN"),
}


FAULTS = Faults(BY_PROBLEM, BY_STATUS, INVALID, Fault(500, "M_UNKNOWN"))


def _translate(problem: Problem) -> Fault:
    if isinstance(problem, InvalidFields):
        faults = problem.members.get("errors", [])
        if any(fault["detail"] == ABSENT for fault in faults):
            return MISSING
    return FAULTS.of(type(problem))


def _render(problem: Problem) -> Response:
    status, code = _translate(problem)
    wait = problem.retry_after
    body = MatrixError(
        errcode=code,
        error=f"{problem.title}. {problem.detail}",
        retry_after_ms=None if wait is None else wait * 1000,
        mxid=problem.members.get("mxid"),
    )
    text = body.model_dump_json(exclude_none=True)
    return share(Response(text, status, problem.headers(), mimetype="application/json"))


def _describe(problems: tuple[type[Problem], ...]) -> dict[str, Any]:
    faults = [FAULTS.of(kind) for kind in problems]
    if InvalidFields in problems:
        faults.append(MISSING)
    return describe_faults(faults, "MatrixError")


def share(response: Response) -> Response:
    """Let pages of any origin read an answer."""
    response.headers.update(CORS)
    return response


def answer_preflight() -> Response | None:
    """Answer what a browser asks before a request, on every path of this door, known or not."""
    if request.method == "OPTIONS" and request.path.startswith(f"{PREFIX}/"):
        return share(Response(status=204))
    return None


MATRIX_ERRORS = Refusals(_render, _describe)
