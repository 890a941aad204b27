"""Blueprints that parse requests strictly, render models and document themselves.

flask-openapi3 writes the OpenAPI document. Its own validation rebuilds JSON schemas for every request, so
requests are parsed here instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from flask import Response, current_app, g, request
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.models import Schema
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from core.problems import (
    BodyTooLarge,
    FieldError,
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

Model = TypeVar("Model", bound=BaseModel)
View = TypeVar("View", bound=Callable[..., Any])
PROBLEM_TYPE = "application/problem+json"
MAX_IDEMPOTENCY_KEY_LENGTH = 255
#: The OpenAPI security requirement of routes that take a device token.
DEVICE_TOKEN: Mapping[str, list[str]] = {"device_token": []}


def service_token(scope: str) -> Mapping[str, list[str]]:
    """Return the OpenAPI security requirement of a service token with a scope."""
    return {"service_token": [scope]}


class Body(BaseModel):
    """Base of request bodies: unknown fields and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Query(BaseModel):
    """Base of query parameters, which arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """Base of responses."""

    model_config = ConfigDict(frozen=True)


def printable(value: str) -> str:
    """Return a line of text; raises ValueError for control characters, line ends and lone surrogates."""
    if not value.isprintable():
        raise ValueError("must not hold control characters")
    return value


#: A name that a person gives something: one line.
Name = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(printable)]


def invalid_fields(error: ValidationError, where: str = "") -> InvalidFields:
    """Return the problem of pydantic's errors; input values are never repeated."""
    return InvalidFields.of(
        [
            FieldError(
                pointer=where + "".join(f"/{_escape(part)}" for part in fault["loc"]),
                detail=_described(fault),
            )
            for fault in error.errors(include_url=False, include_input=False, include_context=False)
        ]
    )


def _described(fault: ErrorDetails) -> str:
    if fault["type"] == "string_pattern_mismatch":
        # pydantic would show the regular expression, which helps nobody.
        return "is not of the form that the API's document gives for it"
    return fault["msg"].removeprefix("Value error, ")


def _escape(part: int | str) -> str:
    """Return one step of a JSON pointer; a client's long unknown name is cut."""
    return str(part)[:64].replace("~", "~0").replace("/", "~1")


def read_body(*, keep: bool = False) -> bytes:
    """Return the request's body up to its limit; `keep` it for another reader."""
    body = request.get_data(cache=keep)
    if request.content_length is None:
        # Werkzeug cuts a chunked body at the limit silently; reading one more byte raises.
        request.stream.read(1)
    return body


def parse_body(model: type[Model]) -> Model:
    """Parse the request's JSON body into a model."""
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send the body as JSON, with Content-Type: application/json.")
    return parse_json(model)


def parse_json(model: type[Model]) -> Model:
    """Parse the request's body as JSON into a model, whatever its media type."""
    try:
        return model.model_validate_json(read_body())
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            raise MalformedRequest("The body is not valid JSON.") from None
        raise invalid_fields(error) from None


#: Parses the request's body into a model.
Parse = Callable[[type[Any]], Any]


def parse_query(model: type[Model]) -> Model:
    """Parse the query string into a model; a repeated parameter is an error."""
    values = request.args.to_dict(flat=False)
    try:
        return model.model_validate(
            {name: v[0] if len(v) == 1 else v for name, v in values.items()}
        )
    except ValidationError as error:
        raise invalid_fields(error, "?") from None


def idempotency_key() -> str | None:
    """Return the request's Idempotency-Key; None if there is none."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH) or not all("!" <= c <= "~" for c in key):
        raise MalformedRequest(
            f"An Idempotency-Key is 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} visible ASCII characters."
        )
    return key


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
