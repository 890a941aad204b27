"""Firebase Cloud Messaging (HTTP v1): a data message that says only that something waits.

The service account gets its access token by RFC 7523.
"""

import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import jwt

from core.http_client import HttpClient, HttpResponse
from core.settings import SettingsError
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
from messaging.push.settings import PushName, PushSettings, ServiceAccount

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
#: The lifetime asked for, and how long before its end the token is replaced.
TOKEN_LIFETIME, TOKEN_MARGIN = timedelta(hours=1), timedelta(minutes=5)
#: Error codes by which the app is gone from the device, or was never ours.
GONE_CODES = frozenset({"UNREGISTERED", "SENDER_ID_MISMATCH"})


class FcmProvider:
    """Wakes Android devices."""

    name: PushName = "fcm"

    def __init__(self, url: str, account: ServiceAccount, clock: Callable[[], datetime]) -> None:
        self._url = f"{url}/v1/projects/{account.project_id}/messages:send"
        self._account = account
        self._clock = clock
        self._client = HttpClient(self.name, TIMEOUT_SECONDS)
        self._lock = threading.Lock()
        self._token: tuple[str, datetime] | None = None

    @classmethod
    def from_settings(cls, settings: PushSettings, clock: Callable[[], datetime]) -> "FcmProvider":
        """Build it from the settings; raises SettingsError when they lack an account."""
        if settings.fcm_service_account_file is None:
            raise SettingsError("FCM needs the key file of a service account")
        text = settings.fcm_service_account_file.read_bytes()
        return cls(settings.fcm_url, ServiceAccount.model_validate_json(text), clock)

    def wake(self, target: PushTarget) -> None:
        """Send; raises SubscriptionGone or WakeupFailed."""
        android = {"priority": "high", "collapse_key": TOPIC, "ttl": f"{TTL_SECONDS}s"}
        message = {"token": target.address, "data": CONTENT, "android": android}
        headers = {
            "Authorization": f"Bearer {self._access_token()}",
            "Content-Type": "application/json",
        }
        body = json.dumps({"message": message}).encode()
        answer = request(self._client, self._url, body, headers)
        if answer.status < 300:
            return
        if answer.status == 401:
            with self._lock:
                self._token = None
            raise WakeupFailed("unavailable")
        code = _error_code(answer)
        if code in GONE_CODES:
            raise SubscriptionGone
        raise failed_request(self.name, answer.status, answer.retry_after(), code)

    def _access_token(self) -> str:
        # One thread requests it and the others wait.
        with self._lock:
            now = self._clock()
            if self._token is None or self._token[1] <= now:
                self._token = self._request_token(now)
            return self._token[0]

    def _request_token(self, now: datetime) -> tuple[str, datetime]:
        claims = {
            "iss": self._account.client_email,
            "scope": SCOPE,
            "aud": self._account.token_uri,
            "iat": now,
            "exp": now + TOKEN_LIFETIME,
        }
        assertion = jwt.encode(claims, self._account.private_key, "RS256")
        form = urlencode({"grant_type": GRANT, "assertion": assertion}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = request(self._client, self._account.token_uri, form, headers)
        if answer.status >= 300:
            raise failed_request(self.name, answer.status, answer.retry_after(), "token")
        document = answer.document() or {}
        token, seconds = document.get("access_token"), document.get("expires_in")
        if not isinstance(token, str) or not token.isascii() or not isinstance(seconds, int):
            raise WakeupFailed("unknown")
        return token, now + timedelta(seconds=seconds) - TOKEN_MARGIN


def _error_code(answer: HttpResponse) -> str | None:
    """Return the code of an error; a registration token that FCM cannot read counts as unregistered."""
    error = (answer.document() or {}).get("error")
    details: Any = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        code = detail.get("errorCode")
        if isinstance(code, str) and code != "INVALID_ARGUMENT":
            return code[:32]
        violations = detail.get("fieldViolations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict) and violation.get("field") == "message.token":
                return "UNREGISTERED"
    return None
