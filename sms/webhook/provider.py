"""The operator's own sender: one signed JSON POST a message (Standard Webhooks; docs/providers.md).

A message is never posted twice, because it may have been sent.
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

import structlog

from core.http_client import JSON_HEADERS, HttpClient, HttpResponse
from core.settings import SettingsError
from core.standard_webhooks import WebhookSecrets
from sms.http import request_once
from sms.provider import (
    Ambiguous,
    Blocked,
    Channel,
    Rejected,
    SendFailure,
    SmsMessage,
    Unavailable,
    checked_message_id,
)
from sms.schemas import WebhookMessage
from sms.settings import SmsSettings

log = structlog.get_logger()

#: Refusals that name themselves in the body; a proxy that answers instead does not.
REFUSALS: dict[tuple[int, str], type[SendFailure]] = {
    (422, "rejected"): Rejected,
    (403, "blocked"): Blocked,
    (503, "unavailable"): Unavailable,
}
_ERROR_CODE = re.compile(r"[A-Za-z0-9_.-]{1,32}")


class WebhookProvider:
    """Sends texts and calls through the operator's sender; built once, used by many requests at a time.

    `timeouts` are seconds to connect and to read. The environment's proxies are not used, because a message
    holds a code.
    """

    name = "webhook"

    def __init__(
        self,
        *,
        url: str,
        secrets: WebhookSecrets,
        channels: Iterable[Channel],
        ca_file: Path | None,
        timeouts: tuple[float, float],
        code_lifetime: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self.channels = frozenset(channels)
        self._url = url
        self._secrets = secrets
        self._code_lifetime = code_lifetime
        self._clock = clock
        self._client = HttpClient(self.name, timeouts, ca_file=ca_file, from_environment=False)

    @classmethod
    def from_settings(cls, settings: SmsSettings, clock: Callable[[], datetime]) -> Self:
        """Build the provider; raises SettingsError if the settings name no sender."""
        secrets = WebhookSecrets.of(settings.webhook_secret, settings.webhook_secret_previous)
        if not (settings.webhook_url and settings.webhook_secret):
            raise SettingsError("The webhook provider needs an address and a secret")
        return cls(
            url=settings.webhook_url,
            secrets=secrets,
            channels=settings.webhook_channels,
            ca_file=settings.webhook_ca_file,
            timeouts=(settings.webhook_connect_timeout, settings.webhook_read_timeout),
            code_lifetime=timedelta(seconds=settings.code_lifetime),
            clock=clock,
        )

    def send(self, message: SmsMessage) -> str:
        """Send one message and return the sender's id of it, or the reference; raises SendFailure."""
        now = self._clock()
        posted = WebhookMessage(
            reference=message.reference,
            to=message.to,
            channel=message.channel,
            body=message.body,
            language=message.language,
            sent_at=now,
            expires_at=now + self._code_lifetime,
        )
        body = posted.model_dump_json().encode()
        signed = self._secrets.sign(message.reference, now, body)
        answer = request_once(
            self._client, "POST", self._url, data=body, headers=JSON_HEADERS | signed
        )
        if answer.status >= 300:
            raise _refusal(answer)
        if not answer.body:
            return message.reference
        document = answer.document()
        if document is None:
            raise Ambiguous("answer-unreadable")
        return checked_message_id(document.get("id", message.reference))


def _refusal(answer: HttpResponse) -> SendFailure:
    """Return Ambiguous if the message may have been sent, else the reason of the refusal."""
    document = answer.document() or {}
    code = document.get("error_code")
    named = isinstance(code, str) and _ERROR_CODE.fullmatch(code)
    name = str(code) if named else f"http-{answer.status}"
    refusal = REFUSALS.get((answer.status, str(document.get("error"))))
    if refusal is None and answer.maybe_processed:
        return Ambiguous(name)
    if refusal is None and answer.status != 429:
        log.error("webhook.refused", status=answer.status, error_code=name)
    return (refusal or Unavailable)(name, retry_after=answer.retry_after())
