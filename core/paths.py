"""Checks of the request path: only its plain spelling, and `/metrics` only at its port.

Proxies match rules against the spelling of a path. Another spelling, `//metrics` or `/%6detrics`, would
bypass their rules and reach the same route.
"""

import re

from flask import Flask, request

from core.problems import NotFound
from core.serving.connection import Connection

#: A double slash, or an escape of a letter, a digit or a slash.
_DISGUISED = re.compile(r"//|%(?:2[Ff]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa])")
#: Scheme and host of a request to a proxy (RFC 9112, absolute-form).
_AUTHORITY = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
METRICS = "/metrics"


def is_plain(target: str) -> bool:
    """Return whether the path of a request target is spelled plainly."""
    path = _AUTHORITY.sub("", target.partition("?")[0])
    # A target has no fragment (RFC 9112 section 3.2); some readers cut one off, others do not.
    return "#" not in target and _DISGUISED.search(path) is None


def install(app: Flask, metrics_port: int | None) -> None:
    """Answer all other paths with `not-found`, in the error format of their blueprint."""
    app.url_map.merge_slashes = False

    @app.before_request
    def judge_path() -> None:
        if not is_plain(request.environ.get("RAW_URI", "")):
            raise NotFound(
                "Write the path without double slashes and without escaped letters or digits."
            )
        if metrics_port is None:
            return
        connection = request.environ.get("gunicorn.socket")
        at_port = isinstance(connection, Connection) and connection.serves_metrics
        if at_port != (request.path == METRICS):
            raise NotFound("Metrics have their own port, which serves nothing else.")
