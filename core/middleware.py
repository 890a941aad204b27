"""Middleware: request ids, logging, metrics, error responses.

A client learns nothing of an internal error but the request id, which finds it in the logs.
"""

import re
import time
from uuid import uuid4

import structlog
from flask import Flask, Response, g, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as DatabaseBusy
from structlog.contextvars import bind_contextvars, clear_contextvars
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.exceptions import MethodNotAllowed as NoSuchMethod

from core.api import render_problem
from core.database_errors import problem_of
from core.metrics import Metrics
from core.problems import (
    BodyTooLarge,
    InternalError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    Problem,
    RequestTimeout,
)
from core.requester import RequesterResolver

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
#: Routes that monitors poll; they are not logged.
QUIET = ("/livez", "/readyz", "/metrics")


def install(app: Flask, metrics: Metrics, requesters: RequesterResolver, max_body: int) -> None:
    """Install the middleware; max_body: bytes."""
    app.config["MAX_CONTENT_LENGTH"] = max_body

    @app.before_request
    def begin() -> None:
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        g.requester = requesters.resolve(request.remote_addr, request.headers.get(requesters.field))
        clear_contextvars()
        bind_contextvars(request_id=g.request_id)
        g.started = time.perf_counter()
        g.problem = None

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.started
        # The rule, not the path: ids in paths would make the label unbounded.
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.url_rule else "none"
        metrics.requests.labels(method, route, response.status_code).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        if g.problem:
            metrics.problems.labels(g.problem).inc()
        response.headers["X-Request-Id"] = g.request_id
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        if route not in QUIET:
            log.info(
                "request",
                method=method,
                route=route,
                status=response.status_code,
                ms=round(seconds * 1000, 2),
                **({"problem": g.problem} if g.problem else {}),
            )
        return response

    app.register_error_handler(Problem, render_problem)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(DBAPIError, _database_failed)
    app.register_error_handler(DatabaseBusy, _database_failed)
    app.register_error_handler(Exception, _unexpected)


def _http_exception(error: HTTPException) -> Response:
    problem: Problem
    if isinstance(error, RequestEntityTooLarge):
        problem = BodyTooLarge("The body is over this service's limit; send it in parts.")
    elif error.code == 408:
        problem = RequestTimeout("The body arrived at less than 1 KiB a second; send it again.")
    elif error.code == 404:
        problem = NotFound("No route has this path; /docs lists them all.")
    elif isinstance(error, NoSuchMethod):
        allowed = sorted(error.valid_methods or [])
        response = render_problem(MethodNotAllowed(f"Use {' or '.join(allowed)}."))
        response.headers["Allow"] = ", ".join(allowed)
        return response
    elif error.code is not None and error.code < 400:
        return Response(status=error.code, headers=error.get_headers())
    else:
        problem = MalformedRequest("The request cannot be read.")
    return render_problem(problem)


def _database_failed(error: DBAPIError | DatabaseBusy) -> Response:
    log.error("database.failed", error=type(error).__name__)
    problem = problem_of(error)
    return render_problem(problem) if problem else _unexpected(error)


def _unexpected(error: Exception) -> Response:
    log.error("unexpected", exc_info=error)
    return render_problem(InternalError("Include the request id when you report this."))
