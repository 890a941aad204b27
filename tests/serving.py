"""An application served from a thread of the test, for those who bring sockets of their own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask_openapi3 import OpenAPI
from werkzeug.serving import WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    """Logs nothing: what is logged is the application's."""

    protocol_version = "HTTP/1.1"

    def log(self, *_: Any) -> None:
        """Let it go."""


@contextmanager
def served(app: OpenAPI) -> Iterator[tuple[str, int]]:
    """Serve in this block, each request in a thread; give the address."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    server.daemon_threads = False  # so that closing it waits for what they have of the database
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[:2]  # type: ignore[misc]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
