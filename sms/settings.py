"""Settings of SMS providers and of routing."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from core.setting_types import (
    CertificateFile,
    HttpAddress,
    HttpUrl,
    WebhookSecret,
    distinct,
    keeps_secrets,
    split,
)
from core.settings import CoreSettings

ProviderName = Literal["outbox", "twilio", "webhook", "smpp"]
#: Settings that a provider requires.
REQUIRED: dict[ProviderName, tuple[str, ...]] = {
    "twilio": ("twilio_account_sid", "twilio_auth_token", "twilio_from"),
    "smpp": ("smpp_host", "smpp_system_id", "smpp_password", "smpp_from"),
    "webhook": ("webhook_url", "webhook_secret"),
}


class SmsSettings(CoreSettings):
    """The settings section of SMS providers and routing."""

    sms_provider: Annotated[
        tuple[ProviderName, ...], NoDecode, BeforeValidator(split), AfterValidator(distinct)
    ] = Field(
        ("outbox",),
        min_length=1,
        description="SMS provider, or several between which the router chooses. `outbox` is a mock"
        " that keeps texts in the database.",
    )
    routing_file: Path | None = Field(
        None,
        description="TOML file with prices, pins and router parameters. Empty: `sms/routing.toml`.",
    )
    failover_seconds: float = Field(
        20.0,
        ge=0,
        le=25,
        description="Seconds after which a request with a failed send tries no other provider.",
    )
    code_lifetime: int = Field(
        600,
        ge=60,
        le=3600,
        description="Seconds for which a code can be checked, and then for which its proof can be"
        " used.",
    )
    twilio_account_sid: str | None = Field(
        None, pattern=r"^AC[0-9a-fA-F]{32}$", description="Account SID at Twilio."
    )
    twilio_auth_token: SecretStr | None = Field(
        None,
        description="Twilio's auth token. It also verifies the signatures of delivery reports.",
    )
    twilio_auth_token_previous: SecretStr | None = Field(
        None, description="The previous auth token, accepted on delivery reports during a rotation."
    )
    twilio_from: str | None = Field(
        None,
        max_length=34,
        description="Sender: an E.164 number, or a messaging service (`MG…`) for texts.",
    )
    twilio_voice_from: str | None = Field(
        None,
        pattern=r"^\+[1-9][0-9]{6,14}$",
        description="E.164 number that calls come from. Empty: `KITH_TWILIO_FROM`.",
    )
    twilio_api_url: HttpUrl = Field(
        "https://api.twilio.com",
        description="Base address of Twilio's API, or of a proxy or fake of it.",
    )
    twilio_connect_timeout: float = Field(
        3.0, gt=0, le=30, description="Seconds to connect to Twilio. Then the send is unavailable."
    )
    twilio_read_timeout: float = Field(
        10.0,
        gt=0,
        le=60,
        description="Seconds to wait for Twilio's answer. Then the send is `unknown`.",
    )
    webhook_url: HttpAddress | None = Field(
        None,
        description="Address of your own sender. In production `https://`, unless it is on the same"
        " host.",
    )
    webhook_secret: WebhookSecret | None = Field(
        None,
        description="`whsec_` and the base64 of 24 to 64 random bytes. Signs requests to the sender"
        " and verifies its delivery reports.",
    )
    webhook_secret_previous: WebhookSecret | None = Field(
        None, description="The previous secret. While it is set, both sign and both are accepted."
    )
    webhook_channels: Annotated[
        tuple[Literal["sms", "voice"], ...],
        NoDecode,
        BeforeValidator(split),
        AfterValidator(distinct),
    ] = Field(
        ("sms",),
        min_length=1,
        description="Channels that the sender supports. Add `voice` only if it makes calls that"
        " speak the code.",
    )
    webhook_ca_file: CertificateFile | None = Field(
        None,
        description="Certificate authorities (PEM) for the sender's certificate, instead of the"
        " public ones.",
    )
    webhook_connect_timeout: float = Field(
        3.0,
        gt=0,
        le=30,
        description="Seconds to connect to the sender. Then the send is unavailable.",
    )
    webhook_read_timeout: float = Field(
        10.0,
        gt=0,
        le=40,
        description="Seconds to wait for the sender's answer. Then the send is `unknown`.",
    )

    smpp_host: str | None = Field(None, max_length=253, description="Host name of the SMSC.")
    smpp_port: int = Field(2775, ge=1, le=65_535, description="Port of the SMSC.")
    smpp_tls: bool = Field(
        False, description="Use TLS to the SMSC. Its certificate must match its host name."
    )
    smpp_system_id: str | None = Field(
        None, pattern=r"^[!-~]{1,15}$", description="`system_id` of the bind."
    )
    smpp_password: SecretStr | None = Field(
        None, max_length=8, description="Password of the bind; SMPP allows 8 characters."
    )
    smpp_system_type: str = Field(
        "",
        pattern=r"^[!-~]{0,12}$",
        description="`system_type` of the bind, if the SMSC requires one.",
    )
    smpp_from: str | None = Field(
        None,
        pattern=r"^(\+[1-9][0-9]{6,14}|[0-9]{3,15}|[A-Za-z0-9 .&_-]{1,11})$",
        description="Sender: an E.164 number, a short code, or a name of at most 11 characters.",
    )
    smpp_from_ton: int | None = Field(
        None,
        ge=0,
        le=6,
        description="Type of number (TON) of the sender. Empty: derived from `KITH_SMPP_FROM`.",
    )
    smpp_from_npi: int | None = Field(
        None,
        ge=0,
        le=18,
        description="Numbering plan (NPI) of the sender. Empty: derived from `KITH_SMPP_FROM`.",
    )
    smpp_receipt_ids: Literal["same", "decimal", "hex"] = Field(
        "same",
        description="How receipts write message ids, compared with the SMSC's answer: the `same`,"
        " in `decimal` when the answer is hexadecimal, or in `hex` when the answer is"
        " decimal.",
    )
    smpp_window: int = Field(
        50, ge=1, le=1000, description="Maximum texts at the SMSC without an answer."
    )
    smpp_connect_timeout: float = Field(
        5.0,
        gt=0,
        le=30,
        description="Seconds to connect and bind, and to wait for a place in the window. Then the"
        " send is unavailable.",
    )
    smpp_response_timeout: float = Field(
        10.0,
        gt=0,
        le=60,
        description="Seconds to wait for the SMSC's answer. Then the send is `unknown`.",
    )
    smpp_idle_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Seconds of silence after which the SMSC gets an `enquire_link`.",
    )

    @property
    def mock_sms(self) -> bool:
        """Whether texts stay in the outbox, where `/dev/outbox` shows them."""
        return "outbox" in self.sms_provider

    def faults(self) -> list[str]:
        """List what is missing or unsafe of the providers that are named."""
        faults = super().faults() + [
            f"KITH_{name.upper()} is required by KITH_SMS_PROVIDER={provider}"
            for provider in self.sms_provider
            for name in REQUIRED.get(provider, ())
            if not getattr(self, name)
        ]
        if self.environment == "production":
            if "outbox" in self.sms_provider:
                faults.append(
                    "KITH_SMS_PROVIDER=outbox is a mock that shows every code; in production name"
                    " a real provider (twilio, smpp, webhook)"
                )
            if self.webhook_url and not keeps_secrets(self.webhook_url):
                faults.append(
                    "KITH_WEBHOOK_URL must be https:// in production, since codes are posted there"
                )
        return faults

    def warnings(self) -> list[str]:
        """List what is in use without protection."""
        warnings = super().warnings()
        if self.environment == "production" and "smpp" in self.sms_provider and not self.smpp_tls:
            warnings.append("KITH_SMPP_TLS is off: codes and the password are sent in the clear")
        return warnings
