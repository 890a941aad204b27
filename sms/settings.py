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
        description="Who sends: one name, or several between which the router picks. `outbox` is the"
        " mock that keeps texts in the database.",
    )
    routing_file: Path | None = Field(
        None,
        description="TOML file with prices, pins and the router's parameters; empty:"
        " `sms/routing.toml`.",
    )
    failover_seconds: float = Field(
        20.0,
        ge=0,
        le=25,
        description="Seconds after which a request whose send failed starts no other provider.",
    )
    code_lifetime: int = Field(
        600, ge=60, le=3600, description="Seconds a code can be checked, and a proof can be used."
    )
    twilio_account_sid: str | None = Field(
        None, pattern=r"^AC[0-9a-fA-F]{32}$", description="Twilio account."
    )
    twilio_auth_token: SecretStr | None = Field(
        None, description="Twilio's auth token; it also verifies the signature of callbacks."
    )
    twilio_auth_token_previous: SecretStr | None = Field(
        None, description="The auth token before, accepted on callbacks while rotating."
    )
    twilio_from: str | None = Field(
        None,
        max_length=34,
        description="Sender: an E.164 number, or a messaging service (`MG…`) for texts.",
    )
    twilio_voice_from: str | None = Field(
        None,
        pattern=r"^\+[1-9][0-9]{6,14}$",
        description="E.164 number that calls come from; empty: `KITH_TWILIO_FROM`.",
    )
    twilio_api_url: HttpUrl = Field(
        "https://api.twilio.com", description="Base address of Twilio's API, or of a proxy or fake."
    )
    twilio_connect_timeout: float = Field(
        3.0, gt=0, le=30, description="Seconds to reach Twilio before the send is unavailable."
    )
    twilio_read_timeout: float = Field(
        10.0, gt=0, le=60, description="Seconds to wait for its answer before it is `unknown`."
    )
    webhook_url: HttpAddress | None = Field(
        None,
        description="Address of the operator's own sender. In production `https://`, unless it is on"
        " this host.",
    )
    webhook_secret: WebhookSecret | None = Field(
        None,
        description="`whsec_` and the base64 of 24 to 64 random bytes: signs what is posted there and"
        " verifies its delivery reports.",
    )
    webhook_secret_previous: WebhookSecret | None = Field(
        None, description="The secret before; while it is set, both sign and both are accepted."
    )
    webhook_channels: Annotated[
        tuple[Literal["sms", "voice"], ...],
        NoDecode,
        BeforeValidator(split),
        AfterValidator(distinct),
    ] = Field(
        ("sms",),
        min_length=1,
        description="What the sender carries. Name `voice` only if it calls and speaks.",
    )
    webhook_ca_file: CertificateFile | None = Field(
        None,
        description="Certificates (PEM) under which the sender's is believed, instead of the public"
        " authorities'.",
    )
    webhook_connect_timeout: float = Field(
        3.0, gt=0, le=30, description="Seconds to reach the sender before the send is unavailable."
    )
    webhook_read_timeout: float = Field(
        10.0, gt=0, le=40, description="Seconds to wait for its answer before it is `unknown`."
    )

    smpp_host: str | None = Field(None, max_length=253, description="Host name of the SMSC.")
    smpp_port: int = Field(2775, ge=1, le=65_535, description="Port of the SMSC.")
    smpp_tls: bool = Field(
        False, description="Whether to speak TLS to the SMSC, whose certificate must fit its name."
    )
    smpp_system_id: str | None = Field(
        None, pattern=r"^[!-~]{1,15}$", description="Who we are to the SMSC."
    )
    smpp_password: SecretStr | None = Field(
        None, max_length=8, description="Password of the bind; SMPP allows 8 characters."
    )
    smpp_system_type: str = Field(
        "",
        pattern=r"^[!-~]{0,12}$",
        description="`system_type` of the bind, if the SMSC asks for it.",
    )
    smpp_from: str | None = Field(
        None,
        pattern=r"^(\+[1-9][0-9]{6,14}|[0-9]{3,15}|[A-Za-z0-9 .&_-]{1,11})$",
        description="Sender: an E.164 number, a short code, or a name of at most 11 characters.",
    )
    smpp_from_ton: int | None = Field(
        None, ge=0, le=6, description="Type of the sender's number; empty: as it is written."
    )
    smpp_from_npi: int | None = Field(
        None, ge=0, le=18, description="Numbering plan of the sender; empty: as it is written."
    )
    smpp_receipt_ids: Literal["same", "decimal", "hex"] = Field(
        "same",
        description="How receipts write the id of a message: as the answer to it did, in decimal what"
        " that wrote in hexadecimal, or the other way round.",
    )
    smpp_window: int = Field(
        50, ge=1, le=1000, description="Texts handed to the SMSC that it has not answered yet."
    )
    smpp_connect_timeout: float = Field(
        5.0,
        gt=0,
        le=30,
        description="Seconds to be bound, and for a place in the window, before a send is"
        " unavailable.",
    )
    smpp_response_timeout: float = Field(
        10.0, gt=0, le=60, description="Seconds to wait for an answer before a send is `unknown`."
    )
    smpp_idle_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Silence after which the SMSC is asked whether it is there.",
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
