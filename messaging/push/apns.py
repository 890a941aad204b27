"""The Apple Push Notification service: a background notification over HTTP/2, by token authentication."""

import json
import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from core.http_client import HttpResponse
from core.settings import SettingsError
from messaging.push.provider import (
    TIMEOUT_SECONDS,
    TOPIC,
    TTL_SECONDS,
    PushTarget,
    SubscriptionGone,
    WakeupFailed,
    failed_request,
)
from messaging.push.settings import PushName, PushSettings, p256_key

#: Apple accepts a token for an hour, and refuses new ones more often than every 20 minutes.
TOKEN_LIFETIME = timedelta(minutes=40)
#: Reasons by which the address is not one of the app's (any more).
GONE_REASONS = frozenset(
    {"Unregistered", "ExpiredToken", "BadDeviceToken", "DeviceTokenNotForTopic"}
)
_PAYLOAD = json.dumps({"aps": {"content-available": 1}}).encode()
_REASON = re.compile(r"[A-Za-z]{1,40}")


class ApnsProvider:
    """Wakes Apple's devices."""

    name: PushName = "apns"

    def __init__(
        self,
        url: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        key_id: str,
        team_id: str,
        topic: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._key, self._key_id, self._team_id = key, key_id, team_id
        self._topic = topic
        self._clock = clock
        connect, read = TIMEOUT_SECONDS
        # TLS negotiates the protocol; without TLS, which only tests use, both sides must know it.
        self._client = httpx.Client(
            base_url=url,
            http1=False,
            http2=True,
            timeout=httpx.Timeout(read, connect=connect),
            limits=httpx.Limits(max_connections=4),
        )
        self._lock = threading.Lock()
        self._token: tuple[str, datetime] | None = None

    @classmethod
    def from_settings(cls, settings: PushSettings, clock: Callable[[], datetime]) -> "ApnsProvider":
        """Build it from the settings; raises SettingsError when they lack key and app."""
        file, key_id = settings.apns_key_file, settings.apns_key_id
        team_id, topic = settings.apns_team_id, settings.apns_topic
        if file is None or key_id is None or team_id is None or topic is None:
            raise SettingsError("APNs needs a key, its id, a team and a topic")
        return cls(
            settings.apns_url,
            p256_key(file.read_text()),
            key_id=key_id,
            team_id=team_id,
            topic=topic,
            clock=clock,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def wake(self, target: PushTarget) -> None:
        """Send; raises SubscriptionGone or WakeupFailed."""
        now = self._clock()
        headers = {
            "authorization": f"bearer {self._provider_token(now)}",
            "apns-push-type": "background",
            # The only one that Apple accepts for background notifications.
            "apns-priority": "5",
            "apns-topic": self._topic,
            "apns-collapse-id": TOPIC,
            "apns-expiration": str(int(now.timestamp()) + TTL_SECONDS),
        }
        try:
            answer = self._client.post(
                f"/3/device/{target.address}", content=_PAYLOAD, headers=headers
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise WakeupFailed("unavailable") from None
        except httpx.TransportError:
            raise WakeupFailed("unknown") from None
        if answer.status_code < 300:
            return
        response = HttpResponse(answer.status_code, answer.headers, answer.content)
        reason = _reason(response)
        if response.status == 410 or reason in GONE_REASONS:
            raise SubscriptionGone
        if reason == "ExpiredProviderToken":
            with self._lock:
                self._token = None
            raise WakeupFailed("unavailable")
        raise failed_request(self.name, response.status, response.retry_after(), reason)

    def _provider_token(self, now: datetime) -> str:
        with self._lock:
            if self._token is None or self._token[1] <= now:
                claims = {"iss": self._team_id, "iat": now}
                token = jwt.encode(claims, self._key, "ES256", headers={"kid": self._key_id})
                self._token = token, now + TOKEN_LIFETIME
            return self._token[0]


def _reason(response: HttpResponse) -> str | None:
    reason = (response.document() or {}).get("reason")
    return reason if isinstance(reason, str) and _REASON.fullmatch(reason) else None
