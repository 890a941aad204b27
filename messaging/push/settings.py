"""Settings of push wake-ups: the types that are offered, and what each of them requires."""

import json
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, FilePath, SecretStr
from pydantic_settings import NoDecode

from core.base64url import decode
from core.setting_types import HttpAddress, HttpUrl, WebhookSecret, distinct, keeps_secrets, split
from core.settings import CoreSettings

PushName = Literal["webpush", "webhook", "apns", "fcm"]
#: Settings required by each type; Web Push requires its own in production only.
REQUIRED: dict[PushName, tuple[str, ...]] = {
    "webhook": ("push_webhook_url", "push_webhook_secret"),
    "apns": ("apns_key_file", "apns_key_id", "apns_team_id", "apns_topic"),
    "fcm": ("fcm_service_account_file",),
}


class ServiceAccount(BaseModel):
    """The fields used of the key file of a Google service account."""

    project_id: str
    client_email: str
    private_key: str = Field(repr=False)
    token_uri: HttpUrl


def p256_key(text: str) -> ec.EllipticCurvePrivateKey:
    """Read a P-256 private key, as PEM or as the base64url of its 32 bytes; raises ValueError."""
    if "-----BEGIN" not in text:
        raw = decode(text.strip().rstrip("="), 32)
        if raw is None:
            raise ValueError("must be PEM, or the base64url of 32 bytes")
        return ec.derive_private_key(int.from_bytes(raw), ec.SECP256R1())
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("holds no private key that can be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("is not a key of the curve P-256")
    return key


def _vapid_key(value: SecretStr) -> SecretStr:
    p256_key(value.get_secret_value())
    return value


def _apns_key_file(value: Path) -> Path:
    p256_key(value.read_text(errors="replace"))
    return value


def _service_account_file(value: Path) -> Path:
    try:
        account = ServiceAccount.model_validate(json.loads(value.read_bytes()))
        key = load_pem_private_key(account.private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        # Not in pydantic's words, which would repeat the key.
        raise ValueError("is not the key file of a service account")
    return value


class PushSettings(CoreSettings):
    """The settings of push wake-ups."""

    push: Annotated[
        tuple[PushName, ...], NoDecode, BeforeValidator(split), AfterValidator(distinct)
    ] = Field(
        (),
        description="Types of push: `webpush`, `webhook`, `apns`, `fcm`, or several. Empty: none.",
    )
    push_ports: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65_535)], ...], NoDecode, BeforeValidator(split)
    ] = Field((443,), min_length=1, description="Ports allowed in browser endpoints in production.")
    vapid_private_key: Annotated[SecretStr, AfterValidator(_vapid_key)] | None = Field(
        None,
        description="Key that signs Web Push requests, P-256: PEM, or base64url of its 32 bytes."
        " Required in production with `webpush`; in development one is generated in the data directory.",
    )
    vapid_subject: str | None = Field(
        None,
        max_length=255,
        pattern=r"^(mailto:[^\s@]+@[^\s@]+|https://\S+)$",
        description="Contact for push services: `mailto:…` or `https://…`. Required in production with"
        " `webpush`.",
    )
    push_webhook_url: HttpAddress | None = Field(
        None, description="Address that receives one request for each device to wake."
    )
    push_webhook_secret: WebhookSecret | None = Field(
        None, description="`whsec_` and the base64 of 24 to 64 random bytes. Signs these requests."
    )
    push_webhook_secret_previous: WebhookSecret | None = Field(
        None, description="The previous secret. While it is set, both sign."
    )
    apns_key_file: Annotated[FilePath, AfterValidator(_apns_key_file)] | None = Field(
        None, description="Apple's signing key (`AuthKey_….p8`)."
    )
    apns_key_id: str | None = Field(
        None, pattern=r"^[A-Z0-9]{10}$", description="Id of that signing key."
    )
    apns_team_id: str | None = Field(
        None, pattern=r"^[A-Z0-9]{10}$", description="Id of your developer team at Apple."
    )
    apns_topic: str | None = Field(
        None, pattern=r"^[A-Za-z0-9.-]{1,155}$", description="Bundle id of the app."
    )
    apns_url: HttpUrl = Field(
        "https://api.push.apple.com",
        description="Base address of APNs; `https://api.sandbox.push.apple.com` for builds from Xcode.",
    )
    fcm_service_account_file: Annotated[FilePath, AfterValidator(_service_account_file)] | None = (
        Field(
            None, description="Key file (JSON) of a Google service account with permission to send."
        )
    )
    fcm_url: HttpUrl = Field("https://fcm.googleapis.com", description="Base address of FCM.")

    def faults(self) -> list[str]:
        """Return what is missing or unsafe for the types that are offered."""
        production = self.environment == "production"
        required = dict(REQUIRED)
        if production:
            required["webpush"] = ("vapid_private_key", "vapid_subject")
        faults = super().faults() + [
            f"KITH_{name.upper()} is required by KITH_PUSH={type_}"
            for type_ in self.push
            for name in required.get(type_, ())
            if not getattr(self, name)
        ]
        for name in ("push_webhook_url", "apns_url", "fcm_url") if production else ():
            address = getattr(self, name)
            if address and not keeps_secrets(address):
                faults.append(f"KITH_{name.upper()} must be https:// in production")
        return faults
