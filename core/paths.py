"""Which paths are answered: those that are written plainly, and the metrics where they are meant to be.

Proxies judge a path by how it is written. One that is written otherwise, `//metrics` or `/%6detrics`, would
lead past their rules to the same route.
"""

import re

from flask import Flask, request

from core.problems import NotFound
from core.serving.connection import Connection

#: A slash twice, or an escape of what needs none: a letter, a digit, a slash.
_DISGUISED = re.compile(r"//|%(?:2[Ff]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa])")
#: What a request to a proxy begins with (RFC 9112, absolute-form).
_AUTHORITY = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
METRICS = "/metrics"


def is_plain(target: str) -> bool:
    """Say whether the path of a request target is written as a route is."""
    path = _AUTHORITY.sub("", target.partition("?")[0])
    # No target has a fragment (RFC 9112 section 3.2), and who reads it may or may not cut it off.
    return "#" not in target and _DISGUISED.search(path) is None


def install(app: Flask, metrics_port: int | None) -> None:
    """Refuse other paths in every view of an application, in the format of their part of it."""
    app.url_map.merge_slashes = False

    @app.before_request
    def judge_path() -> None:
        if not is_plain(request.environ.get("RAW_URI", "")):
            raise NotFound("Write the path plainly: no slash twice, no letter or digit escaped.")
        if metrics_port is None:
            return
        connection = request.environ.get("gunicorn.socket")
        at_port = isinstance(connection, Connection) and connection.serves_metrics
        if at_port != (request.path == METRICS):
            raise NotFound("The metrics have a port of their own, and nothing else is there.")
