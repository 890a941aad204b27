"""Problem documents (RFC 9457): the base class and the problems of every route; each part adds its own."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

MAX_ERRORS = 20


class FieldError(BaseModel):
    """An invalid field, by JSON pointer (RFC 6901)."""

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
    """What a rate limit has left (draft-ietf-httpapi-ratelimit-headers)."""

    name: str
    quota: int
    #: Seconds over which the quota is refilled.
    period_seconds: int
    remaining: int
    #: Seconds until one more is allowed; 0 while some are left.
    retry_after: int

    def headers(self) -> dict[str, str]:
        """Return the `RateLimit-Policy` and `RateLimit` header fields."""
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.quota};w={self.period_seconds}',
            "RateLimit": f'"{self.name}";r={self.remaining};t={self.retry_after}',
        }


class Problem(Exception):
    """An error response; raise it outside the transaction that counted the request.

    `detail` is for people and never holds a code, a token or a whole number.
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
            raise TypeError(f"{type(self).__name__} ({self.status}) needs retry_after")
        self.detail = detail
        #: Seconds; 0 if the client can act at once.
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
    """The request is not valid HTTP or JSON."""

    code, status, title = "malformed-request", 400, "Malformed request"


class InvalidFields(Problem):
    """Fields are missing, unknown, of the wrong type or out of bounds; `errors` names each."""

    code, status, title = "invalid-fields", 422, "Invalid fields"

    @classmethod
    def at(cls, pointer: str, detail: str) -> "InvalidFields":
        """Return the problem of one field, for a reason that its schema cannot express."""
        return cls.of([FieldError(pointer=pointer, detail=detail)])

    @classmethod
    def of(cls, faults: Sequence[FieldError]) -> "InvalidFields":
        """Return the problem of one or more fields; the first MAX_ERRORS are listed."""
        first = faults[0]
        # A sentence for people stands alone; programs find the pointer in `errors`.
        is_sentence = first.detail.endswith(".")
        detail = first.detail if is_sentence else f"{first.pointer or 'The body'}: {first.detail}"
        if len(faults) > 1:
            detail += f" (and {len(faults) - 1} more)"
        return cls(detail, errors=[fault.model_dump() for fault in faults[:MAX_ERRORS]])


class UnsupportedMediaType(Problem):
    """The route does not accept this media type."""

    code, status, title = "unsupported-media-type", 415, "Unsupported media type"


class BodyTooLarge(Problem):
    """The body exceeds its size limit."""

    code, status, title = "body-too-large", 413, "Body too large"


class RequestTimeout(Problem):
    """The body arrived too slowly or not at all; nothing was done."""

    code, status, title = "request-timeout", 408, "Request timeout"


class TooManyConnections(Problem):
    """The device has too many requests and sockets open at the same time."""

    code, status, title = "too-many-connections", 429, "Too many concurrent requests"


class NotFound(Problem):
    """Nothing exists at this path."""

    code, status, title = "not-found", 404, "Not found"


class MethodNotAllowed(Problem):
    """The path exists, but not for this method."""

    code, status, title = "method-not-allowed", 405, "Method not allowed"


class InternalError(Problem):
    """An unexpected error; the request id finds it in the logs."""

    code, status, title = "internal-error", 500, "Internal error"


class ServiceUnavailable(Problem):
    """The database is away or overloaded; nothing was done."""

    code, status, title = "service-unavailable", 503, "Service unavailable"


class OutcomeUnknown(Problem):
    """The database did not confirm the commit in time: the request may have succeeded."""

    code, status, title = "outcome-unknown", 503, "Outcome unknown"


class StorageFull(Problem):
    """Only the reserve of the disk is left: requests that only add are refused."""

    code, status, title = "storage-full", 503, "Storage full"


class IdempotencyKeyReused(Problem):
    """The idempotency key was used before with another request."""

    code, status, title = "idempotency-key-reused", 422, "Idempotency key reused"


class IdempotencyAnswerWithheld(Problem):
    """The request was done with this key before, and the key is too short to repeat its answer."""

    code, status, title = (
        "idempotency-answer-withheld",
        409,
        "Idempotent answer withheld",
    )


class IdempotencyInProgress(Problem):
    """The first request with this idempotency key is still being answered."""

    code, status, title = "idempotency-in-progress", 409, "Idempotent request in progress"
