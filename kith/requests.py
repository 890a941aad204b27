"""Own one request to the server: headers, time-outs, retries, and turning a refusal into its
exception.

Refuse to follow redirects (a token must not travel to another address) and to repeat what is not
safe to repeat.
"""

import json
import os
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from kith.errors import (
    KithAnswerUnreadable,
    KithAuthoritiesUnreadable,
    KithCertificateRefused,
    KithProblem,
    KithUnreachable,
    redact,
)
from kith.refusals import problem_of

VISIBLE = re.compile(r"[!-~]+")
_BUSY = frozenset({502, 503, 504})  # 502 and 504 are what a proxy says while the server restarts


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a request that is safe to repeat is repeated; all times in seconds.

    tries: requests in all. first_delay doubles up to longest_delay, and half of each delay is left
    to chance. total_wait: bound of all waiting of one call. patience: longest Retry-After that is
    waited out after a 429 or an idempotency-in-progress; a longer one is the caller's to decide.
    """

    tries: int = 3
    first_delay: float = 0.25
    longest_delay: float = 4.0
    total_wait: float = 20.0
    patience: float = 5.0

    def delay(self, attempt: int) -> float:
        """Return the pause after failed try number `attempt` (from 1)."""
        whole = min(self.longest_delay, self.first_delay * 2.0 ** (attempt - 1))
        return whole * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, guards nothing


NO_RETRIES = RetryPolicy(tries=1)


class Requests:
    """Send requests to one server; thread-safe as far as httpx.Client is."""

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
        """Open nothing yet; raise ValueError for an address that is not
        http(s)://host[:port][/path], and KithAuthoritiesUnreadable.
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
            self._client = httpx.Client(base_url=url, transport=transport, timeout=timeout)
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
        # httpx would fail on such a token too, but with the token in its message.
        if token is not None and not VISIBLE.fullmatch(token):
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
        *,
        query: Mapping[str, str | int] | None = None,
        idempotency_key: str | None = None,
        repeatable: bool = True,
        done_when: tuple[type[KithProblem], ...] = (),
        wait: float = 0,
    ) -> httpx.Response:
        """Return the 2xx answer to one request, repeating it where that is safe and helps.

        repeatable: the request may reach the server twice without doing more than once. done_when:
        problems that mean success when an earlier try got no answer, as "not found" does for a
        repeated DELETE. wait: seconds that the server was asked to hold the answer back. Raise
        KithProblem or KithUnreachable.
        """
        request = self._request(method, path, body, query, idempotency_key, wait)
        policy = self._retries if repeatable else NO_RETRIES
        waited, unanswered, attempt = 0.0, False, 0
        while True:
            attempt += 1
            try:
                response = self._client.send(request)
            except httpx.DecodingError:
                raise KithAnswerUnreadable("The answer's content encoding is broken.") from None
            except httpx.TransportError as error:
                unanswered = True
                pause: float | None = policy.delay(attempt)
                failure: KithUnreachable | KithProblem = self._unreachable(error)
                if isinstance(failure, KithCertificateRefused):
                    pause = None  # it is the same in a second
            else:
                if response.is_success:
                    return response
                problem = problem_of(response)
                if unanswered and isinstance(problem, done_when):
                    return response
                pause = _pause(problem, policy, attempt)
                failure = problem
            if pause is None or attempt >= policy.tries or waited + pause > policy.total_wait:
                raise failure from None
            self._sleep(pause)
            waited += pause

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str | int] | None,
        idempotency_key: str | None,
        wait: float,
    ) -> httpx.Request:
        headers = {"Accept": "application/json"}
        if self._device_token is not None:
            headers["Authorization"] = f"Bearer {self._device_token}"
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode("ascii")
        return self._client.build_request(
            method,
            path,
            content=content,
            headers=headers,
            params=query,
            timeout=httpx.Timeout(self.timeout, read=self.timeout + wait),
        )

    def _unreachable(self, error: httpx.TransportError) -> KithUnreachable:
        refused = _certificate_fault(error)
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


def _certificate_fault(error: BaseException | None) -> str | None:
    """Return what is wrong with the certificate that ended a connection; None when another
    fault did.
    """
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return redact(error.verify_message.rstrip(".")) or "no reason given"
        error = error.__cause__ or error.__context__
    return None


def _pause(problem: KithProblem, policy: RetryPolicy, attempt: int) -> float | None:
    wanted = problem.retry_after
    if problem.status in _BUSY:
        return (
            policy.delay(attempt) if wanted is None else max(float(wanted), policy.delay(attempt))
        )
    if problem.code == "checks-exhausted":
        # It says when another verification may be started; this one's answer stays the same.
        return None
    if problem.status == 429 or problem.code == "idempotency-in-progress":
        return (
            None
            if wanted is None or wanted > policy.patience
            else max(float(wanted), policy.delay(attempt))
        )
    return None
