"""Error responses to malformed requests, which never reach the application."""

import json
from http import HTTPStatus
from uuid import uuid4

from gunicorn.http.errors import (
    ExpectationFailed,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

from core.problems import InternalError, MalformedRequest, Problem, RequestTimeout
from core.serving.connection import Connection

_STATUSES: dict[type[Exception], HTTPStatus] = {
    LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
}
_PROBLEMS: dict[HTTPStatus, type[Problem]] = {
    HTTPStatus.BAD_REQUEST: MalformedRequest,
    HTTPStatus.REQUEST_TIMEOUT: RequestTimeout,
    HTTPStatus.INTERNAL_SERVER_ERROR: InternalError,
}


def status_of(error: Exception) -> HTTPStatus:
    """Return the status of the response to a request that caused an error."""
    for kind, status in _STATUSES.items():
        if isinstance(error, kind):
            return status
    if isinstance(error, ParseException):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.INTERNAL_SERVER_ERROR


def refuse(connection: Connection, status: HTTPStatus) -> None:
    """Send a problem document that repeats nothing of the request; the connection closes after it."""
    instance = uuid4().hex
    problem = _PROBLEMS.get(status)
    document = (
        {"type": "about:blank", "title": status.phrase, "status": status, "instance": instance}
        if problem is None
        else problem("The request cannot be read.").document(instance)
    )
    body = json.dumps(document).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nX-Request-Id: {instance}\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
