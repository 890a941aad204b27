"""An operator's own sender: takes what is signed for it, and signs its reports.

Written from docs/providers.md and the specification of Standard Webhooks, with nothing of the service.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping

from tests.contract.fake_http import Answer, FakeProvider, Received

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"o" * 24).decode()


def signature(secret: str, message_id: str, timestamp: object, body: bytes) -> str:
    """Sign as the specification says."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def is_signed(headers: Mapping[str, str], body: bytes, secret: str = SECRET) -> bool:
    """Say whether one of the signatures that came is right."""
    name, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    return signature(secret, name, timestamp, body) in headers["webhook-signature"].split(" ")


class FakeSender(FakeProvider):
    """The sender on a free port of the loopback; use as a context manager."""

    @property
    def address(self) -> str:
        """The whole address to give the provider."""
        return self.url + "/send/"

    def accept(self, request: Received) -> Answer:
        """Take what is posted to its address and signed."""
        if request.path != "/send/":
            return Answer(404)
        if not is_signed(request.headers, request.body):
            return Answer(401)
        return Answer(202, json.dumps({"id": f"m-{len(self.received)}"}).encode())
