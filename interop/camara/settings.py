"""Settings of the CAMARA adapter."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from verification.settings import VerificationSettings


class CamaraSettings(VerificationSettings):
    """The settings section of the CAMARA adapter."""

    RETIRED: ClassVar[Mapping[str, str]] = {
        "KITH_CAMARA_TRIES": "is called KITH_CAMARA_CHECKS now",
    }

    camara_message_length: int = Field(
        160, ge=8, le=160, description="Maximum length of a CAMARA message, in characters."
    )
    camara_sends_per_day: int = Field(
        5,
        ge=1,
        le=1000,
        description="Codes per number and service over CAMARA, refilled over a day.",
    )
    camara_checks: int = Field(5, ge=1, le=10, description="Checks per code sent over CAMARA.")
    camara_lifetime: int = Field(
        600,
        ge=60,
        le=3600,
        description="Seconds within which a code sent over CAMARA can be validated.",
    )
