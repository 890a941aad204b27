"""The client of the library: one object for one server and, with a token, one device.

It stores nothing; `kith.storage` keeps the credentials of the command.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Self

import httpx

from kith.api.account import AccountCalls
from kith.api.discovery import DiscoveryCalls
from kith.api.groups import GroupCalls
from kith.api.keys import KeyCalls
from kith.api.messages import MessageCalls
from kith.api.verification import VerificationCalls, solve_challenge
from kith.transport import RetryPolicy, Transport


class Kith(VerificationCalls, AccountCalls, DiscoveryCalls, KeyCalls, MessageCalls, GroupCalls):
    """A client of one Kith server.

    base_url: such as "https://kith.example.com". device_token: from `register` or
    `redeem_device_link`. transport: an httpx transport, for tests and special networks. timeout:
    seconds to connect and to wait for an answer (a long poll adds its own wait). retries: see
    RetryPolicy; `NO_RETRIES` turns them off. sleep: waits between tries. solve_challenge: solves
    the challenges of the server; with None, ChallengeRequired is raised. Methods raise KithError:
    KithProblem, KithUnreachable, KithAnswerUnreadable or ChallengeRefused. Threads may share a
    client. As a context manager it closes its connections.
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
        """Raise ValueError for an invalid address or token; no connection is opened yet."""
        self._solve_challenge = solve_challenge
        self._transport = Transport(
            base_url,
            device_token=device_token,
            transport=transport,
            timeout=timeout,
            retries=retries or RetryPolicy(),
            sleep=sleep,
        )

    @property
    def device_token(self) -> str | None:
        """The token of requests; set it after `register` or after storing a new one."""
        return self._transport.device_token

    @device_token.setter
    def device_token(self, token: str | None) -> None:
        self._transport.device_token = token

    @property
    def stream_address(self) -> str:
        """The address of the message stream, ws:// or wss:// like the server's."""
        url = self._transport.url
        scheme = "wss" if url.scheme == "https" else "ws"
        return str(url.copy_with(scheme=scheme, path=f"{url.path.rstrip('/')}/v1/stream"))

    def is_alive(self) -> bool:
        """Return True if the server process answers; raise KithError otherwise."""
        return self._transport.call("GET", "/livez").is_success

    def is_ready(self) -> bool:
        """Return True if the server can serve requests; raise KithError otherwise."""
        return self._transport.call("GET", "/readyz").is_success

    def metrics(self) -> str:
        """Return the server's metrics in the Prometheus text format."""
        return self._transport.call("GET", "/metrics").text

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def __repr__(self) -> str:
        """Return the server, without the token."""
        return f"Kith({self._transport.host!r})"
