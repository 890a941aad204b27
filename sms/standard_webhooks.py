"""Signatures of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), the symmetric kind.

Owns the three header fields and what they cover: `{id}.{timestamp}.{body}` under HMAC-SHA-256. Whether a
moment is recent, and whether a message came before, is for those who take it to judge.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Self

from pydantic import SecretStr
from werkzeug.datastructures import Headers

from core.setting_types import WEBHOOK_SECRET_PREFIX
from sms.settings import SmsSettings

#: Visible ASCII but the full stop, which separates what is signed.
_MESSAGE_ID = re.compile(r"[!-\-/-~]{1,128}")
_TIMESTAMP = re.compile(r"[0-9]{1,11}")


class SignedMessage(NamedTuple):
    """A message that somebody with the secret signed; `digest`, 32 bytes, tells it from all others."""

    signed_at: datetime
    digest: bytes


@dataclass(frozen=True, repr=False)
class WebhookSecrets:
    """The current secret and the one before it; with none, nothing is ever signed right."""

    keys: tuple[bytes, ...]

    @classmethod
    def from_settings(cls, settings: SmsSettings) -> Self:
        """Take the secrets that are set, the current one first."""
        return cls.of(settings.webhook_secret, settings.webhook_secret_previous)

    @classmethod
    def of(cls, *secrets: SecretStr | None) -> Self:
        """Take those secrets that are set, written as the settings do."""
        return cls(
            tuple(
                base64.b64decode(secret.get_secret_value().removeprefix(WEBHOOK_SECRET_PREFIX))
                for secret in secrets
                if secret is not None
            )
        )

    def sign(self, message_id: str, moment: datetime, body: bytes) -> dict[str, str]:
        """Write the header fields of a message, signed under each secret.

        Who has not heard of the new secret yet can still verify: so the specification rotates.
        """
        timestamp = str(int(moment.timestamp()))
        signatures = self._signatures(_content(message_id, timestamp, body))
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(signatures),
        }

    def verify(self, headers: Headers, body: bytes) -> SignedMessage | None:
        """Give the message that the fields prove, under any of the secrets; None when they do not."""
        message_id = headers.get("webhook-id", "")
        timestamp = headers.get("webhook-timestamp", "")
        if not (_MESSAGE_ID.fullmatch(message_id) and _TIMESTAMP.fullmatch(timestamp)):
            return None
        content = _content(message_id, timestamp, body)
        given = [one.encode() for one in headers.get("webhook-signature", "").split()]
        for signature in self._signatures(content):
            if any(hmac.compare_digest(signature.encode(), one) for one in given):
                moment = datetime.fromtimestamp(int(timestamp), UTC)
                return SignedMessage(moment, hashlib.sha256(content).digest())
        return None

    def _signatures(self, content: bytes) -> list[str]:
        digests = (hmac.digest(key, content, hashlib.sha256) for key in self.keys)
        return ["v1," + base64.b64encode(digest).decode() for digest in digests]


def _content(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body
