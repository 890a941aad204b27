"""Matrix's errors: every problem of the service has one, known to the table or not."""

import pytest

import app as application
from core.problems import Problem
from interop.errors import Fault
from interop.matrix.errors import FAULTS
from tests.problems import every_problem

#: The codes that the specification names, by the statuses that they come with here.
CODES = {
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


def test_each_problem_has_a_code_of_its_status() -> None:
    """Whatever the service below refuses is said in Matrix's words."""
    assert application.VERSION
    problems = list(every_problem())
    assert len(problems) > 30
    for problem in problems:
        status, code = FAULTS.of(problem)
        assert code in CODES[status], problem


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (403, Fault(403, "M_FORBIDDEN")),
        (418, Fault(400, "M_INVALID_PARAM")),
        (422, Fault(400, "M_INVALID_PARAM")),
        (428, Fault(429, "M_LIMIT_EXCEEDED")),
        (502, Fault(500, "M_UNKNOWN")),
    ],
)
def test_a_problem_that_the_table_does_not_know(status: int, expected: Fault) -> None:
    """A rule that is added below goes by its status."""
    unknown = type("Unknown", (Problem,), {"code": "unknown", "status": status, "title": "New"})
    assert FAULTS.of(unknown) == expected
