"""Errors of other protocols: a status and a code for each problem, whatever part of the service raised it.

Owns how a table of them is read and documented; each door owns its table and what an error looks like.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

from core.problems import Problem


class Fault(NamedTuple):
    """An HTTP status and the protocol's code."""

    status: int
    code: str


@dataclass(frozen=True)
class Faults:
    """A protocol's table. A problem that is not in it goes by its status, so a new one needs no change."""

    by_problem: Mapping[type[Problem], Fault]
    by_status: Mapping[int, Fault]
    #: Of any other refusal, and of any other fault of ours.
    invalid: Fault
    internal: Fault

    def of(self, kind: type[Problem]) -> Fault:
        """Give the protocol's status and code for a kind of problem."""
        otherwise = self.invalid if kind.status < 500 else self.internal
        return self.by_problem.get(kind, self.by_status.get(kind.status, otherwise))


def describe_faults(faults: list[Fault], schema: str, **more: Any) -> dict[str, Any]:
    """Describe errors for the OpenAPI document, grouped by status; `more` is said of each."""
    codes: dict[int, set[str]] = {}
    for status, code in faults:
        codes.setdefault(status, set()).add(code)
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: "
            + ", ".join(f"`{code}`" for code in sorted(named)),
            **more,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
        }
        for status, named in codes.items()
    }
