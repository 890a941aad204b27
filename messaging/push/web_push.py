"""Web Push (RFC 8030): one constant message, encrypted for the browser (RFC 8291), under VAPID.

Owns the request and what its answers mean. The endpoint is whatever a client said: the way to it is guarded
(`core/guarded_requests.py`), and its answer is believed in nothing but its status and Retry-After.
"""

import json
from collections.abc import Callable
from datetime import datetime

from pywebpush import WebPusher

from core.addresses import Addresses
from core.base64url import encode
from core.guarded_requests import GuardedAdapter
from core.http_client import HttpClient
from messaging.push.provider import (
    CONTENT,
    LIFETIME,
    TIMEOUTS,
    TOPIC,
    Failed,
    Gone,
    Target,
    failure,
    request,
)
from messaging.push.settings import PushName
from messaging.push.vapid import Vapid

#: Connections that are kept to a push service; there are few of them in the world.
CONNECTIONS = 32
#: Not empty, because some push services take no empty ones, and never anything else.
_BODY = json.dumps(CONTENT).encode()


class WebPushProvider:
    """Wakes browsers."""

    name: PushName = "webpush"

    def __init__(
        self,
        vapid: Vapid,
        addresses: Addresses,
        clock: Callable[[], datetime],
        ports: frozenset[int] | None = None,
    ) -> None:
        self._vapid = vapid
        self._clock = clock
        self._client = HttpClient(
            self.name,
            TIMEOUTS,
            from_environment=False,
            adapter=GuardedAdapter(addresses, sum(TIMEOUTS), CONNECTIONS, ports),
        )

    def wake(self, target: Target) -> None:
        """Post to the endpoint; raises Gone or Failed."""
        keys = {"p256dh": encode(target.p256dh or b""), "auth": encode(target.auth or b"")}
        body = WebPusher({"endpoint": target.address, "keys": keys}).encode(_BODY)["body"]
        headers = {
            "Authorization": self._vapid.authorization(target.address, self._clock()),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(LIFETIME),
            "Topic": TOPIC,
            "Urgency": "high",
        }
        answer = request(self._client, target.address, body, headers)
        if answer.status in (404, 410):
            raise Gone
        if 300 <= answer.status < 400:
            # The guard judged this address, not the one that it names.
            raise Failed("refused")
        if answer.status >= 300:
            raise failure(self.name, answer.status, answer.retry_after())
