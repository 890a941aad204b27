"""HTTP requests to one server: headers, time-outs, retries and problems.

Redirects are not followed, so that a token never goes to another address.
"""

import json
import os
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, TypedDict, Unpack

import httpx

from kith.errors import (
    KithAnswerUnreadable,
    KithAuthoritiesUnreadable,
    KithCertificateRefused,
    KithProblem,
    KithUnreachable,
    redact,
)
from kith.problems import read_problem

VISIBLE_ASCII = re.compile(r"[!-~]+")
_UNAVAILABLE = frozenset({502, 503, 504})  # 502 and 504: a proxy, while the server restarts


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a request that is safe to repeat is retried; all times in seconds.

    tries: requests in all. first_delay doubles up to longest_delay, with up to half of it random.
    total_wait: limit of all waits of one call. patience: the longest Retry-After to wait for after
    a 429 or an idempotency-in-progress; with a longer one the problem is raised.
    """

    tries: int = 3
    first_delay: float = 0.25
    longest_delay: float = 4.0
    total_wait: float = 20.0
    patience: float = 5.0

    def delay(self, attempt: int) -> float:
        """Return the seconds to wait after failed try `attempt` (from 1)."""
        whole = min(self.longest_delay, self.first_delay * 2.0 ** (attempt - 1))
        return whole * random.uniform(0.5, 1.0)  # noqa: S311  # jitter


NO_RETRIES = RetryPolicy(tries=1)


class CallOptions(TypedDict, total=False):
    """Options of one call.

    repeatable: whether the request may reach the server twice (the default). done_when: problems
    that mean success when an earlier try got no answer, as "not found" does for a repeated DELETE.
    wait: seconds that the server was asked to hold the answer back.
    """

    query: Mapping[str, str | int] | None
    idempotency_key: str
    repeatable: bool
    done_when: tuple[type[KithProblem], ...]
    wait: float


class Transport:
    """Sends requests to one server; as thread-safe as httpx.Client."""

    def __init__(
        self,
        base_url: str,
        *,
        device_token: str | None,
        transport: httpx.BaseTransport | None,
        timeout: float,
        retries: RetryPolicy,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raise ValueError for an address that is not http(s)://host[:port][/path], and
        KithAuthoritiesUnreadable. No connection is opened yet.
        """
        try:
            url = httpx.URL(base_url)
        except (httpx.InvalidURL, UnicodeError):
            raise ValueError("The server address cannot be read.") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(
                "The server address must begin with http:// or https:// and name a host."
            )
        self.url = url
        self.host = f"{url.host}:{url.port}" if url.port else url.host
        self.device_token = device_token
        self.timeout = timeout
        self._retries = retries
        self._sleep = sleep
        try:
            self._client = httpx.Client(
                base_url=url,
                transport=transport,
                timeout=timeout,
                headers={"User-Agent": f"kith/{version('kith')}"},
            )
        except OSError as error:  # ssl.SSLError is one
            named = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or "they"
            raise KithAuthoritiesUnreadable(
                f"The certificate authorities cannot be read: {named}:"
                f" {error.strerror or 'no certificates in PEM'}."
            ) from None

    @property
    def device_token(self) -> str | None:
        """The token that every request carries, or None."""
        return self._device_token

    @device_token.setter
    def device_token(self, token: str | None) -> None:
        # httpx rejects such a token as well, but with the token in its message.
        if token is not None and not VISIBLE_ASCII.fullmatch(token):
            raise ValueError("A device token holds visible ASCII characters only.")
        self._device_token = token

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> httpx.Response:
        """Return the 2xx answer to one request, retried where that is safe; raise KithProblem or
        KithUnreachable.
        """
        request = self._request(method, path, body, options)
        policy = self._retries if options.get("repeatable", True) else NO_RETRIES
        waited, unanswered, attempt = 0.0, False, 0
        while True:
            attempt += 1
            try:
                response = self._client.send(request)
            except httpx.DecodingError:
                raise KithAnswerUnreadable("The answer's content encoding is broken.") from None
            except httpx.TransportError as error:
                unanswered = True
                failure: KithUnreachable | KithProblem = self._unreachable(error)
                # A certificate does not change within seconds.
                certificate = isinstance(failure, KithCertificateRefused)
                pause = None if certificate else policy.delay(attempt)
            else:
                if response.is_success:
                    return response
                failure = read_problem(response)
                if unanswered and isinstance(failure, options.get("done_when", ())):
                    return response
                pause = _pause(failure, policy, attempt)
            if pause is None or attempt >= policy.tries or waited + pause > policy.total_wait:
                raise failure from None
            self._sleep(pause)
            waited += pause

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, options: CallOptions
    ) -> httpx.Request:
        headers = {"Accept": "application/json"}
        if self._device_token is not None:
            headers["Authorization"] = f"Bearer {self._device_token}"
        if "idempotency_key" in options:
            headers["Idempotency-Key"] = options["idempotency_key"]
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode("ascii")
        return self._client.build_request(
            method,
            path,
            content=content,
            headers=headers,
            params=options.get("query"),
            timeout=httpx.Timeout(self.timeout, read=self.timeout + options.get("wait", 0)),
        )

    def _unreachable(self, error: httpx.TransportError) -> KithUnreachable:
        refused = _certificate_error(error)
        if refused is not None:
            return KithCertificateRefused(
                f"The certificate of {self.host} is not accepted: {refused}."
            )
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return KithUnreachable(f"No connection to {self.host}.")
        if isinstance(error, httpx.TimeoutException):
            return KithUnreachable(f"No answer from {self.host} in time.")
        return KithUnreachable(
            f"The connection to {self.host} broke before the answer was complete."
        )


def _certificate_error(error: BaseException | None) -> str | None:
    """Return what is wrong with the server's certificate, None for an error of another kind."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return redact(error.verify_message.rstrip(".")) or "no reason given"
        error = error.__cause__ or error.__context__
    return None


def _pause(problem: KithProblem, policy: RetryPolicy, attempt: int) -> float | None:
    """Return the seconds to wait before a retry, None when a retry does not help."""
    wait, delay = problem.retry_after, policy.delay(attempt)
    if problem.status in _UNAVAILABLE:
        return delay if wait is None else max(float(wait), delay)
    if problem.code == "checks-exhausted":
        return None  # its Retry-After is for another verification
    if problem.status == 429 or problem.code == "idempotency-in-progress":
        return None if wait is None or wait > policy.patience else max(float(wait), delay)
    return None
