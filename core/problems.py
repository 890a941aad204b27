"""Everything that can go wrong on the wire, as RFC 9457 problem documents.

Owns the base class, the document and the problems any route can give; each part adds its own.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

MAX_ERRORS = 20


class FieldError(BaseModel):
    """One field that was refused, by JSON pointer (RFC 6901)."""

    pointer: str
    detail: str


class ProblemDocument(BaseModel):
    """The body of every refusal (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldError] | None = None
    checks_left: int | None = None
    retry_after: int | None = None
    missing: list[str] | None = Field(
        None, description="`devices-mismatched`: devices without an envelope."
    )
    extra: list[str] | None = Field(
        None, description="`devices-mismatched`: devices that are not the recipient's."
    )
    stale: list[str] | None = Field(
        None, description="`devices-mismatched`: devices with other keys by now."
    )
    version: int | None = Field(None, description="`group-changed`: the version there is.")
    unknown: list[str] | None = Field(
        None, description="`accounts-unknown`: the accounts that are not there."
    )
    number_type: str | None = Field(
        None, description="`phone-number-refused`: the kind of number that it is."
    )


class RateLimitStatus(NamedTuple):
    """What a limit has left: announced in `RateLimit` (draft-ietf-httpapi-ratelimit-headers)."""

    name: str
    quota: int
    #: Seconds over which the quota is refilled.
    period_seconds: int
    remaining: int
    #: Seconds until one more is allowed; 0 while some are left.
    retry_after: int

    def headers(self) -> dict[str, str]:
        """Render the `RateLimit-Policy` and `RateLimit` fields."""
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.quota};w={self.period_seconds}',
            "RateLimit": f'"{self.name}";r={self.remaining};t={self.retry_after}',
        }


class Problem(Exception):
    """A refusal that the caller can understand; raise it outside the transaction that counted.

    `detail` is written for a person and never holds a code, a token or a whole number.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        retry_after: int | None = None,
        rate_limit: RateLimitStatus | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        if retry_after is None and rate_limit is not None:
            retry_after = max(1, rate_limit.retry_after)
        if retry_after is None and self.status in (423, 429):
            raise TypeError(f"{type(self).__name__} ({self.status}) must say when to come back")
        self.detail = detail
        #: Seconds; 0 where what is to be done next can be done at once.
        self.retry_after = None if retry_after is None else max(0, retry_after)
        self.rate_limit = rate_limit
        self.members = members

    def document(self, request_id: str) -> dict[str, Any]:
        """Render the problem document of this refusal."""
        body: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": request_id,
        }
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        return body | self.members

    def headers(self) -> dict[str, str]:
        """Render the header fields that go with the document."""
        fields = self.rate_limit.headers() if self.rate_limit else {}
        if self.retry_after is not None:
            fields["Retry-After"] = str(self.retry_after)
        if self.status == 401:
            fields["WWW-Authenticate"] = 'Bearer realm="kith"'
        return fields


class MalformedRequest(Problem):
    """The request is not HTTP or JSON that can be read."""

    code, status, title = "malformed-request", 400, "The request cannot be read"


class InvalidFields(Problem):
    """Fields are missing, unknown, of the wrong type or out of bounds; `errors` names each."""

    code, status, title = "invalid-fields", 422, "Some fields are not valid"

    @classmethod
    def at(cls, pointer: str, detail: str) -> "InvalidFields":
        """Refuse one field, for a reason that its schema cannot know."""
        return cls.of([FieldError(pointer=pointer, detail=detail)])

    @classmethod
    def of(cls, faults: Sequence[FieldError]) -> "InvalidFields":
        """Refuse fields, of which there is at least one; the first twenty are named."""
        first = faults[0]
        # What is written for a person stands by itself; the pointer is in `errors` for programs.
        is_sentence = first.detail.endswith(".")
        detail = first.detail if is_sentence else f"{first.pointer or 'The body'}: {first.detail}"
        if len(faults) > 1:
            detail += f" (and {len(faults) - 1} more)"
        return cls(detail, errors=[fault.model_dump() for fault in faults[:MAX_ERRORS]])


class UnsupportedMediaType(Problem):
    """The body is not of the media type that the route takes."""

    code, status, title = "unsupported-media-type", 415, "This media type is not taken here"


class BodyTooLarge(Problem):
    """The body is over its limit."""

    code, status, title = "body-too-large", 413, "The body is too large"


class RequestTimeout(Problem):
    """The body came too slowly, or not at all; nothing was done."""

    code, status, title = "request-timeout", 408, "The request took too long to arrive"


class TooManyConnections(Problem):
    """The device has too many requests and sockets open at the same time."""

    code, status, title = "too-many-connections", 429, "Too many requests at the same time"


class NotFound(Problem):
    """There is nothing at this path."""

    code, status, title = "not-found", 404, "There is nothing here"


class MethodNotAllowed(Problem):
    """The path exists, but not for this method."""

    code, status, title = "method-not-allowed", 405, "This method is not allowed here"


class InternalError(Problem):
    """Something unexpected went wrong here; the request id finds it in the logs."""

    code, status, title = "internal-error", 500, "Something went wrong on our side"


class ServiceUnavailable(Problem):
    """The database is away or overloaded; nothing was done."""

    code, status, title = "service-unavailable", 503, "The service is not available right now"


class OutcomeUnknown(Problem):
    """The database did not confirm what was asked for in time: it may be done, or not."""

    code, status, title = "outcome-unknown", 503, "Whether it was done is not known"


class StorageFull(Problem):
    """Only the reserve of the disk is left: what only adds is refused, what makes room is not."""

    code, status, title = "storage-full", 503, "There is no room to store it"


class IdempotencyKeyReused(Problem):
    """The idempotency key was used before with another request."""

    code, status, title = "idempotency-key-reused", 422, "This idempotency key was used before"


class IdempotencyAnswerWithheld(Problem):
    """The request was done under this key before, and the key is too short to be told the answer for."""

    code, status, title = (
        "idempotency-answer-withheld",
        409,
        "This was done before, and its answer is not repeated",
    )


class IdempotencyInProgress(Problem):
    """The first request with this idempotency key is still being answered."""

    code, status, title = "idempotency-in-progress", 409, "The first request is still running"
