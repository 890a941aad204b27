"""Error maps: the status and code that another protocol has for each of our problems."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, NamedTuple

from flask import Response
from pydantic import BaseModel

from core.problems import Problem


class ErrorMapping(NamedTuple):
    """An HTTP status and the protocol's code."""

    status: int
    code: str


@dataclass(frozen=True)
class ErrorMap:
    """The errors of one protocol. A problem without an entry maps by its status, so new ones need none."""

    by_problem: Mapping[type[Problem], ErrorMapping]
    by_status: Mapping[int, ErrorMapping]
    #: Of any other problem below 500, and from 500 on.
    invalid: ErrorMapping
    internal: ErrorMapping
    #: The schema of error bodies in the OpenAPI document, and the header fields of each error.
    schema: str
    headers: Mapping[str, Any] = field(default_factory=dict)

    def of(self, kind: type[Problem]) -> ErrorMapping:
        """Return the status and code of a kind of problem."""
        otherwise = self.invalid if kind.status < 500 else self.internal
        return self.by_problem.get(kind, self.by_status.get(kind.status, otherwise))

    def describe(
        self, problems: tuple[type[Problem], ...], *more: ErrorMapping
    ) -> dict[str, dict[str, Any]]:
        """Describe the errors of an operation for the OpenAPI document, by status."""
        codes: dict[int, set[str]] = {}
        for status, code in (*map(self.of, problems), *more):
            codes.setdefault(status, set()).add(code)
        schema = {"schema": {"$ref": f"#/components/schemas/{self.schema}"}}
        headers = {"headers": self.headers} if self.headers else {}
        return {
            str(status): {
                "description": f"{HTTPStatus(status).phrase}: "
                + ", ".join(f"`{code}`" for code in sorted(named)),
                **headers,
                "content": {"application/json": schema},
            }
            for status, named in codes.items()
        }


def error_response(problem: Problem, status: int, body: BaseModel) -> Response:
    """Return a problem as a response in another protocol's form, with our header fields."""
    text = body.model_dump_json(exclude_none=True)
    return Response(text, status, problem.headers(), mimetype="application/json")


def message_of(problem: Problem) -> str:
    """Return the text of a problem for a person, as one line."""
    return f"{problem.title}. {problem.detail}"
