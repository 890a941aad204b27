"""Settings of accounts and devices."""

from pydantic import Field

from core.settings import CoreSettings


class TokenSettings(CoreSettings):
    """The settings section of accounts, devices and device tokens."""

    max_devices: int = Field(10, ge=1, le=100, description="Devices an account.")
    token_idle_days: int = Field(
        0,
        ge=0,
        le=3650,
        description="Days after which the token of a device that was not seen expires; 0: never.",
    )
