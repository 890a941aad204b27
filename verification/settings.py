"""Settings of verifications: texts, codes, and who may bind a code to an app or a site."""

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
        description="The name people read in the text message; no run of digits like a code.",
    )
    default_locale: Annotated[str, AfterValidator(_locale)] = Field(
        "en",
        max_length=MAX_LOCALE_LENGTH,
        description="Language of a text when the one asked for is not known, one there are texts in.",
    )
    policy_file: Path | None = Field(
        None,
        description="TOML file with the policy on texts and calls; empty: the default that is shipped,"
        " `verification/policy/default.toml`.",
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
    checks_per_verification: int = Field(
        5, ge=1, le=10, description="Guesses a verification; a resend gives none back."
    )

    def faults(self) -> list[str]:
        """List what is only wrong together."""
        if re.search(r"\d{4}", self.app_name):
            return [*super().faults(), "KITH_APP_NAME must not hold digits that look like a code"]
        return super().faults()
