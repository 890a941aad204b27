"""Requests and responses: the base models, and strict parsing into them."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from flask import request
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from core.problems import FieldError, InvalidFields, MalformedRequest, UnsupportedMediaType

Model = TypeVar("Model", bound=BaseModel)
MAX_IDEMPOTENCY_KEY_LENGTH = 255


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
