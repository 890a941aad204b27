"""The settings that all parts share, and how settings are read from `KITH_*` variables.

Each part has its own section in its `settings.py`; all sections together are `settings.py` beside `app.py`.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal, Self

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
from core.forwarded import FIELDS
from core.phone_numbers import known_region
from core.serving_settings import ServingSettings
from core.setting_types import HttpUrl, Network, split
from core.worker_settings import WorkerSettings

MIN_SECRET_LENGTH = 32


def _region(value: str) -> str:
    region = known_region(value)
    if not region.isalpha():
        raise ValueError(f"there is no country {value}; use ISO 3166 codes like DE")
    return region


def _header_field(value: object) -> object:
    """Take the name of a header field in any case, as HTTP does."""
    names = {field.lower(): field for field in FIELDS}
    return names.get(value.strip().lower(), value) if isinstance(value, str) else value


class SettingsError(ClickException):
    """The settings cannot be used; the message names every fault and its variable."""

    @classmethod
    def from_faults(cls, faults: Iterable[str]) -> Self:
        """Build the message from one line per fault."""
        lines = "\n".join(f"  - {fault}" for fault in faults)
        return cls(f"Kith cannot start with these settings:\n{lines}")


class CoreSettings(DatabaseSettings, ServingSettings, WorkerSettings):
    """The settings that all parts share; the section of each part extends them.

    The composed settings inherit from all sections. Sections extend `faults` and `warnings` by
    `super()`, so each is asked once.
    """

    #: Variables of earlier versions and what to set instead; they are refused, not ignored.
    RETIRED: ClassVar[Mapping[str, str]] = {}

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
        description="The address at which clients and providers reach the service.",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)] = Field(
        (),
        description="Networks of the proxies whose forwarded client addresses are trusted, such as"
        " `10.0.0.0/8, ::1/128`.",
    )
    forwarded_header: Annotated[
        Literal["X-Forwarded-For", "Forwarded"], BeforeValidator(_header_field)
    ] = Field(
        "X-Forwarded-For",
        description="Header field in which trusted proxies write the client's address. The other"
        " field is never read, because a proxy passes it through from the client.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="At least 32 characters. All server keys are derived from it. Required in"
        " production; in development one is generated in the data directory.",
    )
    secret_key_previous: SecretStr | None = Field(
        None, description="The previous secret, accepted during a rotation."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The lowest severity that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="`json`: one object per line. `console`: text for people."
    )

    default_region: Annotated[str, AfterValidator(_region)] | None = Field(
        None,
        description="Region of numbers without a country code when the request names none.",
    )

    max_body_bytes: int = Field(
        1_048_576, ge=65_536, le=16_777_216, description="Maximum size of a request body."
    )
    maintenance_interval: int = Field(
        300,
        ge=0,
        le=86_400,
        description="Seconds between runs of the periodic jobs in the server; 0: run them with"
        " `flask --app app maintenance run`.",
    )

    @model_validator(mode="after")
    def _safe(self) -> Self:
        faults = self.faults()
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def faults(self) -> list[str]:
        """List faults that several settings cause together."""
        faults = [
            f"KITH_{name.upper()} needs at least {MIN_SECRET_LENGTH} characters"
            for name in ("secret_key", "secret_key_previous")
            if (secret := getattr(self, name))
            and len(secret.get_secret_value()) < MIN_SECRET_LENGTH
        ]
        faults += self.faults_of_database()
        faults += self.faults_of_workers(sqlite=self.resolved_database_url.startswith("sqlite"))
        if self.metrics_port == self.port:
            faults.append("KITH_METRICS_PORT must be another port than KITH_PORT")
        if self.environment == "production" and not self.secret_key:
            faults.append(
                "KITH_SECRET_KEY is required in production (make one: openssl rand -base64 32)"
            )
        return faults

    def warnings(self) -> list[str]:
        """List unprotected connections in production."""
        if self.environment != "production":
            return []
        warnings = self.warnings_of_database()
        if self.valkey_url and self.valkey_url.get_secret_value().startswith("valkey:"):
            warnings.append("KITH_VALKEY_URL is without TLS: valkeys://…")
        return warnings

    @classmethod
    def _hidden_faults(cls, faults: list[ErrorDetails]) -> list[ErrorDetails]:
        """Find faults of several settings together, which pydantic checks only once each field is valid."""
        wrong = {str(fault["loc"][0]) for fault in faults if fault["loc"]}
        if not wrong:
            return []
        try:
            # An invalid field is already reported; use its default instead.
            cls(**{name: cls.model_fields[name].default for name in wrong})
        except ValidationError as error:
            return error.errors(include_url=False, include_input=False)
        return []

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises SettingsError, whose message lists every fault with its variable.
        """
        # Names are read in any case, as pydantic-settings reads those of today.
        given = {name.upper() for name, value in os.environ.items() if value}
        lines = [
            f"{name} {instead}"
            for section in cls.__mro__
            for name, instead in vars(section).get("RETIRED", {}).items()
            if name in given
        ]
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
            raise SettingsError.from_faults(lines)
        return settings
