"""The operator's webhook: a signed JSON POST a wake-up (Standard Webhooks), with account and device only."""

import json
import uuid
from collections.abc import Callable
from datetime import datetime

from core.http_client import JSON_HEADERS, HttpClient
from core.settings import SettingsError
from core.standard_webhooks import WebhookSecrets
from messaging.push.provider import CONTENT, TIMEOUT_SECONDS, PushTarget, failed_request, request
from messaging.push.settings import PushName, PushSettings


class PushWebhookProvider:
    """Passes wake-ups to the operator."""

    name: PushName = "webhook"

    def __init__(self, url: str, secrets: WebhookSecrets, clock: Callable[[], datetime]) -> None:
        self._url = url
        self._secrets = secrets
        self._clock = clock
        self._client = HttpClient("push", TIMEOUT_SECONDS, from_environment=False)

    @classmethod
    def from_settings(
        cls, settings: PushSettings, clock: Callable[[], datetime]
    ) -> "PushWebhookProvider":
        """Build it from the settings; raises SettingsError when they lack an endpoint."""
        if settings.push_webhook_url is None:
            raise SettingsError("The push webhook needs an address")
        secrets = WebhookSecrets.of(
            settings.push_webhook_secret, settings.push_webhook_secret_previous
        )
        return cls(settings.push_webhook_url, secrets, clock)

    def wake(self, target: PushTarget) -> None:
        """Post; raises WakeupFailed."""
        ids = {"account_id": str(target.account_id), "device_id": str(target.device_id)}
        body = json.dumps(CONTENT | ids).encode()
        signed = self._secrets.sign(str(uuid.uuid4()), self._clock(), body)
        answer = request(self._client, self._url, body, JSON_HEADERS | signed)
        if answer.status >= 300:
            raise failed_request(self.name, answer.status, answer.retry_after())
