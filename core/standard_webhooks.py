"""Symmetric signatures of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com).

HMAC-SHA-256 over `{id}.{timestamp}.{body}`, in three header fields. Whether a timestamp is recent, and
whether a message is a duplicate, is decided by the receiver.
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

#: Visible ASCII except the full stop, which separates the signed parts.
_MESSAGE_ID = re.compile(r"[!-\-/-~]{1,128}")
_TIMESTAMP = re.compile(r"[0-9]{1,11}")


class SignedMessage(NamedTuple):
    """A message whose signature is valid; `digest` is the SHA-256 of what was signed."""

    signed_at: datetime
    digest: bytes


@dataclass(frozen=True, repr=False)
class WebhookSecrets:
    """The current secret and the previous one; without any, no signature is valid."""

    keys: tuple[bytes, ...]

    @classmethod
    def of(cls, *secrets: SecretStr | None) -> Self:
        """Decode the secrets that are set, written as in settings."""
        return cls(
            tuple(
                base64.b64decode(secret.get_secret_value().removeprefix(WEBHOOK_SECRET_PREFIX))
                for secret in secrets
                if secret is not None
            )
        )

    def sign(self, message_id: str, moment: datetime, body: bytes) -> dict[str, str]:
        """Return the header fields of a message, signed under each secret.

        During a rotation a receiver that still has the old secret can verify it.
        """
        timestamp = str(int(moment.timestamp()))
        signatures = self._signatures(_content(message_id, timestamp, body))
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(signatures),
        }

    def verify(self, headers: Headers, body: bytes) -> SignedMessage | None:
        """Return the message if its signature is valid under any of the secrets, else None."""
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
