"""CAMARA's errors: every problem of the service has one, known to the table or not."""

import pytest

import app as application
from core.problems import Problem
from interop.camara.errors import FAULTS
from interop.errors import Fault
from tests.problems import every_problem

#: All codes that one-time-password-sms 1.1.1 and Commonalities 0.6 name, by status.
CODES = {
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


def test_each_problem_has_a_code_of_its_status() -> None:
    """Whatever the service below refuses is said in CAMARA's words."""
    assert application.VERSION
    problems = list(every_problem())
    assert len(problems) > 30
    for problem in problems:
        status, code = FAULTS.of(problem)
        assert code.removeprefix("ONE_TIME_PASSWORD_SMS.") in CODES[status], problem


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (403, Fault(403, "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED")),
        (418, Fault(400, "INVALID_ARGUMENT")),
        (422, Fault(400, "INVALID_ARGUMENT")),
        (428, Fault(429, "TOO_MANY_REQUESTS")),
        (429, Fault(429, "TOO_MANY_REQUESTS")),
        (502, Fault(500, "INTERNAL")),
    ],
)
def test_a_problem_that_the_table_does_not_know(status: int, expected: Fault) -> None:
    """A rule that is added below goes by its status."""
    unknown = type("Unknown", (Problem,), {"code": "unknown", "status": status, "title": "New"})
    assert FAULTS.of(unknown) == expected
