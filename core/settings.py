"""All settings of the service, read once from `KITH_*` variables; every fault is reported at once.

Owns names, types, bounds and defaults. Refuses a configuration that would be unsafe in production.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from click import ClickException
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import NoDecode, SettingsConfigDict

from core.database_settings import DatabaseSettings
from core.discovery_settings import DiscoverySettings
from core.door_settings import DoorSettings
from core.forwarded import FIELDS
from core.message_limit_settings import MessageLimitSettings
from core.phone_numbers import known_region, mask
from core.provider_settings import ProviderSettings
from core.push_settings import PushSettings
from core.serving_settings import ServingSettings
from core.setting_types import HttpUrl, Network, split
from core.test_numbers import TestNumber, read_entries
from core.typed_fields import MAX_LOCALE_LENGTH, is_app_hash, read_locale, read_origin
from core.worker_settings import WorkerSettings

MIN_SECRET_LENGTH = 32
MAX_APP_NAME_LENGTH = 20
#: Variables that earlier versions knew; one that would now be ignored without a word is refused.
RETIRED = {
    "KITH_REFUSED_NUMBER_TYPES": "is the rule number-type of the policy now (KITH_POLICY_FILE)",
    "KITH_STRANGERS_PER_DAY": "is called KITH_NEW_RECIPIENTS_PER_DAY now",
    "KITH_DISCOVERY_CEILING": "is called KITH_DISCOVERY_ALERT_PER_DAY now",
    "KITH_CAMARA_TRIES": "is called KITH_CAMARA_CHECKS now",
    "KITH_SENDS_PER_DAY": "is the rule velocity of number-and-requester now (KITH_POLICY_FILE)",
}

NumberType = Literal[
    "fixed_line",
    "mobile",
    "fixed_line_or_mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
    "unknown",
]


def _origin_host(value: str) -> str:
    try:
        return read_origin(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a host name such as example.com") from None


def _locale(value: str) -> str:
    locale = read_locale(value)
    if locale is None:
        raise ValueError(f"{value!r} is not a language such as en or pt-BR")
    return locale


def _region(value: str) -> str:
    region = known_region(value)
    if not region.isalpha():
        raise ValueError(f"there is no country {value}; use ISO 3166 codes like DE")
    return region


def _header_field(value: object) -> object:
    """Take the name of a header field in any case, as HTTP does."""
    names = {field.lower(): field for field in FIELDS}
    return names.get(value.strip().lower(), value) if isinstance(value, str) else value


def _app_hash(value: str) -> str:
    if not is_app_hash(value):
        raise ValueError(f"{value!r} is not an 11-character Android app hash")
    return value


def _fixed_codes(value: object) -> object:
    return read_entries(value) if isinstance(value, str) else value


class SettingsError(ClickException):
    """The settings cannot be used; the message names every fault and its variable."""

    @classmethod
    def listing(cls, faults: Iterable[str]) -> Self:
        """Build the message from a line a fault."""
        lines = "\n".join(f"  - {fault}" for fault in faults)
        return cls(f"Kith cannot start with these settings:\n{lines}")


class Settings(
    DatabaseSettings,
    ProviderSettings,
    DiscoverySettings,
    DoorSettings,
    MessageLimitSettings,
    PushSettings,
    ServingSettings,
    WorkerSettings,
):
    """The frozen settings object; build it with `Settings.load()` to get readable faults."""

    model_config = SettingsConfigDict(
        env_prefix="KITH_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    environment: Literal["development", "production"] = Field(
        "development", description="`production` refuses mock providers and generated secrets."
    )
    host: str = Field("127.0.0.1", description="Address that gunicorn binds.")
    port: int = Field(8000, ge=1, le=65_535, description="Port that gunicorn binds.")
    public_url: HttpUrl = Field(
        "http://127.0.0.1:8000",
        description="The address clients and providers reach the service at, as they write it.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)] = Field(
        (),
        description="Networks of the proxies that are believed about who asks,"
        " for instance `10.0.0.0/8, ::1/128`.",
    )
    forwarded_header: Annotated[
        Literal["X-Forwarded-For", "Forwarded"], BeforeValidator(_header_field)
    ] = Field(
        "X-Forwarded-For",
        description="Header field in which they say it; the other one is never read, because a proxy"
        " passes on what a client wrote there.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="At least 32 characters from which every server key is derived. Required in"
        " production; in development one is made in the data directory.",
    )
    secret_key_previous: SecretStr | None = Field(
        None, description="The secret before, accepted while rotating."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severity that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="One JSON object a line, or text for a person."
    )

    app_name: str = Field(
        "Kith",
        min_length=1,
        max_length=MAX_APP_NAME_LENGTH,
        pattern=r"^[A-Za-z0-9 .&-]*[A-Za-z0-9]$",
        description="The name people read in the text message; no run of digits like a code.",
    )
    default_locale: Annotated[str, AfterValidator(_locale)] = Field(
        "en",
        max_length=MAX_LOCALE_LENGTH,
        description="Language of a text when the one asked for is not known, one there are texts in.",
    )
    default_region: Annotated[str, AfterValidator(_region)] | None = Field(
        None,
        description="Region of numbers written without a country code when the request names none.",
    )
    policy_file: Path | None = Field(
        None,
        description="TOML file with the policy on texts and calls; empty: the default that is shipped,"
        " `verification/policy/default.toml`.",
    )
    test_numbers: Annotated[tuple[TestNumber, ...], NoDecode, BeforeValidator(_fixed_codes)] = (
        Field(
            (),
            max_length=20,
            description="Numbers that are never sent to, with a fixed code and the last day they work,"
            " for reviewers and tests: `+14155550100=123456@2027-01-31`. Production needs the date.",
        )
    )
    web_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_origin_host)], ...], NoDecode, BeforeValidator(split)
    ] = Field(
        (),
        description="Hosts that may ask for an origin-bound text. Empty: any in development, none"
        " in production, because a text bound to a stranger's origin fills in the code there.",
    )
    android_app_hashes: Annotated[
        tuple[Annotated[str, AfterValidator(_app_hash)], ...], NoDecode, BeforeValidator(split)
    ] = Field(
        (),
        description="Android SMS Retriever hashes that may be asked for. Empty: any in development,"
        " none in production, because the app named by the hash reads the code.",
    )

    code_lifetime: int = Field(
        600, ge=60, le=3600, description="Seconds a code can be checked, and a proof can be used."
    )
    checks_per_verification: int = Field(
        5, ge=1, le=10, description="Guesses a verification; a resend gives none back."
    )
    max_devices: int = Field(10, ge=1, le=100, description="Devices an account.")
    token_idle_days: int = Field(
        0,
        ge=0,
        le=3650,
        description="Days after which the token of a device that was not seen expires; 0: never.",
    )
    max_body_bytes: int = Field(
        1_048_576, ge=65_536, le=16_777_216, description="Largest request body."
    )
    max_content_bytes: int = Field(
        65_536, ge=1024, le=262_144, description="Largest ciphertext of one envelope."
    )
    max_mailbox_messages: int = Field(
        100_000, ge=100, description="Envelopes that wait for one device."
    )
    max_mailbox_bytes: int = Field(
        268_435_456,
        ge=1_048_576,
        le=2**40,
        description="Bytes of content that wait for one device, shared ones of groups included.",
    )
    maintenance_interval: int = Field(
        300,
        ge=0,
        le=86_400,
        description="Seconds between runs of the periodic work inside the server; 0 leaves it to"
        " `flask --app app maintenance run`.",
    )

    @model_validator(mode="after")
    def _safe(self) -> Self:
        faults = []
        for name in ("secret_key", "secret_key_previous"):
            secret = getattr(self, name)
            if secret and len(secret.get_secret_value()) < MIN_SECRET_LENGTH:
                faults.append(f"KITH_{name.upper()} needs at least {MIN_SECRET_LENGTH} characters")
        faults += self.faults_of_database()
        faults += self.faults_of_workers(sqlite=self.resolved_database_url.startswith("sqlite"))
        if self.metrics_port == self.port:
            faults.append("KITH_METRICS_PORT must be another port than KITH_PORT")
        if re.search(r"\d{4}", self.app_name):
            faults.append("KITH_APP_NAME must not hold digits that look like a code")
        if self.environment == "production":
            faults += [
                f"KITH_TEST_NUMBERS: {mask(entry.e164)} needs its last day in production"
                for entry in self.test_numbers
                if entry.last_day is None
            ]
            if not self.secret_key:
                faults.append(
                    "KITH_SECRET_KEY is required in production (make one: openssl rand -base64 32)"
                )
        faults += self.faults_of_discovery()
        faults += self.faults_of_providers(production=self.environment == "production")
        faults += self.faults_of_push(production=self.environment == "production")
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def warnings(self) -> list[str]:
        """Say what works and leaves production open to whoever is in between."""
        if self.environment != "production":
            return []
        warnings = self.warnings_of_database()
        if self.valkey_url and self.valkey_url.get_secret_value().startswith("valkey:"):
            warnings.append("KITH_VALKEY_URL is without TLS: valkeys://…")
        if "smpp" in self.sms_provider and not self.smpp_tls:
            warnings.append("KITH_SMPP_TLS is off: codes and the password are sent in the clear")
        return warnings

    @classmethod
    def _hidden_faults(cls, faults: list[ErrorDetails]) -> list[ErrorDetails]:
        """Find what is wrong together, which is only looked at once each field is right."""
        wrong = {str(fault["loc"][0]) for fault in faults if fault["loc"]}
        if not wrong:
            return []
        try:
            # A field that is wrong is refused already; its default stands in for it.
            cls(**{name: cls.model_fields[name].default for name in wrong})
        except ValidationError as error:
            return error.errors(include_url=False, include_input=False)
        return []

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises SettingsError, whose message lists every fault with its variable.
        """
        lines = [f"{name}: {where}" for name, where in RETIRED.items() if os.environ.get(name)]
        try:
            settings = cls()
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
            for fault in faults + cls._hidden_faults(faults):
                variable = f"KITH_{str(fault['loc'][0]).upper()}: " if fault["loc"] else ""
                message = fault["msg"].removeprefix("Value error, ")
                if fault["type"] == "string_pattern_mismatch":
                    message = "is not written as docs/settings.md says"
                lines += [variable + line for line in message.splitlines()]
        if lines:
            raise SettingsError.listing(lines)
        return settings
