"""One HTTP request a send: a single attempt, and what each way it can fail means for the send.

Owns the way to the network that providers share. Refuses to try again, to follow a redirect, to keep a
cookie, and to read an answer without end.
"""

import json
import re
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

from sms.provider import Ambiguous, SendFailure, Unavailable

log = structlog.get_logger()

CONNECTIONS = 1000
MAX_RETRY = 3600
#: Bytes of an answer's body; what is longer is cut, and then no document.
MAX_ANSWER_BYTES = 65_536
_MESSAGE_ID = re.compile(r"[!-~]{1,64}")


@dataclass(frozen=True)
class HttpAnswer:
    """What came back: any status, the header fields, and the body up to `MAX_ANSWER_BYTES` bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def may_have_sent(self) -> bool:
        """Whether a hop on the way may have passed the request on before it failed."""
        return self.status == 303 or self.status >= 500

    @property
    def text(self) -> str:
        """The body as UTF-8, with a mark for what is none."""
        return self.body.decode("utf-8", "replace")

    def document(self) -> dict[str, Any] | None:
        """Read the body as a JSON object; None for anything else."""
        try:
            document = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None

    def retry_after(self) -> int | None:
        """Read Retry-After as seconds or as a date (RFC 9110, 10.2.3), within bounds.

        A date is measured against the answer's own `Date`, so no two clocks need to agree.
        """
        value = self.headers.get("Retry-After", "").strip()
        if value.isascii() and value.isdigit():
            # Slicing keeps int() away from a field of thousands of digits.
            return min(int(value[:9]), MAX_RETRY)
        try:
            until = parsedate_to_datetime(value)
            now = parsedate_to_datetime(self.headers.get("Date", ""))
            seconds = int(until.timestamp() - now.timestamp())
        except (ValueError, OverflowError):
            return None
        return min(max(seconds, 1), MAX_RETRY)


class OneRequest:
    """Makes requests of which none is repeated; built once, used by many threads at the same time.

    `timeouts` are seconds to connect, and to wait for bytes of the answer; its whole body has the latter
    as well. With a `ca_file` only certificates under it are believed. Unless `from_environment`, the
    environment's proxies and certificates are not used. An `adapter` carries the requests elsewhere than to
    one host of the operator's choice.
    """

    def __init__(
        self,
        provider: str,
        timeouts: tuple[float, float],
        *,
        ca_file: Path | None = None,
        from_environment: bool = True,
        adapter: HTTPAdapter | None = None,
    ) -> None:
        self._provider = provider
        self._timeouts = timeouts
        self._session = _Session()
        self._session.trust_env = from_environment
        self._session.verify = str(ca_file) if ca_file else True
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        adapter = adapter or HTTPAdapter(
            pool_connections=1, pool_maxsize=CONNECTIONS, max_retries=0
        )
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def make(self, method: str, url: str, **content: Any) -> HttpAnswer:
        """Make one request and give its answer, whatever its status; raises SendFailure without one.

        `content` is what requests takes: `params`, `data`, `headers`, `auth`.
        """
        try:
            with self._session.request(
                method, url, timeout=self._timeouts, allow_redirects=False, stream=True, **content
            ) as answer:
                body = _read(answer, self._timeouts[1])
                return HttpAnswer(answer.status_code, answer.headers, body)
        except (requests.RequestException, HTTPError) as fault:
            raise self._judge(fault) from fault

    def _judge(self, fault: requests.RequestException | HTTPError) -> SendFailure:
        """Tell what never left this host from what may have arrived."""
        wrapped = fault.args[0] if fault.args else None
        reason = wrapped.reason if isinstance(wrapped, MaxRetryError) else wrapped
        if isinstance(fault, ConnectTimeout):
            return Unavailable("connect-timeout")
        unaddressed = isinstance(fault, ProxyError | InvalidURL | LocationValueError)
        if unaddressed or isinstance(reason, NewConnectionError):
            return Unavailable("connect-failed")
        if isinstance(reason, Exception) and isinstance(_first(reason), SSLCertVerificationError):
            log.error(f"{self._provider}.refused", error_code="certificate-invalid")
            return Unavailable("certificate-invalid")
        late = isinstance(fault, ReadTimeout | ReadTimeoutError)
        return Ambiguous("read-timeout" if late else "connection-lost")


class _Session(requests.Session):
    """A session to which a redirect is an answer like any other, whatever it points at."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find none: looking for it would read a body of any length, and fail on a bad address."""


def message_id(value: object) -> str:
    """Take a provider's id of a message, 1 to 64 visible ASCII characters; else raises Ambiguous.

    Whoever answered so took the request all the same.
    """
    if not isinstance(value, str) or not _MESSAGE_ID.fullmatch(value):
        raise Ambiguous("answer-unreadable")
    return value


def _read(answer: requests.Response, seconds: float) -> bytes:
    """Read a body, no further than its bounds in bytes and in time."""
    deadline = time.monotonic() + seconds
    body = b""
    while len(body) < MAX_ANSWER_BYTES:
        part = answer.raw.read1(MAX_ANSWER_BYTES - len(body), decode_content=True)
        if not part:
            break
        body += part
        if time.monotonic() > deadline:
            raise ReadTimeout
    return body


def _first(error: Exception) -> object:
    return error.args[0] if error.args else None
