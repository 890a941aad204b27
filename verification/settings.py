"""Settings of verifications: texts, codes, code binding and the policy."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from core.setting_types import split
from core.typed_fields import MAX_LOCALE_LENGTH, is_app_hash, read_locale, read_origin
from sms.settings import SmsSettings

MAX_APP_NAME_LENGTH = 20


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


def _app_hash(value: str) -> str:
    if not is_app_hash(value):
        raise ValueError(f"{value!r} is not an 11-character Android app hash")
    return value


class VerificationSettings(SmsSettings):
    """The settings section of verifications."""

    RETIRED: ClassVar[Mapping[str, str]] = {
        "KITH_REFUSED_NUMBER_TYPES": "is the rule number-type of the policy now (KITH_POLICY_FILE)",
        "KITH_SENDS_PER_DAY": "is the rule velocity of number-and-requester now (KITH_POLICY_FILE)",
    }

    app_name: str = Field(
        "Kith",
        min_length=1,
        max_length=MAX_APP_NAME_LENGTH,
        pattern=r"^[A-Za-z0-9 .&-]*[A-Za-z0-9]$",
        description="The service's name in texts and calls; without four digits in a row.",
    )
    default_locale: Annotated[str, AfterValidator(_locale)] = Field(
        "en",
        max_length=MAX_LOCALE_LENGTH,
        description="Language of texts and calls if the requested one has no catalogue.",
    )
    policy_file: Path | None = Field(
        None,
        description="TOML file with the policy on texts and calls; empty:"
        " `verification/policy/default.toml`.",
    )
    web_origins: Annotated[
        tuple[Annotated[str, AfterValidator(_origin_host)], ...], NoDecode, BeforeValidator(split)
    ] = Field(
        (),
        description="Hosts that codes may be bound to, because browsers fill in the code there. Empty:"
        " any in development, none in production.",
    )
    android_app_hashes: Annotated[
        tuple[Annotated[str, AfterValidator(_app_hash)], ...], NoDecode, BeforeValidator(split)
    ] = Field(
        (),
        description="Android SMS Retriever hashes that codes may be bound to, because the app with the"
        " hash reads the code. Empty: any in development, none in production.",
    )
    checks_per_verification: int = Field(
        5, ge=1, le=10, description="Guesses per verification; a resend does not reset them."
    )

    def faults(self) -> list[str]:
        """List what is only wrong together."""
        if re.search(r"\d{4}", self.app_name):
            return [*super().faults(), "KITH_APP_NAME must not contain four digits in a row"]
        return super().faults()
