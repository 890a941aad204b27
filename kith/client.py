"""Own the client class of the library: one object for one server and, where there is one, one
device.

Refuse to store anything (the command's `kith.credentials` does) and to import anything of the
server.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import httpx

from kith.calls.account import AccountCalls
from kith.calls.contacts import ContactCalls
from kith.calls.discovery import DiscoveryCalls
from kith.calls.groups import GroupCalls
from kith.calls.keys import KeyCalls
from kith.calls.messaging import MessagingCalls
from kith.calls.push import PushCalls
from kith.calls.verification import VerificationCalls
from kith.challenges import solve_challenge
from kith.requests import Requests, RetryPolicy


class Kith(
    VerificationCalls,
    AccountCalls,
    DiscoveryCalls,
    KeyCalls,
    MessagingCalls,
    ContactCalls,
    GroupCalls,
    PushCalls,
):
    """Speak to one Kith server.

    base_url: such as "https://kith.example.com". device_token: what `register` or
    `redeem_device_link` returned. transport: an httpx transport, for tests and special networks.
    timeout: seconds for connecting and for each answer (a long poll adds its own wait). retries:
    see RetryPolicy; `NO_RETRIES` turns them off. sleep: what waits between tries. solve_challenge:
    what makes the solution of a challenge that the server sets before a text; with None
    ChallengeRequired is raised. Methods raise KithProblem (a class a code), KithUnreachable,
    KithAnswerUnreadable or ChallengeRefused, all KithError. Usable from several threads, and as a
    context manager that closes the connections.
    """

    def __init__(
        self,
        base_url: str,
        device_token: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 10.0,
        retries: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        solve_challenge: Callable[[Mapping[str, Any]], str] | None = solve_challenge,
    ) -> None:
        """Open no connection yet; raise ValueError for an unusable address or token."""
        self._solve_challenge = solve_challenge
        self._requests = Requests(
            base_url,
            device_token=device_token,
            transport=transport,
            timeout=timeout,
            retries=retries or RetryPolicy(),
            sleep=sleep,
        )

    @property
    def device_token(self) -> str | None:
        """The token that requests carry; set it after `register` or after storing a new one."""
        return self._requests.device_token

    @device_token.setter
    def device_token(self, token: str | None) -> None:
        self._requests.device_token = token

    @property
    def stream_address(self) -> str:
        """Where the stream of messages is: ws:// or wss://, as the server's address is."""
        url = self._requests.url
        scheme = "wss" if url.scheme == "https" else "ws"
        return str(url.copy_with(scheme=scheme, path=f"{url.path.rstrip('/')}/v1/stream"))

    def is_alive(self) -> bool:
        """Return True once the server's process answers; raise KithError when it does not."""
        return self._requests.call("GET", "/livez").is_success

    def is_ready(self) -> bool:
        """Return True once the server can serve; raise KithError when it cannot."""
        return self._requests.call("GET", "/readyz").is_success

    def metrics(self) -> str:
        """Return the server's metrics in the Prometheus text format."""
        return self._requests.call("GET", "/metrics").text

    def close(self) -> None:
        """Close the connections."""
        self._requests.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def __repr__(self) -> str:
        """Name the server, never the token."""
        return f"Kith({self._requests.host!r})"
