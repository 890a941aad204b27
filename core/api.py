"""Blueprints that parse requests strictly, render models and document themselves.

flask-openapi3 writes the OpenAPI document. Its own validation rebuilds JSON schemas for every request, so
requests are parsed here instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Response, current_app, g, request
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.models import Schema
from pydantic import BaseModel

from core.parsing import MAX_IDEMPOTENCY_KEY_LENGTH, Parse, parse_body, parse_query
from core.problems import (
    BodyTooLarge,
    InternalError,
    InvalidFields,
    MalformedRequest,
    OutcomeUnknown,
    Problem,
    ProblemDocument,
    RequestTimeout,
    ServiceUnavailable,
    StorageFull,
    UnsupportedMediaType,
)

View = TypeVar("View", bound=Callable[..., Any])
PROBLEM_TYPE = "application/problem+json"
#: The OpenAPI security requirement of routes that take a device token.
DEVICE_TOKEN: Mapping[str, list[str]] = {"device_token": []}


def service_token(scope: str) -> Mapping[str, list[str]]:
    """Return the OpenAPI security requirement of a service token with a scope."""
    return {"service_token": [scope]}


def render(answer: Any) -> Response:
    """Render the result of a view: a model, None (204), or either with status and headers."""
    status, headers = 200, None
    if isinstance(answer, tuple):
        answer, status, *rest = answer
        headers = rest[0] if rest else None
    if isinstance(answer, Response):
        return answer
    if answer is None:
        return Response(status=204, headers=headers)
    text = answer if isinstance(answer, str) else answer.model_dump_json()
    return Response(text, status, headers, mimetype="application/json")


def render_problem(problem: Problem) -> Response:
    """Render a problem in the error format of the blueprint whose prefix the path has.

    Stores the problem's code for log and metrics.
    """
    g.problem = problem.code
    for blueprint in current_app.blueprints.values():
        if isinstance(blueprint, Api) and blueprint.has_own_error_format(request.path):
            return blueprint.error_format.render(problem)
    return _problem_document(problem)


def _problem_document(problem: Problem) -> Response:
    body = problem.document(g.request_id)
    members = ProblemDocument.model_validate(body).model_dump_json(exclude_unset=True)
    return Response(members, problem.status, problem.headers(), content_type=PROBLEM_TYPE)


@dataclass(frozen=True)
class ErrorFormat:
    """How problems are rendered, and documented by status."""

    render: Callable[[Problem], Response]
    describe: Callable[[tuple[type[Problem], ...]], dict[str, Any]]


class Api(APIBlueprint):
    """A blueprint whose views take `path`, `query` and `body` models and return models.

    authenticate: returns the caller of every route, which views take as `caller`; None: all routes are
    public. security: the OpenAPI requirements, each of which is enough. problems: those of every route.
    headers: those that every route reads. error_format: for other protocols, applies to every error under the
    prefix, unknown paths and internal errors too. parse: parses bodies, where a protocol is less strict.
    """

    def __init__(
        self,
        name: str,
        import_name: str,
        *,
        description: str,
        authenticate: Callable[[], Any] | None = None,
        security: tuple[Mapping[str, list[str]], ...] = (DEVICE_TOKEN,),
        problems: tuple[type[Problem], ...] = (),
        headers: tuple[dict[str, Any], ...] = (),
        error_format: ErrorFormat | None = None,
        url_prefix: str | None = "/v1",
        parse: Parse = parse_body,
    ) -> None:
        super().__init__(
            name,
            import_name,
            url_prefix=url_prefix,
            abp_tags=[Tag(name=name, description=description)],
            abp_security=[dict(one) for one in security] if authenticate else None,
        )
        self.authenticate = authenticate
        self.error_format = error_format or PROBLEM_DOCUMENTS
        self._parse = parse
        self._headers = headers
        self._problems: tuple[type[Problem], ...] = (
            *(InternalError, ServiceUnavailable, OutcomeUnknown, StorageFull),
            *problems,
        )

    def has_own_error_format(self, path: str) -> bool:
        """Return whether a path is under this blueprint's prefix and has its own error format."""
        return self.error_format is not PROBLEM_DOCUMENTS and path.startswith(f"{self.url_prefix}/")

    def operation(
        self,
        method: str,
        rule: str,
        *,
        answer: type[BaseModel] | Mapping[str, Any] | None,
        status: int = 200,
        problems: tuple[type[Problem], ...] = (),
        takes_idempotency_key: bool = False,
        also: Mapping[str, Any] | None = None,
        reads: type[BaseModel] | None = None,
        reads_also: Mapping[str, Any] | None = None,
    ) -> Callable[[View], View]:
        """Register a view with its response and problems, which are all that it documents.

        reads: the JSON body of a view that parses it itself because it takes other media types too.
        reads_also: those, as OpenAPI describes them.
        """

        def register(view: View) -> View:
            hints = view.__annotations__
            known = self._problems + problems
            if "body" in hints or reads:
                known += (MalformedRequest, UnsupportedMediaType, BodyTooLarge, RequestTimeout)
            if "body" in hints or "query" in hints or reads:
                known += (InvalidFields,)
            if takes_idempotency_key:
                known += (MalformedRequest,)
            documented: dict[str, Any] = {str(status): answer, **(also or {})}
            documented |= self.error_format.describe(known)
            headers = [*self._headers, *([IDEMPOTENCY_HEADER] if takes_idempotency_key else [])]
            extensions: dict[str, Any] = {"parameters": headers} if headers else {}
            if reads:
                name = reads.__name__
                self.components_schemas[name] = Schema(**reads.model_json_schema())
                content = {"schema": {"$ref": f"#/components/schemas/{name}"}}
                extensions["requestBody"] = {
                    "required": True,
                    "content": {"application/json": content, **(reads_also or {})},
                }
            getattr(self, method.lower())(
                rule,
                responses=documented,
                operation_id=view.__name__,
                openapi_extensions=extensions or None,
            )(self._handler(view))
            return view

        return register

    def _handler(self, view: Callable[..., Any]) -> Callable[..., Response]:
        hints = view.__annotations__
        body, query, path = hints.get("body"), hints.get("query"), hints.get("path")
        takes_caller = "caller" in hints

        @wraps(view)
        def handle(**values: str) -> Response:
            arguments: dict[str, Any] = {}
            if self.authenticate:
                caller = self.authenticate()
                if takes_caller:
                    arguments["caller"] = caller
            if path:
                arguments["path"] = path.model_construct(**values)
            if query:
                arguments["query"] = parse_query(query)
            if body:
                arguments["body"] = self._parse(body)
            return render(view(**arguments))

        # Turns off flask-openapi3's validation.
        handle.__delay_validate_request__ = True  # type: ignore[attr-defined]
        return handle


IDEMPOTENCY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same request returns the same answer and does nothing twice. A"
    " random key of at least 22 characters returns its answer to any network. Without authentication, a"
    " shorter key is bound to the client's network and returns no id and no token again.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_IDEMPOTENCY_KEY_LENGTH,
        "pattern": "^[!-~]+$",
    },
}


def describe(problems: tuple[type[Problem], ...]) -> dict[str, Any]:
    """Return the OpenAPI responses of problems, grouped by status."""
    by_status: dict[int, dict[str, str]] = {}
    for problem in problems:
        by_status.setdefault(problem.status, {})[problem.code] = problem.title
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: "
            + "; ".join(f"`{code}` {title}" for code, title in sorted(codes.items())),
            "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status, codes in by_status.items()
    }


PROBLEM_DOCUMENTS = ErrorFormat(_problem_document, describe)
