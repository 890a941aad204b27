"""VAPID (RFC 8292): identifies this service to push services by a signed token.

In development the key is generated once, in the data directory.
"""

from datetime import datetime, timedelta
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization import PublicFormat as Public

from core.base64url import encode
from core.secrets import read_or_create
from messaging.push.settings import PushSettings, p256_key

#: Validity of a token; at most a day (RFC 8292, section 2).
TOKEN_LIFETIME = timedelta(hours=12)


class Vapid:
    """Signs requests to push services."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, subject: str | None) -> None:
        self._key = key
        self._subject = {"sub": subject} if subject else {}
        #: base64url of the uncompressed point, as browsers take it for `applicationServerKey`.
        self.public_key = encode(
            key.public_key().public_bytes(Encoding.X962, Public.UncompressedPoint)
        )

    @classmethod
    def from_settings(cls, settings: PushSettings) -> "Vapid":
        """Use the configured key, or in development a generated one."""
        given = settings.vapid_private_key
        text = given.get_secret_value() if given else _development_key(settings)
        return cls(p256_key(text), settings.vapid_subject)

    def authorization(self, endpoint: str, now: datetime) -> str:
        """Return the `Authorization` of a request to an endpoint."""
        parts = urlsplit(endpoint)
        claims = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": now + TOKEN_LIFETIME}
        token = jwt.encode(claims | self._subject, self._key, "ES256")
        return f"vapid t={token}, k={self.public_key}"


def _development_key(settings: PushSettings) -> str:
    def make() -> str:
        key = ec.generate_private_key(ec.SECP256R1())
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    return read_or_create(settings.data_dir / "vapid_private_key", make)
