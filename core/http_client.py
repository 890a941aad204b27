"""An HTTP client that makes one bounded attempt a request.

It never retries, follows no redirect, keeps no cookie, and reads a response only up to a size and a time.
What a failure means is for the caller.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from ssl import SSLCertVerificationError
from typing import Any

import requests
import structlog
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectTimeout, InvalidURL, ProxyError, ReadTimeout
from urllib3.exceptions import (
    HTTPError,
    LocationValueError,
    MaxRetryError,
    NewConnectionError,
    ReadTimeoutError,
)

log = structlog.get_logger()

MAX_CONNECTIONS = 1000
MAX_RETRY_AFTER_SECONDS = 3600
#: A longer body is cut, and no longer a JSON document then.
MAX_RESPONSE_BYTES = 65_536
JSON_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "Kith",
}


@dataclass(frozen=True)
class HttpResponse:
    """A response of any status; `body` holds at most `MAX_RESPONSE_BYTES` bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def maybe_processed(self) -> bool:
        """Whether a proxy may have forwarded the request before it failed."""
        return self.status == 303 or self.status >= 500

    @property
    def text(self) -> str:
        """The body as UTF-8; invalid bytes are replaced."""
        return self.body.decode("utf-8", "replace")

    def document(self) -> dict[str, Any] | None:
        """Return the body as a JSON object, or None if it is anything else."""
        try:
            document = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None

    def retry_after(self) -> int | None:
        """Return Retry-After in seconds, at most `MAX_RETRY_AFTER_SECONDS` (RFC 9110, 10.2.3).

        A date is compared with the response's own `Date`, so the two clocks need not agree.
        """
        value = self.headers.get("Retry-After", "").strip()
        if value.isascii() and value.isdigit():
            # Slicing keeps int() away from a field of thousands of digits.
            return min(int(value[:9]), MAX_RETRY_AFTER_SECONDS)
        try:
            until = parsedate_to_datetime(value)
            now = parsedate_to_datetime(self.headers.get("Date", ""))
            seconds = int(until.timestamp() - now.timestamp())
        except (ValueError, OverflowError):
            return None
        return min(max(seconds, 1), MAX_RETRY_AFTER_SECONDS)


class RequestFailed(Exception):
    """There is no response. `maybe_processed` is False if the request certainly did not arrive."""

    def __init__(self, error_code: str, *, maybe_processed: bool) -> None:
        super().__init__(error_code)
        self.error_code = error_code
        self.maybe_processed = maybe_processed


class HttpClient:
    """Makes requests and never repeats one; built once, used by many threads at the same time.

    name: names its failures in the log.
    timeouts: seconds to connect, and to wait for bytes of the response; the latter also bounds its body.
    ca_file: certificates to trust instead of the public authorities'.
    from_environment: whether to use the environment's proxies and certificates.
    adapter: carries the requests; by default one that pools connections to one host.
    """

    def __init__(
        self,
        name: str,
        timeouts: tuple[float, float],
        *,
        ca_file: Path | None = None,
        from_environment: bool = True,
        adapter: HTTPAdapter | None = None,
    ) -> None:
        self._name = name
        self._timeouts = timeouts
        self._session = _Session()
        self._session.trust_env = from_environment
        self._session.verify = str(ca_file) if ca_file else True
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        adapter = adapter or HTTPAdapter(
            pool_connections=1, pool_maxsize=MAX_CONNECTIONS, max_retries=0
        )
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def request(self, method: str, url: str, **content: Any) -> HttpResponse:
        """Make one request and return the response, whatever its status.

        `content` is what requests takes: `params`, `data`, `headers`, `auth`. Raises RequestFailed if there
        is no response.
        """
        try:
            with self._session.request(
                method, url, timeout=self._timeouts, allow_redirects=False, stream=True, **content
            ) as response:
                body = _read(response, self._timeouts[1])
                return HttpResponse(response.status_code, response.headers, body)
        except (requests.RequestException, HTTPError) as fault:
            raise self._failure(fault) from fault

    def _failure(self, fault: requests.RequestException | HTTPError) -> RequestFailed:
        """Tell a request that never left this host from one that may have arrived."""
        wrapped = fault.args[0] if fault.args else None
        reason = wrapped.reason if isinstance(wrapped, MaxRetryError) else wrapped
        if isinstance(fault, ConnectTimeout):
            return RequestFailed("connect-timeout", maybe_processed=False)
        unaddressed = isinstance(fault, ProxyError | InvalidURL | LocationValueError)
        if unaddressed or isinstance(reason, NewConnectionError):
            return RequestFailed("connect-failed", maybe_processed=False)
        cause = reason.args[0] if isinstance(reason, Exception) and reason.args else None
        if isinstance(cause, SSLCertVerificationError):
            log.error(f"{self._name}.refused", error_code="certificate-invalid")
            return RequestFailed("certificate-invalid", maybe_processed=False)
        late = isinstance(fault, ReadTimeout | ReadTimeoutError)
        return RequestFailed("read-timeout" if late else "connection-lost", maybe_processed=True)


class _Session(requests.Session):
    """A session to which a redirect is a response like any other."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find none: looking for it would read a body of any length, and fail on a bad address."""


def _read(response: requests.Response, seconds: float) -> bytes:
    """Read a body up to its bounds in bytes and in time."""
    deadline = time.monotonic() + seconds
    body = b""
    while len(body) < MAX_RESPONSE_BYTES:
        part = response.raw.read1(MAX_RESPONSE_BYTES - len(body), decode_content=True)
        if not part:
            break
        body += part
        if time.monotonic() > deadline:
            raise ReadTimeout
    return body
