"""Bodies and answers of push subscriptions."""

from typing import Annotated, Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from core.base64url import decode
from core.parsing import Answer, Body

MAX_ENDPOINT_LENGTH = 2048
#: The fields of each type beside `type`.
FIELDS: dict[str, set[str]] = {
    "webpush": {"endpoint", "p256dh", "auth"},
    "apns": {"token"},
    "fcm": {"token"},
}


def _p256dh(value: str) -> str:
    """Check that it is an uncompressed point on P-256."""
    raw = decode(value, 65)
    try:
        if raw is not None and raw[0] == 4:
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
            return value
    except ValueError:
        pass
    raise ValueError("is not the base64url of a point of P-256, uncompressed")


def _auth(value: str) -> str:
    if decode(value, 16) is None:
        raise ValueError("is not the base64url of 16 bytes")
    return value


class PushSubscriptionBody(Body):
    """The address at which the calling device is woken."""

    type: Literal["webpush", "apns", "fcm"]
    endpoint: (
        Annotated[
            str, StringConstraints(max_length=MAX_ENDPOINT_LENGTH, pattern=r"^https?://[!-~]+$")
        ]
        | None
    ) = Field(None, description="Web Push: `endpoint` of the browser's subscription.")
    p256dh: Annotated[str, StringConstraints(max_length=88), AfterValidator(_p256dh)] | None = (
        Field(None, description="Web Push: its key `p256dh`, base64url.")
    )
    auth: Annotated[str, StringConstraints(max_length=24), AfterValidator(_auth)] | None = Field(
        None, description="Web Push: its key `auth`, base64url."
    )
    token: (
        Annotated[str, StringConstraints(max_length=1024, pattern=r"^[A-Za-z0-9:_-]+$")] | None
    ) = Field(
        None, description="APNs: the device token in hexadecimal; FCM: the registration token."
    )

    @model_validator(mode="after")
    def _require_fields(self) -> "PushSubscriptionBody":
        required = FIELDS[self.type]
        given = {name for name in set().union(*FIELDS.values()) if getattr(self, name) is not None}
        if given != required:
            raise ValueError(f"{self.type} has exactly {', '.join(sorted(required))} beside type")
        return self

    def columns(self) -> dict[str, Any]:
        """Return the columns of its row."""
        return {
            "type": self.type,
            "address": self.endpoint or self.token,
            "p256dh": self.p256dh and decode(self.p256dh, 65),
            "auth": self.auth and decode(self.auth, 16),
        }


class PushSubscriptionAnswer(Answer):
    """How the calling device is woken, without the address."""

    type: Literal["webpush", "apns", "fcm"]


class PushParameters(Answer):
    """The types that a device may subscribe with."""

    types: list[Literal["webpush", "apns", "fcm"]]
    vapid_public_key: str | None = Field(
        None, description="With `webpush`: `applicationServerKey` of the browser's subscription."
    )
