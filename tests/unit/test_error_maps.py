"""Error maps: each problem of the service has an error in every other protocol, in its table or not."""

import pytest

import app as application
from core.problems import Problem
from interop.camara.errors import CAMARA_ERROR_MAP
from interop.errors import ErrorMap, ErrorMapping
from interop.matrix.errors import MATRIX_ERROR_MAP
from tests.problems import every_problem

#: All codes that one-time-password-sms 1.1.1 and Commonalities 0.6 name, by status.
CAMARA_CODES = {
    400: {"INVALID_ARGUMENT", "INVALID_OTP", "VERIFICATION_EXPIRED", "VERIFICATION_FAILED"},
    401: {"UNAUTHENTICATED"},
    403: {
        "PERMISSION_DENIED",
        "MAX_OTP_CODES_EXCEEDED",
        "PHONE_NUMBER_NOT_ALLOWED",
        "PHONE_NUMBER_BLOCKED",
    },
    404: {"NOT_FOUND"},
    405: {"METHOD_NOT_ALLOWED"},
    409: {"CONFLICT"},
    415: {"UNSUPPORTED_MEDIA_TYPE"},
    429: {"QUOTA_EXCEEDED", "TOO_MANY_REQUESTS"},
    500: {"INTERNAL"},
    503: {"UNAVAILABLE"},
}
#: The codes of the Matrix specification, by the statuses that they have here.
MATRIX_CODES = {
    400: {
        *("M_NOT_JSON", "M_MISSING_PARAMS", "M_INVALID_PARAM", "M_INVALID_ADDRESS"),
        *("M_SEND_ERROR", "M_DESTINATION_REJECTED", "M_TOKEN_INCORRECT", "M_INVALID_PEPPER"),
        *("M_SESSION_EXPIRED", "M_SESSION_NOT_VALIDATED", "M_UNKNOWN"),
        *("M_THREEPID_IN_USE", "M_UNRECOGNIZED"),
    },
    401: {"M_UNAUTHORIZED", "M_UNKNOWN_TOKEN"},
    403: {"M_FORBIDDEN", "M_TERMS_NOT_SIGNED"},
    404: {"M_UNRECOGNIZED", "M_NOT_FOUND", "M_NO_VALID_SESSION"},
    405: {"M_UNRECOGNIZED"},
    413: {"M_TOO_LARGE"},
    429: {"M_LIMIT_EXCEEDED"},
    500: {"M_UNKNOWN"},
    503: {"M_UNKNOWN"},
}


@pytest.mark.parametrize(
    ("errors", "codes", "prefix"),
    [
        (CAMARA_ERROR_MAP, CAMARA_CODES, "ONE_TIME_PASSWORD_SMS."),
        (MATRIX_ERROR_MAP, MATRIX_CODES, ""),
    ],
)
def test_each_problem_has_a_code_of_its_status(
    errors: ErrorMap, codes: dict[int, set[str]], prefix: str
) -> None:
    """Every problem of the service has a code that the protocol names for its status."""
    assert application.VERSION
    problems = list(every_problem())
    assert len(problems) > 30
    for problem in problems:
        status, code = errors.of(problem)
        assert code.removeprefix(prefix) in codes[status], problem


@pytest.mark.parametrize(
    ("errors", "status", "expected"),
    [
        (
            CAMARA_ERROR_MAP,
            403,
            ErrorMapping(403, "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED"),
        ),
        (CAMARA_ERROR_MAP, 418, ErrorMapping(400, "INVALID_ARGUMENT")),
        (CAMARA_ERROR_MAP, 422, ErrorMapping(400, "INVALID_ARGUMENT")),
        (CAMARA_ERROR_MAP, 428, ErrorMapping(429, "TOO_MANY_REQUESTS")),
        (CAMARA_ERROR_MAP, 429, ErrorMapping(429, "TOO_MANY_REQUESTS")),
        (CAMARA_ERROR_MAP, 502, ErrorMapping(500, "INTERNAL")),
        (MATRIX_ERROR_MAP, 403, ErrorMapping(403, "M_FORBIDDEN")),
        (MATRIX_ERROR_MAP, 418, ErrorMapping(400, "M_INVALID_PARAM")),
        (MATRIX_ERROR_MAP, 422, ErrorMapping(400, "M_INVALID_PARAM")),
        (MATRIX_ERROR_MAP, 428, ErrorMapping(429, "M_LIMIT_EXCEEDED")),
        (MATRIX_ERROR_MAP, 502, ErrorMapping(500, "M_UNKNOWN")),
    ],
)
def test_a_problem_without_an_entry(errors: ErrorMap, status: int, expected: ErrorMapping) -> None:
    """A new problem maps by its status."""
    unknown = type("Unknown", (Problem,), {"code": "unknown", "status": status, "title": "New"})
    assert errors.of(unknown) == expected
