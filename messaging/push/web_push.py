"""Web Push (RFC 8030): one constant message, encrypted for the browser (RFC 8291), under VAPID.

A client chooses the endpoint: requests to it are guarded (`core/guarded_requests.py`), and of its answer only
the status and Retry-After count.
"""

import json
from collections.abc import Callable
from datetime import datetime

from pywebpush import WebPusher

from core.base64url import encode
from core.guarded_requests import GuardedAdapter
from core.host_resolver import HostResolver
from core.http_client import HttpClient
from messaging.push.provider import (
    CONTENT,
    TIMEOUT_SECONDS,
    TOPIC,
    TTL_SECONDS,
    PushTarget,
    SubscriptionGone,
    WakeupFailed,
    failed_request,
    request,
)
from messaging.push.settings import PushName
from messaging.push.vapid import Vapid

#: Connections kept to push services, of which there are few in the world.
MAX_CONNECTIONS = 32
#: Not empty, because some push services accept no empty message; never anything else.
_BODY = json.dumps(CONTENT).encode()


class WebPushProvider:
    """Wakes browsers."""

    name: PushName = "webpush"

    def __init__(
        self,
        vapid: Vapid,
        addresses: HostResolver,
        clock: Callable[[], datetime],
        ports: frozenset[int] | None = None,
    ) -> None:
        self._vapid = vapid
        self._clock = clock
        self._client = HttpClient(
            self.name,
            TIMEOUT_SECONDS,
            from_environment=False,
            adapter=GuardedAdapter(addresses, sum(TIMEOUT_SECONDS), MAX_CONNECTIONS, ports),
        )

    def wake(self, target: PushTarget) -> None:
        """Post to the endpoint; raises SubscriptionGone or WakeupFailed."""
        keys = {"p256dh": encode(target.p256dh or b""), "auth": encode(target.auth or b"")}
        body = WebPusher({"endpoint": target.address, "keys": keys}).encode(_BODY)["body"]
        headers = {
            "Authorization": self._vapid.authorization(target.address, self._clock()),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(TTL_SECONDS),
            "Topic": TOPIC,
            "Urgency": "high",
        }
        answer = request(self._client, target.address, body, headers)
        if answer.status in (404, 410):
            raise SubscriptionGone
        if 300 <= answer.status < 400:
            # The guard checked this address, not the one in Location.
            raise WakeupFailed("refused")
        if answer.status >= 300:
            raise failed_request(self.name, answer.status, answer.retry_after())
