"""HTTP requests of providers.

gunicorn.conf.py reads the providers' types before gevent patches TLS, and must not load an HTTP library: its
connections would block the worker.
"""

from typing import Any

from core.http_client import HttpClient, HttpResponse, RequestFailed
from sms.provider import Ambiguous, Unavailable


def request_once(client: HttpClient, method: str, url: str, **content: Any) -> HttpResponse:
    """Make one request and return the response, whatever its status.

    Raises Unavailable if the request certainly did not arrive, Ambiguous if it may have.
    """
    try:
        return client.request(method, url, **content)
    except RequestFailed as failure:
        kind = Ambiguous if failure.maybe_processed else Unavailable
        raise kind(failure.error_code) from failure
