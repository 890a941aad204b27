"""Push services on the loopback, and a browser that subscribed to one.

Written from RFC 8030, 8188, 8291 and 8292: it checks who asks and decrypts what it is sent.
"""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import http_ece
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.contract.fake_http import Answer, FakeProvider, Received
from tests.contract.fake_sender import is_signed


def encode(data: bytes) -> str:
    """Write bytes as a browser does."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read what was written so."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Browser:
    """Who subscribed: keeps the private half of what it told the service."""

    endpoint: str
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    secret: bytes = b"sixteen bytes ok"

    def public_keys(self) -> dict[str, bytes]:
        """Give what it tells of its keys."""
        public = self.key.public_key()
        point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"p256dh": point, "auth": self.secret}

    def subscription(self, **changes: Any) -> dict[str, Any]:
        """Write the body of a PUT."""
        keys = {name: encode(key) for name, key in self.public_keys().items()}
        return {"type": "webpush", "endpoint": self.endpoint, **keys} | changes

    def open(self, request: Received) -> Any:
        """Decrypt what was pushed."""
        text = http_ece.decrypt(
            request.body, private_key=self.key, auth_secret=self.secret, version="aes128gcm"
        )
        return json.loads(text)


def vapid_claims(request: Received, public_key: str) -> dict[str, Any]:
    """Verify the `Authorization` of a request under the key that browsers are told; give its claims."""
    scheme, _, rest = request.headers["Authorization"].partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert (scheme, fields["k"]) == ("vapid", public_key)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(public_key))
    claims: dict[str, Any] = jwt.decode(
        fields["t"], key, ["ES256"], options={"verify_exp": False, "verify_aud": False}
    )
    return claims


class FakePushService(FakeProvider):
    """A push service on a free port; use as a context manager."""

    def browser(self, name: str = "one") -> Browser:
        """Subscribe."""
        return Browser(f"{self.url}/push/{name}")

    def accept(self, request: Received) -> Answer:
        """Take what is encrypted for an endpoint and has a time to live."""
        if not request.path.startswith("/push/") or "TTL" not in request.headers:
            return Answer(400)
        return Answer(201)


class FakeEndpoint(FakeProvider):
    """An operator's endpoint on a free port; use as a context manager."""

    def accept(self, request: Received) -> Answer:
        """Take what is signed."""
        return Answer(204 if is_signed(request.headers, request.body) else 401)
